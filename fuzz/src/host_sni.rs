//! Host names: one class for all spellings of a name, one label for a wildcard, and the certificate of the very host whose
//! routes are used.

use std::sync::{Arc, OnceLock};

use headgate::snapshot::host::{normalize, split_port};
use headgate::snapshot::{HostName, HostPattern, Reference, Snapshot};
use headgate::tables::Tables;
use headgate::translate::certificate;

use super::rules::{self, Rule};

/// The first is what counts where no other does.
const PATTERNS: [&str; 4] = ["", "a.x", "*.x", "*.a.x"];

macro_rules! pair {
    ($name:literal) => {
        [
            include_bytes!(concat!("../../tests/golden/certs/", $name, ".crt")).as_slice(),
            include_bytes!(concat!("../../tests/golden/certs/", $name, ".key")),
        ]
    };
}

/// One for each of the patterns.
const PAIRS: [[&[u8]; 2]; 4] = [pair!("shop"), pair!("shop-renewed"), pair!("shop-rsa"), pair!("wildcard")];

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let rules = PATTERNS.map(|host| Rule::new(host, "Prefix", "/"));
        let routed = rules::tables(&rules);
        let name = |number: usize| Reference::new("default", number.to_string());
        let secrets = PAIRS
            .iter()
            .enumerate()
            .map(|(number, [chain, key])| (name(number), certificate(("chain", chain), ("key", key)).expect("a pair")));
        let of = |(number, host): (usize, &&str)| (HostPattern::parse(host).expect("a host"), vec![name(number)]);
        let snapshot = Snapshot {
            secrets: Arc::new(secrets.collect()),
            certificates: Arc::new(PATTERNS.iter().enumerate().map(of).collect()),
            ..Snapshot::clone(&routed.snapshot)
        };
        rules::live(snapshot, None)
    })
}

pub fn judge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_certificate(text);
    let Ok((host, port)) = split_port(text) else { return };
    assert_eq!(normalize(&host), Ok(host.clone()));
    assert!(
        (1..=253).contains(&host.len()) && !host.ends_with('.') && !host.bytes().any(|byte| byte.is_ascii_uppercase())
    );
    let is_address = host.starts_with('[');
    assert!(is_address || host.split('.').all(|label| (1..=63).contains(&label.len())));
    let with_port = |host: &str| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let same = |spelling: &str| assert_eq!(split_port(spelling), Ok((host.as_ref().into(), port)), "{spelling}");
    same(&with_port(&host));
    same(&with_port(&host.to_uppercase()));
    same(&text.to_uppercase());
    if !is_address {
        same(&with_port(&format!("{host}.")));
    }
    for pattern in PATTERNS.iter().chain(&["*.com", text]).filter_map(|text| HostPattern::parse(text).ok()) {
        check_pattern(&pattern, &host);
    }
}

/// A wildcard stands for exactly one label.
fn check_pattern(pattern: &HostPattern, host: &str) {
    let expected = match pattern {
        HostPattern::Any => true,
        HostPattern::Exact(name) => name.as_str() == host,
        HostPattern::Wildcard(suffix) => {
            let label = host.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.'));
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        }
    };
    assert_eq!(pattern.covers(&HostName::parse(host).expect("normal")), expected, "{pattern} {host}");
    assert_eq!(
        HostPattern::parse(&pattern.to_string().replace("*", if *pattern == HostPattern::Any { "" } else { "*" })),
        Ok(pattern.clone())
    );
}

/// The name in a client hello finds the certificate of the pattern that routes its requests.
fn check_certificate(name: &str) {
    let tables = tables();
    let served = tables.certs.resolve(Some(name), &[]).cert[0].to_vec();
    let pattern =
        normalize(name).ok().and_then(|host| tables.routes.pattern(&host).cloned()).unwrap_or(HostPattern::Any);
    let expected = &tables.snapshot.certificates[&pattern][0];
    assert_eq!(served, tables.snapshot.secrets[expected].chain[0], "{name} by {pattern}");
}
