//! `--dir`: which files and objects are read, and how changes become live.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::folder::to_yaml;
use crate::support::objects::{ingress, rule, service, site, with_annotation};
use crate::support::wait::{stays, until};
use crate::support::{Backend, Headgate, get};

/// Longest time from a write to its effect: 100 ms, and what a loaded machine needs.
const LIVE: Duration = Duration::from_millis(1000);

#[track_caller]
fn live(proxy: &Headgate, host: &str, expected: u16) {
    let start = Instant::now();
    until(&format!("{host} to answer {expected}"), || (get(proxy.http, host, "/").status == expected).then_some(()));
    assert!(start.elapsed() < LIVE, "after {:?}", start.elapsed());
}

#[test]
fn files_of_many_documents_lists_json_and_sub_folders_are_read() {
    let backend = Backend::answering("ok");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": site("list.example", &[backend.address]) });
    let typed = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressList",
        "items": [ingress("typed", &[rule("typed.example", "/", "Prefix", "list")])],
    });
    let proxy = Headgate::with(&site("many.example", &[backend.address]))
        .file("list.json", &list.to_string())
        .file("typed.yml", &to_yaml(&[typed]))
        .file("deep/er/site.yaml", &to_yaml(&site("deep.example", &[backend.address])))
        .file("notes.txt", "not: [an object")
        .file(".hidden.yaml", &to_yaml(&site("hidden.example", &[backend.address])))
        .start();
    for (host, status) in [
        ("many.example", 200),
        ("list.example", 200),
        ("typed.example", 200),
        ("deep.example", 200),
        ("hidden.example", 404),
    ] {
        assert_eq!(get(proxy.http, host, "/").status, status, "{host}");
    }
}

#[test]
fn block_style_yaml_is_read_as_kubectl_reads_it() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&service("web", &[backend.address]))
        .file(
            "ingress.yaml",
            "# a comment\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\nspec:\n  rules:\n  - host: web.example\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        backend:\n          service:\n            name: web\n            port:\n              number: 80\n---\n",
        )
        .start();
    assert_eq!(get(proxy.http, "web.example", "/").status, 200);
}

#[test]
fn one_file_may_stand_for_the_folder() {
    let backend = Backend::answering("ok");
    let only = to_yaml(&site("a.example", &[backend.address]));
    let proxy =
        Headgate::with(&site("beside.example", &[backend.address])).file("only.yaml", &only).only("only.yaml").start();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert_eq!(get(proxy.http, "beside.example", "/").status, 404);
    proxy.folder.write("only.yaml", &site("b.example", &[backend.address]));
    live(&proxy, "b.example", 200);
}

#[test]
fn kinds_that_we_do_not_read_are_skipped() {
    let backend = Backend::answering("ok");
    let mut objects = site("a.example", &[backend.address]);
    objects.push(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {} }));
    let proxy = Headgate::serve(&objects);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn only_ingresses_of_our_class_are_served() {
    let backend = Backend::answering("ok");
    let with_class = |name: &str, class: &str| {
        let mut object = ingress(name, &[rule(&format!("{name}.example"), "/", "Prefix", "web")]);
        object["spec"]["ingressClassName"] = class.into();
        object
    };
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "edge" },
        "spec": { "controller": "headgate.dev/ingress-controller" },
    });
    let old = with_annotation(
        ingress("old", &[rule("old.example", "/", "Prefix", "web")]),
        "kubernetes.io/ingress.class",
        "headgate",
    );
    let mut objects =
        vec![with_class("ours", "headgate"), with_class("byclass", "edge"), with_class("other", "nginx"), class, old];
    objects.push(with_class("another", "nginx"));
    objects.push(ingress("none", &[rule("none.example", "/", "Prefix", "web")]));
    objects.extend(service("web", &[backend.address]));
    let proxy = Headgate::serve(&objects);
    for (host, status) in [
        ("ours.example", 200),
        ("byclass.example", 200),
        ("old.example", 200),
        ("none.example", 200),
        ("other.example", 404),
    ] {
        assert_eq!(get(proxy.http, host, "/").status, status, "{host}");
    }
    let told = proxy.stderr();
    // In a shared cluster there are thousands.
    let [line] = Vec::from_iter(told.lines().filter(|line| line.contains("nginx")))[..] else { panic!("{told}") };
    assert!(["--ingress-class", "objects=2", "other"].iter().all(|part| line.contains(part)), "{line}");
    let proxy = Headgate::with(&objects).flag("--ingress-class", "nginx").start();
    assert_eq!(get(proxy.http, "other.example", "/").status, 200);
}

#[test]
fn a_change_of_a_file_is_live_at_once() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    proxy.folder.write("new.yaml", &site("b.example", &[backend.address]));
    live(&proxy, "b.example", 200);
    proxy.folder.write("new.yaml", &site("c.example", &[backend.address]));
    live(&proxy, "c.example", 200);
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
    proxy.folder.remove("new.yaml");
    live(&proxy, "c.example", 404);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn a_change_written_in_place_is_live_at_once() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let path = proxy.folder.objects().join("in-place.yaml");
    for host in ["b.example", "c.example"] {
        std::fs::write(&path, to_yaml(&site(host, &[backend.address]))).unwrap();
        live(&proxy, host, 200);
    }
}

#[test]
fn a_new_sub_folder_is_seen() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    proxy.folder.write("new/deep/site.yaml", &site("b.example", &[backend.address]));
    live(&proxy, "b.example", 200);
}

