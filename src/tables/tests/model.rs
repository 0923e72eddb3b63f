//! The router against a linear matcher that is written straight from the contract's sentences.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::tables::NoRoute;

#[derive(Clone, Debug)]
struct Rule {
    host: &'static str,
    kind: PathKind,
    path: String,
}

const HOSTS: [&str; 7] = ["a.x", "b.a.x", "x", "*.x", "*.a.x", "*.b.a.x", ""];
const ASKED: [&str; 8] = ["a.x", "c.x", "b.a.x", "c.a.x", "x", "c.b.a.x", "y", "[::1]"];

fn tables(rules: &[Rule]) -> Tables {
    let mut hosts: BTreeMap<HostPattern, Host> = BTreeMap::new();
    for (number, rule) in rules.iter().enumerate() {
        let host = hosts.entry(HostPattern::parse(rule.host).unwrap()).or_default();
        host.routes.push(route(rule.kind, &rule.path, &number.to_string()));
    }
    hosts.values_mut().for_each(|host| host.routes.sort_by_key(|route| route.path.precedence()));
    let backends = (0..rules.len()).map(|number| (backend_id(&number.to_string()), backend(&[]))).collect();
    let hosts = Arc::new(hosts.into_iter().map(|(pattern, host)| (pattern, Arc::new(host))).collect());
    build(Snapshot { hosts, backends, ..Snapshot::default() }, None)
}

/// The number of the rule that takes the request.
fn found(tables: &Tables, host: &str, path: &str) -> Result<usize, NoRoute> {
    tables.routes.find(host, path).map(|route| route.ingress.parse().unwrap())
}

/// Among the rules of the best host, the one of the highest precedence that matches.
fn model(rules: &[Rule], host: &str, path: &str) -> Option<usize> {
    let host_rank = |rule: &Rule| match rule.host {
        "" => Some(2),
        name if name == host => Some(0),
        wildcard => {
            let label = host.strip_suffix(wildcard.strip_prefix('*')?)?;
            (!label.is_empty() && !label.contains('.')).then_some(1)
        }
    };
    let best = rules.iter().filter_map(host_rank).min()?;
    let matching =
        (0..rules.len()).filter(|&number| host_rank(&rules[number]) == Some(best) && takes(&rules[number], path));
    matching.min_by_key(|&number| {
        let Rule { kind, path, .. } = &rules[number];
        (*kind != EXACT, std::cmp::Reverse(path.len()), *kind, number)
    })
}

/// Exact: the same string. Else: the rule's elements, but for the nothing after a last slash, begin the path's.
fn takes(rule: &Rule, path: &str) -> bool {
    if rule.kind == EXACT {
        return rule.path == path;
    }
    let mut wanted: Vec<&str> = rule.path.split('/').skip(1).collect();
    if wanted.last() == Some(&"") {
        wanted.pop();
    }
    let elements: Vec<&str> = path.split('/').skip(1).collect();
    elements.starts_with(&wanted)
}

/// What a backend sees that decodes everything and resolves dot segments; a last one leaves its slash.
fn seen_by_backend(path: &str) -> String {
    let decoded = path.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";");
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = decoded.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        let dots = matches!(segment.split(';').next(), Some("." | ".."));
        match segment.split(';').next() {
            Some(".") => {}
            Some("..") => drop(kept.pop()),
            _ => kept.push(segment),
        }
        if last && dots {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

fn path(element: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(element, 0..5).prop_map(|elements| format!("/{}", elements.join("/")))
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let kind = select(vec![EXACT, PREFIX, SPECIFIC]);
    let rule = move |host: &'static str| {
        (kind.clone(), path("a|b|ab|A|")).prop_map(move |(kind, path)| Rule { host, kind, path })
    };
    subsequence(&HOSTS[..], 1..=HOSTS.len()).prop_flat_map(move |hosts| {
        let rules: Vec<_> = hosts.into_iter().map(|host| prop::collection::vec(rule(host), 0..6)).collect();
        rules.prop_map(|rules| rules.concat())
    })
}

proptest! {
    #[test]
    fn the_router_is_the_linear_matcher(rules in rules(), paths in prop::collection::vec(path("a|b|ab|A|c||%20"), 1..20)) {
        let tables = tables(&rules);
        for host in ASKED {
            for path in &paths {
                let expected = model(&rules, host, path).ok_or(NoRoute::NotFound);
                prop_assert_eq!(found(&tables, host, path), expected, "{}{}", host, path);
            }
        }
    }

    #[test]
    fn escapes_are_refused_exactly_where_decoding_selects_another_rule(
        rules in rules(),
        paths in prop::collection::vec(path("(a|b|ab){0,1}(%2F|%5C|%3B)(a|b|ab){0,1}|a|b"), 1..20),
    ) {
        let tables = tables(&rules);
        for path in &paths {
            let (raw, decoded) = (model(&rules, "a.x", path), model(&rules, "a.x", &seen_by_backend(path)));
            let expected = if decoded.is_some() && decoded != raw { Err(NoRoute::Ambiguous) } else { raw.ok_or(NoRoute::NotFound) };
            prop_assert_eq!(found(&tables, "a.x", path), expected, "{}", path);
        }
    }

    #[test]
    fn nothing_served_climbs_out_of_its_rule(
        rules in rules(),
        paths in prop::collection::vec(path("(\\.\\.|\\.|a|b)(%2F|%5C|%3B)(\\.\\.|\\.|a|b|)|a|b"), 1..20),
    ) {
        let tables = tables(&rules);
        for path in paths.iter().filter(|path| NormalPath::parse(path).is_ok()) {
            if let Ok(rule) = found(&tables, "a.x", path) {
                prop_assert_eq!(model(&rules, "a.x", &seen_by_backend(path)), Some(rule), "{}", path);
            }
        }
    }
}
