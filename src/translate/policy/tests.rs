//! Where each field's values begin and end, and what is wrong beyond.

use super::read::read;
use super::*;
use crate::api::ProxyPolicy;

/// The fields of all that is wrong with a policy of this spec, which is about an Ingress and a Service.
fn wrong(fields: &str) -> Vec<String> {
    let targets = "targetRefs: [{group: networking.k8s.io, kind: Ingress, name: a}, {kind: Service, name: a}]";
    let spec =
        serde_yaml::from_str(&format!("{targets}\n{fields}")).unwrap_or_else(|error| panic!("{fields}: {error}"));
    let policy = ProxyPolicy { spec, ..ProxyPolicy::default() };
    let policy = read(&Reference::new("n", "p"), &PolicyObject { policy, illegible: Vec::new() });
    policy.problems.into_iter().map(|problem| problem.field).collect()
}

#[track_caller]
fn fine(fields: &str) {
    assert_eq!(wrong(fields), [""; 0], "{fields}");
}

#[track_caller]
fn refused(fields: &str, field: &str) {
    assert_eq!(wrong(fields), [format!("spec.{field}")], "{fields}");
}

#[test]
fn numbers_end_where_the_schema_has_it() {
    for (fields, field, least, most) in [
        ("rateLimit: {requests: N, per: 1s}", "rateLimit.requests", 1, 1_000_000),
        ("rateLimit: {requests: 1, per: 1s, burst: N}", "rateLimit.burst", 1, 1_000_000),
        ("rateLimit: {requests: 1, per: 1s, status: N}", "rateLimit.status", 400, 599),
        ("connectionLimit: {perClient: N}", "connectionLimit.perClient", 1, 1_000_000),
        ("maxConnections: N", "maxConnections", 1, 1_000_000),
        ("healthCheck: {path: /, port: N}", "healthCheck.port", 1, 65_535),
        ("healthCheck: {path: /, healthyThreshold: N}", "healthCheck.healthyThreshold", 1, 100),
        ("healthCheck: {path: /, unhealthyThreshold: N}", "healthCheck.unhealthyThreshold", 1, 100),
        ("outlier: {consecutiveErrors: N}", "outlier.consecutiveErrors", 1, 1000),
        ("retry: {attempts: N}", "retry.attempts", 0, 10),
        ("retry: {budgetPercent: N}", "retry.budgetPercent", 0, 100),
        ("trafficSplit: [{service: a, port: N, weight: 1}]", "trafficSplit[0].port", 1, 65_535),
        (
            "trafficSplit: [{service: a, port: 1, weight: 1}, {service: b, port: 1, weight: N}]",
            "trafficSplit[1].weight",
            0,
            1000,
        ),
    ] {
        for value in [least, most] {
            fine(&fields.replace('N', &value.to_string()));
        }
        for value in [least - 1, most + 1] {
            refused(&fields.replace('N', &value.to_string()), field);
        }
    }
}

#[test]
fn texts_are_what_the_schema_has() {
    let long = |length: usize| format!("healthCheck: {{path: /{}}}", "a".repeat(length - 1));
    fine(&long(1024));
    refused(&long(1025), "healthCheck.path");
    for path in ["/", "'/~!?a=b'"] {
        fine(&format!("healthCheck: {{path: {path}}}"));
    }
    for path in ["''", "a", "'/ '", "/é", r#""/\x7f""#] {
        refused(&format!("healthCheck: {{path: {path}}}"), "healthCheck.path");
    }
    for byte in b'!'..=b'~' {
        for path in [format!("/{}", char::from(byte)), format!("/?{}", char::from(byte))] {
            let fields = format!("healthCheck: {{path: '{}'}}", path.replace('\'', "''"));
            if b"\"#<>`".contains(&byte) {
                refused(&fields, "healthCheck.path");
            } else {
                fine(&fields);
                assert_eq!(http::Uri::try_from(&path).unwrap(), *path, "it is sent as it stands there");
            }
        }
    }
    for host in ["a", "a.b:1", "a:65535"] {
        fine(&format!("healthCheck: {{path: /, host: '{host}'}}"));
    }
    for host in ["a b", "a:0", "a:65536", "a:", "a:+1", "a:000001"] {
        refused(&format!("healthCheck: {{path: /, host: '{host}'}}"), "healthCheck.host");
    }
    for on in ["ConnectFailure", "Reset", "400", "599"] {
        fine(&format!("retry: {{'on': ['{on}']}}"));
    }
    for on in ["399", "600", "400-401", "reset", ""] {
        refused(&format!("retry: {{'on': ['{on}']}}"), "retry.on[0]");
    }
    refused("retry: {'on': []}", "retry.on");
    refused("healthCheck: {path: /, expectedStatuses: ['200', '99']}", "healthCheck.expectedStatuses[1]");
    refused("healthCheck: {path: /, interval: x}", "healthCheck.interval");
    refused("healthCheck: {path: /, timeout: x}", "healthCheck.timeout");
    refused("backendTLS: {caSecret: {name: ''}}", "backendTLS.caSecret.name");
    refused("backendTLS: {caSecret: {name: other/ca}}", "backendTLS.caSecret.name");
    refused("backendTLS: {clientCertSecret: {name: ''}}", "backendTLS.clientCertSecret.name");
    for name in ["a b", "-a.example", "*.example", "[2001:db8::1]", "a:443"] {
        refused(&format!("backendTLS: {{serverName: '{name}'}}"), "backendTLS.serverName");
    }
    fine("backendTLS: {}");
}