#[test]
fn a_swap_of_a_config_map_link_is_live_at_once() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&[]);
    let root = proxy.folder.objects();
    let publish = |version: &str, host: &str| {
        let data = root.join(format!("..{version}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("site.yaml"), to_yaml(&site(host, &[backend.address]))).unwrap();
        std::os::unix::fs::symlink(format!("..{version}"), root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    publish("2026_1", "one.example");
    std::os::unix::fs::symlink("..data/site.yaml", root.join("site.yaml")).unwrap();
    live(&proxy, "one.example", 200);
    publish("2026_2", "two.example");
    live(&proxy, "two.example", 200);
    assert_eq!(get(proxy.http, "one.example", "/").status, 404);
}

#[test]
fn a_file_that_stops_parsing_keeps_its_last_good_objects() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address]))
        .file("b.yaml", &to_yaml(&site("b.example", &[backend.address])))
        .start();
    proxy.folder.write_text("b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: [broken\n");
    let told = until("the reason", || {
        proxy.stderr().lines().find(|line| line.contains("b.yaml") && line.contains("line")).map(str::to_owned)
    });
    assert!(told.contains('3') || told.contains('4'), "the line is named: {told}");
    assert_eq!(get(proxy.http, "b.example", "/").status, 200);
    proxy.counted("headgate_source_errors", &[], 1.0);
    assert!(get(proxy.admin, "admin", "/debug/problems").text().contains("b.yaml"));
    proxy.folder.write("b.yaml", &site("c.example", &[backend.address]));
    live(&proxy, "c.example", 200);
    until("no error", || (proxy.metrics().value("headgate_source_errors", &[]) == 0.0).then_some(()));
}

#[test]
fn a_first_start_on_a_broken_file_starts_with_the_rest() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).file("broken.yaml", "a: [b\n").start();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert!(proxy.stderr().contains("broken.yaml"));
}

#[test]
fn one_undecodable_object_hurts_no_other() {
    let backend = Backend::answering("ok");
    let mut objects = site("a.example", &[backend.address]);
    objects.insert(0, json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "bad" }, "spec": { "rules": "none" } }));
    let proxy = Headgate::serve(&objects);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert!(proxy.stderr().contains("bad"), "{}", proxy.stderr());
}

#[test]
fn an_object_that_stands_twice_is_taken_from_the_first_file() {
    let backends = ["first", "second"].map(Backend::answering);
    let mut objects = service("first", &[backends[0].address]);
    objects.extend(service("second", &[backends[1].address]));
    let twice = |to: &str| to_yaml(&[ingress("twice", &[rule("twice.example", "/", "Prefix", to)])]);
    let proxy = Headgate::with(&objects).file("z.yaml", &twice("second")).file("b.yaml", &twice("first")).start();
    assert_eq!(get(proxy.http, "twice.example", "/").text(), "first");
    assert!(proxy.stderr().contains("twice"), "the other is reported: {}", proxy.stderr());
}

#[test]
fn equal_content_is_not_published_again() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for number in 0..5 {
        proxy.folder.write("objects.yaml", &site("a.example", &[backend.address]));
        proxy.folder.write_text("objects2.yaml", &format!("# comment {number}\n"));
    }
    stays("the generation", Duration::from_millis(700), || proxy.generation() == 1);
}

#[test]
fn a_burst_of_changes_is_few_generations() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for number in 0..200 {
        proxy.folder.write(
            &format!("{number}.yaml"),
            &[ingress(&format!("i{number}"), &[rule(&format!("h{number}.example"), "/", "Prefix", "a")])],
        );
    }
    until("the last host", || (get(proxy.http, "h199.example", "/").status == 200).then_some(()));
    assert!(proxy.generation() < 120, "{}", proxy.generation());
}

#[test]
fn names_and_namespaces_have_their_defaults() {
    let backend = Backend::answering("ok");
    let mut objects = site("a.example", &[backend.address]);
    objects.iter_mut().for_each(|object| drop(object["metadata"].as_object_mut().unwrap().remove("namespace")));
    let mut elsewhere = ingress("elsewhere", &[rule("b.example", "/", "Prefix", "a")]);
    elsewhere["metadata"]["namespace"] = "other".into();
    objects.push(elsewhere);
    let proxy = Headgate::serve(&objects);
    assert_eq!(get(proxy.http, "a.example", "/here").status, 200);
    assert_eq!(get(proxy.http, "b.example", "/").status, 503, "a Service of another namespace is not its");
    assert_eq!(proxy.log_of("/here")["namespace"], "default");
}

#[test]
fn a_start_with_nothing_to_serve_says_in_one_line_what_is_missing() {
    let other = json!({ "ingressClassName": "nginx", "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } });
    let other =
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "a" }, "spec": other });
    for (objects, parts) in [
        (&[][..], ["0 of 0 Ingresses are served", "has no Ingress", "*.yaml"]),
        (&[other], ["0 of 1 Ingresses are served", "nginx", "--ingress-class"]),
    ] {
        let mut proxy = Headgate::with(objects).flag("--shutdown-grace-period", "0s").start();
        assert_eq!(proxy.stop().code(), Some(0));
        let lines: Vec<_> =
            proxy.stderr().lines().filter(|line| line.contains("are served")).map(String::from).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("WARN") && parts.iter().all(|part| lines[0].contains(part)), "{lines:?}");
    }
}
