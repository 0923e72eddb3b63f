//! What a user who writes a ProxyPolicy sees in kubectl: what is refused and in which words, its documentation, its columns.

use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::support::objects::policy;

/// Fields of a policy about an object of this kind, where they are wrong, and in which words the API server says so.
const BAD: &[(&str, &str, &str, &str)] = &[
    (
        "Ingress",
        r#"{"access": {"allow": ["10.0.0.0/33"]}}"#,
        "spec.access.allow",
        "each entry must be an address or a network, as 10.0.0.0/8 or 2001:db8::/32",
    ),
    (
        "Ingress",
        r#"{"access": {"deny": ["a.example"]}}"#,
        "spec.access.deny",
        "each entry must be an address or a network",
    ),
    ("Ingress", r#"{"access": {}}"#, "spec.access", "access needs allow or deny"),
    ("Ingress", r#"{"access": {"allow": []}}"#, "spec.access.allow", "should have at least 1 items"),
    (
        "Ingress",
        r#"{"rateLimit": {"requests": 0, "per": "1s"}}"#,
        "spec.rateLimit.requests",
        "should be greater than or equal to 1",
    ),
    ("Ingress", r#"{"rateLimit": {"requests": 1}}"#, "spec.rateLimit.per", "Required value"),
    (
        "Ingress",
        r#"{"rateLimit": {"requests": 1, "per": "0s"}}"#,
        "spec.rateLimit.per",
        "a duration must be longer than 0s; write it as 500ms, 5s or 1h30m",
    ),
    (
        "Ingress",
        r#"{"rateLimit": {"requests": 1, "per": "1s", "status": 200}}"#,
        "spec.rateLimit.status",
        "should be greater than or equal to 400",
    ),
    (
        "Ingress",
        r#"{"rateLimit": {"requests": 1, "per": "1s", "key": {"type": "Header"}}}"#,
        "spec.rateLimit.key",
        "it goes with the type Header, and only with that",
    ),
    (
        "Ingress",
        r#"{"rateLimit": {"requests": 1, "per": "1s", "key": {"type": "Cookie"}}}"#,
        "spec.rateLimit.key.type",
        r#"supported values: "ClientIP", "Header", "Route""#,
    ),
    (
        "Ingress",
        r#"{"connectionLimit": {"perClient": "many"}}"#,
        "spec.connectionLimit.perClient",
        "must be of type integer",
    ),
    ("Ingress", r#"{"request": {}}"#, "spec.request", "request needs maxBodySize, methods or requiredHeaders"),
    ("Ingress", r#"{"request": {"methods": ["get"]}}"#, "spec.request.methods[0]", "should match"),
    ("Ingress", r#"{"request": {"maxBodySize": "8 MB"}}"#, "spec.request.maxBodySize", "should match"),
    ("Ingress", r#"{"timeouts": {}}"#, "spec.timeouts", "timeouts needs request or idle"),
    ("Ingress", r#"{"timeouts": {"idle": "5"}}"#, "spec.timeouts.idle", "write it as 500ms, 5s or 1h30m"),
    ("Ingress", r#"{"maxConnections": 5}"#, "spec", "are about backends: name a Service in targetRefs"),
    ("Service", r#"{"access": {"allow": ["10.0.0.0/8"]}}"#, "spec", "are about clients: name an Ingress in targetRefs"),
    (
        "Service",
        r#"{"loadBalancer": {"algorithm": "Random"}}"#,
        "spec.loadBalancer.algorithm",
        r#"supported values: "RoundRobin", "LeastConnections", "IPHash""#,
    ),
    ("Service", r#"{"healthCheck": {"path": "health"}}"#, "spec.healthCheck.path", "should match"),
    (
        "Service",
        r#"{"healthCheck": {"path": "/", "interval": "1s", "timeout": "2s"}}"#,
        "spec.healthCheck",
        "healthCheck: the timeout must not be longer than the interval",
    ),
    (
        "Service",
        r#"{"healthCheck": {"path": "/", "interval": "50ms"}}"#,
        "spec.healthCheck",
        "healthCheck: the interval must be at least 100ms",
    ),
    (
        "Service",
        r#"{"trafficSplit": [{"service": "a", "port": 80, "weight": 0}]}"#,
        "spec.trafficSplit",
        "trafficSplit: at least one weight must be above 0",
    ),
    (
        "Service",
        r#"{"trafficSplit": [{"service": "a", "port": 80, "weight": 1}, {"service": "a", "port": 80, "weight": 2}]}"#,
        "spec.trafficSplit",
        "trafficSplit names the same service and port twice; add up their weights",
    ),
    ("Service", r#"{"retry": {"on": ["Timeout"]}}"#, "spec.retry.on[0]", "should match"),
    ("Service", r#"{"outlier": {"ejectionTime": "forever"}}"#, "spec.outlier.ejectionTime", "should match"),
    ("Service", r#"{"protocol": "HTTP2"}"#, "spec.protocol", r#"supported values: "HTTP1", "H2C", "HTTPS""#),
    (
        "Pod",
        "{}",
        "spec.targetRefs[0]",
        r#"a target is an Ingress or IngressClass of group networking.k8s.io, or a Service of group """#,
    ),
];

#[test]
fn kubectl_tells_what_is_wrong_with_a_policy() {
    let namespace = Namespace::new();
    let missing = BAD.iter().filter_map(|(kind, fields, at, words)| {
        let complaint = namespace.refused(policy("p", kind, "a", serde_json::from_str(fields).unwrap()));
        let told = complaint.lines().any(|line| line.contains(&format!("{at}: ")) && line.contains(words));
        (!told).then(|| format!("{fields} on {kind}: no {at:?} with {words:?} in: {complaint}"))
    });
    assert_eq!(missing.collect::<Vec<_>>().join("\n"), "");
}

#[test]
fn kubectl_tells_what_is_wrong_with_targets() {
    let namespace = Namespace::new();
    let refused = |targets: Value, words: &str| {
        let mut bad = policy("p", "Ingress", "a", json!({ "timeouts": { "idle": "5s" } }));
        bad["spec"]["targetRefs"] = targets;
        let complaint = namespace.refused(bad);
        assert!(complaint.contains(words), "{words:?} is not in: {complaint}");
    };
    let ingress = json!({ "group": "networking.k8s.io", "kind": "Ingress", "name": "a" });
    let class = |name: &str| json!({ "group": "networking.k8s.io", "kind": "IngressClass", "name": name });
    refused(json!([]), "spec.targetRefs: Invalid value");
    refused(json!([ingress, ingress]), "targetRefs names the same target twice; remove one of them");
    refused(
        json!([class("a"), class("b")]),
        "targetRefs may name one IngressClass, the one whose parameters name this policy",
    );
    let mut section = ingress.clone();
    section["sectionName"] = "http".into();
    refused(json!([section]), "sectionName is the name of a Service's port; remove it or name a Service");
}

/// An unknown field is refused by kubectl, which asks for strict decoding.
#[test]
fn kubectl_refuses_a_misspelt_field() {
    let namespace = Namespace::new();
    let complaint = namespace.refused(policy("p", "Ingress", "a", json!({ "acces": { "allow": ["10.0.0.0/8"] } })));
    assert!(complaint.contains(r#"unknown field "spec.acces""#), "{complaint}");
}

#[test]
fn kubectl_explains_a_policy() {
    let text = Namespace::new().kubectl(&["explain", "proxypolicy.spec"]);
    for wanted in ["KIND:       ProxyPolicy", "VERSION:    v1alpha1", "targetRefs\t<[]Object> -required-"] {
        assert!(text.contains(wanted), "{wanted:?} is not in: {text}");
    }
    let undocumented = text
        .lines()
        .zip(text.lines().skip(1))
        .filter(|(field, next)| field.starts_with("  ") && field.contains("\t<") && next.trim().is_empty());
    assert_eq!(undocumented.map(|(field, _)| field).collect::<Vec<_>>(), [""; 0], "fields without a description");
}

#[test]
fn kubectl_get_pp_has_our_columns() {
    let namespace = Namespace::new();
    namespace.apply(&[policy("shop", "Ingress", "a", json!({ "timeouts": { "idle": "5s" } }))]);
    let table = namespace.kubectl(&["get", "pp", "--output=wide"]);
    let heads: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["NAME", "TARGET", "ACCEPTED", "PROGRAMMED", "REASON", "AGE"]);
    assert!(table.lines().nth(1).unwrap().starts_with("shop "), "{table}");
}
