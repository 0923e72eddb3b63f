//! Policies in files that are broken: what they might guard answers 503 until they are mended, and never opens.

use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Headgate, get};

const HOST: &str = "shop.example";

fn policy(rest: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: guard}}\nspec:\n  \
         targetRefs: [{{group: networking.k8s.io, kind: Ingress, name: {}}}]\n{rest}",
        ingress_name()
    )
}

/// As `site` calls it.
fn ingress_name() -> String {
    let objects = site(HOST, &[]);
    let ingress = objects.iter().find(|object| object["kind"] == "Ingress").unwrap();
    ingress["metadata"]["name"].as_str().unwrap().to_owned()
}

#[track_caller]
fn becomes(proxy: &Headgate, status: u16) {
    until(&format!("{status}"), || (get(proxy.http, HOST, "/").status == status).then_some(()));
}

#[test]
fn a_policy_that_cannot_be_understood_denies_until_it_is_mended() {
    let backend = Backend::answering("ok");
    for broken in [
        "  access: {allow: 127.0.0.0/8}\n",
        "  access: {allow: [nowhere]}\n",
        "  acess: {}\n",
        "  access: [\n",
        "- what\n",
    ] {
        let proxy = Headgate::with(&site(HOST, &[backend.address])).file("guard.yaml", &policy(broken)).start();
        assert_eq!(get(proxy.http, HOST, "/").status, 503, "{broken}");
        proxy.folder.write_text("guard.yaml", &policy("  timeouts: {request: 30s}\n"));
        becomes(&proxy, 200);
        proxy.folder.write_text("guard.yaml", &policy("  access: {}\n"));
        becomes(&proxy, 503);
        proxy.folder.remove("guard.yaml");
        becomes(&proxy, 200);
    }
}

#[test]
fn a_misspelt_kind_or_target_denies() {
    let backend = Backend::answering("ok");
    for (right, slip) in
        [("ProxyPolicy", "proxypolicy"), ("kind: Ingress", "kind: ingress"), ("targetRefs", "targetrefs")]
    {
        let misspelt = policy("  access: {allow: [127.0.0.0/8]}\n").replace(right, slip);
        let proxy = Headgate::with(&site(HOST, &[backend.address])).file("guard.yaml", &misspelt).start();
        assert_eq!(get(proxy.http, HOST, "/").status, 503, "{slip}");
    }
}

#[test]
fn an_unknown_field_denies_on_a_service() {
    let backend = Backend::answering("ok");
    let objects = site(HOST, &[backend.address]);
    let service = objects.iter().find(|object| object["kind"] == "Service").unwrap();
    let target = format!("[{{kind: Service, name: {}}}]", service["metadata"]["name"].as_str().unwrap());
    let policy = format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: guard}}\n\
         spec: {{targetRefs: {target}, backendTls: {{}}}}\n"
    );
    let proxy = Headgate::with(&objects).file("guard.yaml", &policy).start();
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    proxy.folder.write_text("guard.yaml", &policy.replace("backendTls: {}", "maxConnections: '5'"));
    becomes(&proxy, 200);
}

#[test]
fn the_log_tells_both_owners_why() {
    let backend = Backend::answering("ok");
    let broken = policy("  access: {allow: [nowhere]}\n");
    let proxy = Headgate::with(&site(HOST, &[backend.address])).file("guard.yaml", &broken).start();
    assert_eq!(get(proxy.http, HOST, "/").status, 503);
    let told = proxy.stderr();
    for object in ["ProxyPolicy default/guard".to_owned(), format!("Ingress default/{}", ingress_name())] {
        let line = told.lines().find(|line| line.contains(&object) && line.contains("nowhere"));
        assert!(line.is_some(), "{object}: {told}");
    }
}

#[test]
fn the_problems_view_tells_what_became_of_each_policy_and_follows() {
    let backend = Backend::answering("ok");
    let builder = Headgate::with(&site(HOST, &[backend.address]));
    let proxy = builder.file("guard.yaml", &policy("  timeouts: {request: 30s}\n")).start();
    let accepted = |proxy: &Headgate| {
        let shown = get(proxy.admin, "admin", "/debug/problems").json();
        assert_eq!(shown["policies"][0]["policy"], "default/guard", "{shown}");
        shown["policies"][0]["ancestors"][0]["accepted"].clone()
    };
    assert_eq!(accepted(&proxy)["status"], true);
    proxy.folder.write_text("guard.yaml", &policy("  access: {allow: [nowhere]}\n"));
    until("the condition", || (accepted(&proxy)["reason"] == "Invalid").then_some(()));
    assert!(accepted(&proxy)["message"].as_str().unwrap().contains("nowhere"));
}
