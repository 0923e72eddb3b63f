//! Paths: one normal form, which means what was sent, and no way around a rule.

use std::borrow::Cow;
use std::sync::OnceLock;

use headgate::proxy::head_check;
use headgate::snapshot::path::normalize;
use headgate::tables::{NoRoute, Tables};

use super::rules::{self, Rule};

struct Site {
    rules: Vec<Rule>,
    tables: Tables,
}

fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let rules = [("Prefix", "/a"), ("Prefix", "/a/b/"), ("Exact", "/a/b/c"), ("Exact", "/x")];
        let rules: Vec<_> = rules.map(|(kind, path)| Rule::new("h.test", kind, path)).into();
        Site { tables: rules::tables(&rules), rules }
    })
}

pub fn judge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(normal) = normalize(text) else { return };
    assert!(matches!(normalize(&normal), Ok(Cow::Borrowed(again)) if again == normal), "{normal} is not normal");
    assert_eq!(decoded(text), decoded(&normal), "{normal} is another path than {text}");
    assert!(normal.starts_with('/') && normal.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#?".contains(&byte)));
    assert!(!decoded(&normal).iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')), "{normal}");
    let segments = normal.split('/').map(|segment| segment.split(';').next());
    assert!(!segments.skip(1).any(|name| matches!(name, Some("." | ".."))), "{normal} climbs");
    check_forwarded(text, &normal);
    check_found(&normal);
}

/// Every escape by what it stands for.
fn decoded(path: &str) -> Vec<u8> {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// What is matched is what is forwarded, with the query as it came.
fn check_forwarded(sent: &str, normal: &str) {
    let request = http::Request::get(format!("{sent}?q={sent}#")).header("host", "h.test").body(());
    let Ok(request) = request else { return };
    let parts = request.into_parts().0;
    let Ok(checked) = head_check::check(&parts, false, 10) else { return };
    assert_eq!(checked.path(&parts.uri), normal);
    assert_eq!(checked.target(&parts.uri).as_str(), format!("{normal}?{}", parts.uri.query().unwrap_or_default()));
}

/// The rule that is found is the one that counts for a backend too, which may decode more than we do; else there is none.
fn check_found(path: &str) {
    let Site { rules, tables } = site();
    let (here, there) = (rules::first(rules, "h.test", path), rules::first(rules, "h.test", &rules::resolved(path)));
    match rules::found(tables, "h.test", path) {
        Ok(rule) => assert_eq!((Some(rule), Some(rule)), (here, there), "{path}"),
        Err(NoRoute::NotFound) => assert_eq!((here, there), (None, None), "{path}"),
        // Also where only a backend would be misled that takes `//` for `/`.
        Err(NoRoute::Ambiguous) => {
            assert!(["%2F", "%5C", "%3B", "%25"].iter().any(|escape| path.contains(escape)), "{path}")
        }
    }
}
