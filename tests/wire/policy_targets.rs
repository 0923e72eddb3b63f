//! `targetRefs` of a policy: what it is about, and what it leaves alone.

use serde_json::{Value, json};

use crate::support::{Backend, Headgate, Objects, TestCertificate, get, objects};

fn deny() -> Value {
    json!({ "access": { "deny": ["127.0.0.0/8"] } })
}

fn statuses(site: &Objects) -> [u16; 2] {
    let proxy = Headgate::serve(site);
    ["a.example", "b.example"].map(|host| get(proxy.http, host, "/").status)
}

#[test]
fn a_policy_is_about_what_it_names_and_nothing_else() {
    let backend = Backend::answering("ok");
    let sites =
        [objects::site("a.example", &[backend.address]), objects::site("b.example", &[backend.address])].concat();
    let with = |policy: Value| [&sites[..], &[policy]].concat();
    assert_eq!(statuses(&with(objects::policy("policy", "Ingress", "a", deny()))), [403, 200]);
    assert_eq!(statuses(&with(objects::policy("policy", "Ingress", "b", deny()))), [200, 403]);
    let mut both = objects::policy("policy", "Ingress", "a", deny());
    let mut other = both["spec"]["targetRefs"][0].clone();
    other["name"] = "b".into();
    both["spec"]["targetRefs"].as_array_mut().unwrap().push(other);
    assert_eq!(statuses(&with(both)), [403, 403]);
    assert_eq!(statuses(&with(objects::policy("policy", "Ingress", "c", deny()))), [200, 200]);
    // Of the same name, but of another kind.
    assert_eq!(statuses(&with(objects::policy("policy", "Service", "a", deny()))), [200, 200]);
    let nowhere = json!({ "trafficSplit": [{ "service": "nowhere", "port": 80, "weight": 1 }] });
    assert_eq!(statuses(&with(objects::policy("policy", "Service", "b", nowhere.clone()))), [200, 503]);
    assert_eq!(statuses(&with(objects::policy("policy", "Ingress", "b", nowhere))), [200, 200]);
    let allow = json!({ "access": { "allow": ["127.0.0.0/8"] } });
    let mut misspelt = objects::policy("policy", "Ingress", "a", allow);
    misspelt["spec"]["targetRefs"][0]["group"] = "".into();
    assert_eq!(statuses(&with(misspelt)), [503, 200]);
    let mut elsewhere = objects::policy("policy", "Ingress", "a", deny());
    elsewhere["metadata"]["namespace"] = "other".into();
    assert_eq!(statuses(&with(elsewhere)), [200, 200]);
}

#[test]
fn a_policy_of_a_class_is_about_its_ingresses() {
    let backend = Backend::answering("ok");
    let mut site =
        [objects::site("a.example", &[backend.address]), objects::site("b.example", &[backend.address])].concat();
    site[0]["spec"]["ingressClassName"] = "guarded".into();
    let parameters = json!({
        "apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": "policy", "namespace": "default", "scope": "Namespace",
    });
    site.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "guarded" },
        "spec": { "controller": "headgate.dev/ingress-controller", "parameters": parameters },
    }));
    site.push(objects::policy("policy", "IngressClass", "guarded", deny()));
    assert_eq!(statuses(&site), [403, 200]);
}

#[test]
fn a_policy_of_a_port_is_about_that_port() {
    let encrypted =
        Backend::tls(TestCertificate::for_names(&["other.example"]), |exchange| exchange.reply("200 OK", "tls"));
    let plain = Backend::answering("plain");
    let to = |port: &str| json!({ "service": { "name": "a", "port": { "name": port } } });
    let rules = [("/http", "http"), ("/tls", "tls")]
        .map(|(path, port)| objects::rule_to("a.example", path, "Prefix", to(port)));
    let mut site = vec![objects::ingress("a", &rules)];
    site.extend(objects::service("a", &[plain.address]));
    site[1]["spec"]["ports"].as_array_mut().unwrap().push(json!({ "name": "tls", "port": 443 }));
    let mut slice = objects::slices("a", &[encrypted.address]).remove(0);
    slice["ports"][0]["name"] = "tls".into();
    site.push(slice);
    let mut policy = objects::policy("policy", "Service", "a", json!({ "protocol": "HTTPS" }));
    policy["spec"]["targetRefs"][0]["sectionName"] = "tls".into();
    site.push(policy);
    let proxy = Headgate::serve(&site);
    let text = |path| get(proxy.http, "a.example", path).text();
    assert_eq!([text("/http"), text("/tls")], ["plain", "tls"]);
}
