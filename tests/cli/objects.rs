//! `check` and `routes` of a folder.

use super::{failure, folder, json, outcome};

fn shop(policy: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: guard}}\nspec:\n  \
         targetRefs: [{{group: networking.k8s.io, kind: Ingress, name: shop}}]\n  {policy}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: shop}}\nspec:\n  rules:\n  \
         - host: shop.example\n    http:\n      paths:\n      \
         - {{path: /, pathType: Prefix, backend: {{service: {{name: shop, port: {{number: 80}}}}}}}}\n---\n\
         {{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: shop-1, labels: {{kubernetes.io/service-name: shop}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n"
    )
}

#[test]
fn check_passes_what_is_right() {
    let folder = folder("right", &shop("timeouts: {request: 30s}"));
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert_eq!((code, text.as_str()), (0, "1 Ingress, nothing wrong\n"));
    let (code, text) = outcome(&format!("check -o json {}", folder.display()));
    let findings = json(&text);
    assert_eq!((code, &findings["objects"]), (0, &serde_json::json!([])));
    let ancestor = &findings["policies"][0]["ancestors"][0];
    assert_eq!(findings["policies"][0]["policy"], "default/guard");
    assert_eq!(ancestor["target"], "Ingress default/shop");
    assert_eq!((&ancestor["accepted"]["status"], &ancestor["programmed"]["status"]), (&true.into(), &true.into()));
}

#[test]
fn check_fails_for_what_is_wrong_and_names_object_field_and_way_out() {
    let folder = folder("wrong", &shop("access: {allow: [nowhere]}"));
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert_eq!(code, 1, "{text}");
    let line = text.lines().find(|line| line.starts_with("ProxyPolicy default/guard: spec.access.allow[0]: Invalid"));
    assert!(line.is_some_and(|line| line.contains("nowhere") && line.contains("10.0.0.0/8")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("Ingress default/shop: ")), "{text}");
    assert!(text.ends_with("\n1 Ingress, 2 problems\n"), "{text}");
    let (code, text) = outcome(&format!("check -o json {}", folder.display()));
    let ancestor = &json(&text)["policies"][0]["ancestors"][0];
    assert_eq!(code, 1);
    assert_eq!((&ancestor["accepted"]["status"], &ancestor["accepted"]["reason"]), (&false.into(), &"Invalid".into()));
    assert_eq!(ancestor["programmed"]["status"], false);
}

#[test]
fn check_fails_for_a_policy_of_another_group() {
    let policy = shop("access: {allow: [10.0.0.0/8]}").replace("headgate.dev", "headgate.io");
    let folder = folder("another-group", &policy);
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("ProxyPolicy default/guard: apiVersion"), "{text}");
    assert!(text.contains("503 is answered"), "{text}");
}

#[test]
fn one_problem_is_not_several() {
    let folder = folder("one-wrong", &shop("timeouts: {request: soon}"));
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert!(code == 1 && text.ends_with("\n1 Ingress, 1 problem\n"), "{text}");
}

#[test]
fn check_and_routes_of_nothing_that_is_there_are_errors() {
    for flags in ["check deploy/none", "routes --dir deploy/none"] {
        assert!(failure(flags, 1).contains("deploy/none"), "{flags}");
    }
    assert!(failure("check", 2).contains("PATH"));
    assert!(failure("routes", 2).contains("--dir"));
    assert!(failure("check -o xml x", 2).contains("'xml'"));
}

#[test]
fn routes_shows_where_each_goes_or_why_it_does_not() {
    let served = folder("served", &shop("timeouts: {request: 30s}"));
    let (code, text) = outcome(&format!("routes --dir {}", served.display()));
    assert_eq!((code, text.lines().count()), (0, 2), "{text}");
    let (code, text) = outcome(&format!("routes -o json --dir {}", served.display()));
    let routes = json(&text);
    assert_eq!((code, &routes[0]["host"], &routes[0]["path"]), (0, &"shop.example".into(), &"/".into()));
    assert_eq!((&routes[0]["backend"], &routes[0]["endpoints"]), (&"default/shop:80".into(), &1.into()));
    let denied = folder("denied", &shop("access: {allow: [nowhere]}"));
    let (_, text) = outcome(&format!("routes -o json --dir {}", denied.display()));
    assert!(json(&text)[0]["denied"].as_str().unwrap().contains("nowhere"), "{text}");
}

#[test]
fn routes_fails_where_there_is_none() {
    let empty = folder("empty", "");
    assert_eq!(outcome(&format!("routes --dir {}", empty.display())).0, 1);
}
