//! ProxyPolicies with any fields: what guards is understood or denies, what is told is told the same twice.

use std::path::Path;

use arbitrary::{Result, Unstructured};
use headgate::snapshot::{Action, HostPattern, Route};
use headgate::source::folder::{parse_documents, view_of};
use headgate::translate::{ObjectKind, Options, Translator};
use serde_json::{Map, Value, json};

/// Fields that guard: what is wrong in one of them denies.
const GUARDS: [&str; 4] = ["access", "rateLimit", "connectionLimit", "request"];
const FIELDS: [&str; 12] = [
    "access",
    "rateLimit",
    "connectionLimit",
    "request",
    "timeouts",
    "loadBalancer",
    "trafficSplit",
    "healthCheck",
    "retries",
    "outlierDetection",
    "backendTLS",
    "acces",
];
const INNER: [&str; 24] = [
    "allow",
    "deny",
    "requests",
    "per",
    "burst",
    "key",
    "type",
    "name",
    "status",
    "headers",
    "perClient",
    "maxBodySize",
    "methods",
    "requiredHeaders",
    "request",
    "idle",
    "algorithm",
    "service",
    "port",
    "weight",
    "path",
    "interval",
    "attempts",
    "on",
];
const TEXTS: [&str; 30] = [
    "10.0.0.0/8",
    "::1",
    "10.0.0.0/33",
    "nowhere",
    "1s",
    "0s",
    "1ms",
    "99999h",
    "1.5s",
    "",
    "Header",
    "ClientIP",
    "Route",
    "X-Api-Key",
    "X A",
    "8Mi",
    "16777216Ti",
    "0",
    "999999999999",
    "GET",
    "get",
    "CONNECT",
    "A--B",
    "RoundRobin",
    "IPHash",
    "/health",
    "/a b",
    "é",
    "a\nb",
    "65535",
];

pub fn judge(data: &[u8]) {
    // An error is an input that ends too soon.
    let Ok(spec) = read(&mut Unstructured::new(data)) else { return };
    let target = json!({"group": "networking.k8s.io", "kind": "Ingress", "name": "shop"});
    let mut with_target = spec.clone();
    with_target.insert("targetRefs".into(), json!([target]));
    let policy = json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ProxyPolicy",
        "metadata": {"name": "rules", "namespace": "default"},
        "spec": with_target,
    });
    let text = policy.to_string();
    let parsed = parse_documents(Path::new("policy.json"), text.as_bytes()).expect("JSON");
    assert_eq!(parsed.objects.len(), 1, "a policy is never lost: {text}");
    let view = view_of([("policy.json", &*text), ("ingress.json", &ingress().to_string())]);
    let translation = Translator::default().translate(&view.objects, &Options::default());
    assert_eq!(translation, Translator::default().translate(&view.objects, &Options::default()));
    let route: &Route = &translation.snapshot.hosts[&HostPattern::Any].routes[0];
    let denied = matches!(route.action, Action::Deny(_));
    let reports = translation.reports.iter().filter(|report| report.object.kind == ObjectKind::ProxyPolicy);
    let told: Vec<_> = reports.flat_map(|report| &report.problems).map(|problem| problem.field.clone()).collect();
    let guards = |field: &str| {
        GUARDS.iter().any(|guard| field.strip_prefix("spec.").is_some_and(|field| field.starts_with(guard)))
    };
    assert!(denied || !told.iter().any(|field| guards(field)), "{told:?} in {text}");
    assert!(denied || !spec.contains_key("acces"), "an unknown field may be a guard misspelt");
    if !denied {
        check_held(&spec, route);
    }
}

/// What the policy asks for, as plainly as it can be compared, is what the route is held to.
fn check_held(spec: &Map<String, Value>, route: &Route) {
    let asked = |guard: &str| spec.get(guard).is_some_and(|value| !value.is_null());
    assert_eq!(asked("access"), !route.policy.access.is_empty());
    assert_eq!(asked("rateLimit"), !route.policy.rate_limits.is_empty());
    assert_eq!(asked("connectionLimit"), !route.policy.connection_limits.is_empty());
    if let Some(methods) = spec.get("request").and_then(|request| request.get("methods")).and_then(Value::as_array) {
        let held = route.policy.methods.as_ref().expect("methods are listed");
        assert!(methods.iter().all(|method| held.iter().any(|held| Some(&**held) == method.as_str())));
    }
    for limit in &route.policy.rate_limits {
        assert!(limit.rate.requests > 0 && !limit.rate.per.is_zero() && limit.rate.burst > 0, "{limit:?}");
    }
    assert!(route.policy.max_body_size != Some(0) && !route.policy.idle_timeout.is_zero());
}

fn ingress() -> Value {
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    })
}

fn read(input: &mut Unstructured<'_>) -> Result<Map<String, Value>> {
    let mut spec = Map::new();
    for _ in 0..input.int_in_range(1..=4)? {
        let field = *input.choose(&FIELDS)?;
        let value = match (field, input.int_in_range(0..=4)?) {
            (_, 0) => value(input, 3)?,
            ("access", _) => json!({*input.choose(&["allow", "deny"])?: texts(input)?}),
            ("rateLimit", _) => {
                json!({"requests": number(input)?, "per": text(input)?, "burst": number(input)?, "key": {"type": text(input)?}})
            }
            ("connectionLimit", _) => json!({"perClient": number(input)?}),
            ("request", 1) => json!({"methods": texts(input)?}),
            ("request", 2) => json!({"requiredHeaders": texts(input)?}),
            ("request", _) => json!({"maxBodySize": text(input)?}),
            ("timeouts", _) => json!({*input.choose(&["request", "idle"])?: text(input)?}),
            ("loadBalancer", _) => json!({"algorithm": text(input)?}),
            _ => value(input, 3)?,
        };
        spec.insert(field.into(), value);
    }
    Ok(spec)
}

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    match input.ratio(1, 6)? {
        true => Ok(input.arbitrary::<&str>()?.to_owned()),
        false => Ok((*input.choose(&TEXTS)?).to_owned()),
    }
}

fn texts(input: &mut Unstructured<'_>) -> Result<Vec<String>> {
    (0..input.int_in_range(0..=3)?).map(|_| text(input)).collect()
}

fn number(input: &mut Unstructured<'_>) -> Result<i64> {
    if input.ratio(1, 2)? { input.int_in_range(-1..=1000) } else { input.arbitrary() }
}

fn value(input: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    Ok(match input.int_in_range(0..=if depth == 0 { 3 } else { 5 })? {
        0 => Value::Null,
        1 => number(input)?.into(),
        2 => input.arbitrary::<bool>()?.into(),
        3 => text(input)?.into(),
        4 => {
            let values: Result<Vec<_>> = (0..input.int_in_range(0..=3)?).map(|_| value(input, depth - 1)).collect();
            values?.into()
        }
        _ => {
            let mut fields = Map::new();
            for _ in 0..input.int_in_range(0..=4)? {
                fields.insert((*input.choose(&INNER)?).into(), value(input, depth - 1)?);
            }
            fields.into()
        }
    })
}