#[test]
fn what_needs_one_of_several_takes_each_of_them() {
    for (field, each) in [
        ("access", &["allow: [10.0.0.0/8]", "deny: [10.0.0.0/8]"][..]),
        ("request", &["maxBodySize: 1k", "methods: [GET]", "requiredHeaders: [A]"]),
        ("timeouts", &["request: 1s", "idle: 1s"]),
    ] {
        refused(&format!("{field}: {{}}"), field);
        for one in each {
            fine(&format!("{field}: {{{one}}}"));
        }
    }
    for (field, values) in [
        ("access.allow", "[x]"),
        ("access.deny", "[x]"),
        ("request.methods", "[get]"),
        ("request.requiredHeaders", "['']"),
    ] {
        let (top, name) = field.split_once('.').unwrap();
        refused(&format!("{top}: {{{name}: {values}}}"), &format!("{field}[0]"));
        refused(&format!("{top}: {{{name}: []}}"), field);
    }
    refused("request: {maxBodySize: '0'}", "request.maxBodySize");
    refused("timeouts: {request: 0s, idle: 1s}", "timeouts.request");
    refused("timeouts: {request: 1s, idle: 0s}", "timeouts.idle");
}

#[test]
fn a_split_has_each_port_of_a_service_once_and_some_weight() {
    fine("trafficSplit: [{service: a, port: 1, weight: 0}, {service: a, port: 2, weight: 1}]");
    fine("trafficSplit: [{service: a, port: 1, weight: 1}, {service: b, port: 1, weight: 1}]");
    refused("trafficSplit: [{service: a, port: 1, weight: 1}, {service: a, port: 1, weight: 2}]", "trafficSplit[1]");
    refused("trafficSplit: [{service: a, port: 1, weight: 0}, {service: b, port: 1, weight: 0}]", "trafficSplit");
    refused("trafficSplit: [{service: '', port: 1, weight: 1}]", "trafficSplit[0].service");
}

#[test]
fn a_name_of_a_key_goes_with_headers_only() {
    fine("rateLimit: {requests: 1, per: 1s, key: {type: Header, name: X-A}}");
    fine("rateLimit: {requests: 1, per: 1s, key: {type: Route}}");
    fine("rateLimit: {requests: 1, per: 1s, key: {type: ClientIP}}");
    for key in ["type: Header", "type: Route, name: X-A", "type: ClientIP, name: X-A", "type: Header, name: 'X A'"] {
        refused(&format!("rateLimit: {{requests: 1, per: 1s, key: {{{key}}}}}"), "rateLimit.key.name");
    }
}

#[test]
fn sixteen_targets_are_fine_and_one_more_is_told() {
    let told = |count: usize| {
        let target = |index| format!("{{kind: Service, name: s{index}}}");
        let targets: Vec<_> = (0..count).map(target).collect();
        let spec = serde_yaml::from_str(&format!("targetRefs: [{}]", targets.join(", "))).unwrap();
        let policy = ProxyPolicy { spec, ..ProxyPolicy::default() };
        read(&Reference::new("n", "p"), &PolicyObject { policy, illegible: Vec::new() }).problems.len()
    };
    assert_eq!((told(16), told(17)), (0, 1));
}
