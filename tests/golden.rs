//! Rules of translation as fixtures: `tests/golden/<topic>/<rule-as-a-sentence>.yaml` holds the objects, and
//! `<rule>.out.yaml` the snapshot and the reports that they give. `make golden` rewrites the latter; review the diff.
//!
//! What a case needs beside objects stands in its first lines, as YAML after `#:` (see [`Case`]). In objects,
//! `base64(NAME)` stands for the content of `tests/golden/certs/NAME`. What is as in the translation of no objects, or
//! as the policy of a route ships, is left out of the output.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headgate::snapshot::{Backend, BackendPolicy, Host, Reference, RoutePolicy, Snapshot};
use headgate::source::folder::{SourceProblem, view_of};
use headgate::translate::{Objects, Options, PolicyAncestor, PolicyCondition, PolicyStatus, Translation, Translator};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

const LONGEST_CASE: usize = 60;

/// Flags of the process, and what the resolver knows.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Case {
    ingress_class: Option<String>,
    watch_ingress_without_class: Option<bool>,
    in_a_cluster: bool,
    ingress_class_by_name: Option<bool>,
    own_endpoints: Vec<SocketAddr>,
    publish_service: Option<String>,
    watch_namespace: Option<String>,
    enable_svc_external_name: bool,
    disable_catch_all: bool,
    /// Where hints count: the node that this process runs on, and its zone.
    node: Option<String>,
    zone: Option<String>,
    annotations_prefix: Option<String>,
    default_ssl_certificate: Option<String>,
    default_backend_service: Option<String>,
    configmap: Option<String>,
    ssl_redirect: Option<bool>,
    hsts: Option<bool>,
    trusted_proxies: Option<Vec<IpNet>>,
    use_proxy_protocol: Option<bool>,
    /// Seconds.
    request_timeout: Option<u64>,
    connect_tunnel: bool,
    /// Parts of the objects cannot be read, which is shown.
    broken: bool,
    resolved: BTreeMap<String, Vec<IpAddr>>,
}

#[test]
fn translation_gives_what_the_fixtures_say() {
    let rewrite = std::env::var_os("HEADGATE_GOLDEN").is_some_and(|wish| wish == "rewrite");
    let cases = files(&root(), &|name| name.ends_with(".yaml") && !name.ends_with(".out.yaml"));
    assert!(cases.len() > 50, "only {} cases found", cases.len());
    let mut wrong = Vec::new();
    for path in &cases {
        let actual = translated(path);
        let expected_path = path.with_extension("out.yaml");
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if actual == expected {
            continue;
        }
        if rewrite {
            fs::write(&expected_path, actual).unwrap();
        } else {
            wrong.push(format!("{}\n{}", path.display(), difference(&expected, &actual)));
        }
    }
    assert!(wrong.is_empty(), "{}\n`make golden` accepts what was translated", wrong.join("\n"));
}

#[test]
fn every_expected_output_has_a_case_and_every_case_is_short() {
    for path in files(&root(), &|name| name.ends_with(".yaml")) {
        let name = path.to_str().unwrap();
        if let Some(case) = name.strip_suffix(".out.yaml") {
            assert!(Path::new(&format!("{case}.yaml")).exists(), "{name} belongs to no case");
        } else {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= LONGEST_CASE, "{name} has {lines} lines");
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(path.file_name().unwrap().to_str().unwrap()) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn translated(path: &Path) -> String {
    let text = with_certificates(&fs::read_to_string(path).unwrap());
    let head: String = text.lines().filter_map(|line| line.strip_prefix("#:")).flat_map(|line| [line, "\n"]).collect();
    let case: Case = match head.is_empty() {
        true => Case::default(),
        false => serde_yaml::from_str(&head).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    let view = view_of([(path.to_str().unwrap(), text.as_str())]);
    assert_eq!(!view.problems.is_empty(), case.broken, "{}: {:?}", path.display(), view.problems);
    assert!(view.notes.is_empty(), "{}: {:?}", path.display(), view.notes);
    let mut objects = view.objects;
    objects.addresses = case.resolved.iter().map(|(name, found)| (name.clone(), Arc::from(&found[..]))).collect();
    if let (Some(node), Some(zone)) = (&case.node, &case.zone) {
        let labels = serde_json::json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone } } });
        objects.nodes.insert(node.clone(), Arc::new(serde_json::from_value(labels).unwrap()));
    }
    let mut translator = Translator::default();
    let translation = translator.translate(&objects, &case.options());
    let again = translator.translate(&objects, &case.options());
    assert_eq!(translation, again, "{}: the memo changes the outcome", path.display());
    shown(&translation, &view.problems)
}

/// Puts certificates and keys in place, base64 as Secrets have it.
fn with_certificates(text: &str) -> String {
    let mut parts = text.split("base64(");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')').unwrap();
        let content = fs::read(root().join("certs").join(name)).unwrap();
        whole.push_str(&serde_json::to_string(&k8s_openapi::ByteString(content)).unwrap());
        whole.push_str(rest);
    }
    whole
}

impl Case {
    fn options(&self) -> Options {
        let standard = Options::default();
        let reference = |text: &Option<String>| {
            text.as_ref().map(|text| text.split_once('/').map(|(space, name)| Reference::new(space, name)).unwrap())
        };
        Options {
            ingress_class: self.ingress_class.clone().unwrap_or(standard.ingress_class),
            ingress_without_class: self.watch_ingress_without_class.unwrap_or(!self.in_a_cluster),
            class_by_name: self.ingress_class_by_name.unwrap_or(!self.in_a_cluster),
            refuse_local_endpoints: self.in_a_cluster,
            own_endpoints: self.own_endpoints.clone(),
            own_service: reference(&self.publish_service),
            watch_namespace: self.watch_namespace.clone(),
            external_name: self.enable_svc_external_name,
            no_catch_all: self.disable_catch_all,
            node: self.node.clone(),
            annotations_prefix: self.annotations_prefix.clone().unwrap_or(standard.annotations_prefix),
            default_certificate: reference(&self.default_ssl_certificate),
            default_backend: reference(&self.default_backend_service),
            config_map: reference(&self.configmap),
            ssl_redirect: self.ssl_redirect,
            hsts: self.hsts,
            trusted_proxies: self.trusted_proxies.clone(),
            proxy_protocol: self.use_proxy_protocol,
            request_timeout: self.request_timeout.map(Duration::from_secs),
            connect_tunnel: self.connect_tunnel,
            ..Options::default()
        }
    }
}

/// The translation as YAML, without what goes without saying.
fn shown(translation: &Translation, broken: &[SourceProblem]) -> String {
    let nothing = Translator::default().translate(&Objects::default(), &Options::default());
    let mut snapshot = value(&translation.snapshot);
    let standard = value(&nothing.snapshot);
    without(&mut snapshot["settings"], &standard["settings"]);
    without(&mut snapshot, &standard);
    for host in entries(&mut snapshot, "hosts") {
        for route in host.get_mut("routes").and_then(Value::as_sequence_mut).into_iter().flatten() {
            without(&mut route["policy"], &value(RoutePolicy::default()));
            without(route, &serde_yaml::from_str("policy: {}").unwrap());
        }
        let plain = Host { tls: false, ..Host::default() };
        without(host, &value(plain));
    }
    for backend in entries(&mut snapshot, "backends") {
        without(&mut backend["policy"], &value(BackendPolicy::default()));
        without(backend, &serde_yaml::from_str("policy: {}").unwrap());
        without(backend, &value(Backend::default()));
    }
    without(&mut snapshot, &serde_yaml::from_str("settings: {}").unwrap());
    let mut whole = serde_yaml::Mapping::new();
    whole.insert("snapshot".into(), snapshot);
    whole.insert("reports".into(), value(&translation.reports));
    if !translation.policies.is_empty() {
        let policies = translation.policies.iter().map(|status| (status.policy.to_string(), ancestors(status)));
        whole.insert("policies".into(), value(policies.collect::<BTreeMap<_, _>>()));
    }
    if !broken.is_empty() {
        let place = |problem: &SourceProblem| format!("{}: {}", problem.line.unwrap_or_default(), problem.reason);
        whole.insert("broken".into(), value(broken.iter().map(place).collect::<Vec<_>>()));
    }
    if !translation.names_to_resolve.is_empty() {
        whole.insert("names_to_resolve".into(), value(&translation.names_to_resolve));
    }
    serde_yaml::to_string(&whole).unwrap()
}

/// A line for each target of a policy; messages only of what is not as it should be.
fn ancestors(status: &PolicyStatus) -> Vec<String> {
    let condition = |condition: &PolicyCondition| match condition.status {
        true => format!("{:?}", condition.reason),
        false => format!("no, {:?} ({})", condition.reason, condition.message),
    };
    let line = |ancestor: &PolicyAncestor| {
        let section = ancestor.section.as_ref().map(|section| format!(" {section}")).unwrap_or_default();
        let (accepted, programmed) = (condition(&ancestor.accepted), condition(&ancestor.programmed));
        format!("{}{section}: {accepted}; {programmed}", ancestor.target)
    };
    status.ancestors.iter().map(line).collect()
}

fn value(any: impl Serialize) -> Value {
    serde_yaml::to_value(any).unwrap()
}

fn entries<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let map = value.get_mut(key).and_then(Value::as_mapping_mut);
    map.into_iter().flat_map(|map| map.iter_mut().map(|(_, entry)| entry))
}

/// Takes the entries out of a mapping that are in `standard` too.
fn without(value: &mut Value, standard: &Value) {
    if let Some(map) = value.as_mapping_mut() {
        map.retain(|key, entry| standard.get(key) != Some(entry));
    }
}

/// The lines between the common start and the common end.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let shorter = expected.len().min(actual.len());
    let start = (0..shorter).take_while(|at| expected[*at] == actual[*at]).count();
    let same_end = |back: &usize| expected[expected.len() - 1 - back] == actual[actual.len() - 1 - back];
    let end = (0..shorter - start).take_while(same_end).count();
    let removed = expected[start..expected.len() - end].iter().map(|line| format!("  - {line}"));
    let added = actual[start..actual.len() - end].iter().map(|line| format!("  + {line}"));
    let at = format!("  at line {}:", start + 1);
    std::iter::once(at).chain(removed).chain(added).collect::<Vec<_>>().join("\n")
}

/// That the default snapshot serialises is what the terse output stands on.
#[test]
fn an_empty_snapshot_is_a_mapping() {
    assert!(value(Snapshot::default()).is_mapping());
}
