//! A policy that is broken in some part is taken without that part, which is named.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::files::view_of;
use super::super::guess::Guess;
use super::super::object::Object;
use super::super::parse::{Parsed, parse_documents};
use super::*;
use crate::api::{Access, Algorithm};
use crate::snapshot::{Action, HostPattern, Reference};
use crate::translate::{Options, Translator};

const HEAD: &str = "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {name: shop}\nspec:\n";
const TARGET: &str = "  targetRefs: [{group: networking.k8s.io, kind: Ingress, name: shop}]\n";

fn parse(text: &str) -> Parsed {
    parse_documents(Path::new("a.yaml"), text.as_bytes()).unwrap()
}

/// The only object, which is a policy, and what is told of it.
#[track_caller]
fn read(text: &str) -> (Arc<PolicyObject>, Vec<String>) {
    let parsed = parse(text);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let [located] = &parsed.objects[..] else { panic!("{} objects", parsed.objects.len()) };
    let Object::ProxyPolicy(policy) = &located.object else { panic!("{located:?}") };
    let told: Vec<_> = parsed.flaws.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), policy.illegible.len());
    (policy.clone(), told)
}

/// What is told of a policy of this spec, which targets the Ingress all the same.
#[track_caller]
fn told(spec: &str) -> String {
    let (policy, told) = read(&format!("{HEAD}{TARGET}{spec}"));
    assert_eq!(policy.policy.spec.target_refs[0].name, "shop");
    let [told] = &told[..] else { panic!("{told:?}") };
    told.strip_prefix("a.yaml:").unwrap().to_owned()
}

#[test]
fn a_whole_policy_is_read_without_a_word() {
    let (read, told) = read(&format!(
        "{HEAD}{TARGET}  access: {{allow: [10.0.0.0/8]}}\n  loadBalancer: {{algorithm: IPHash}}\n\
         status: {{ancestors: nonsense}}\n"
    ));
    assert_eq!(told, [""; 0]);
    let spec = &read.policy.spec;
    assert_eq!(spec.access, Some(Access { allow: Some(vec!["10.0.0.0/8".into()]), deny: None }));
    assert_eq!(spec.load_balancer.as_ref().unwrap().algorithm, Algorithm::IPHash);
    assert_eq!(read.policy.metadata.namespace.as_deref(), Some("default"));
}

#[test]
fn a_broken_field_is_named_and_leaves_the_others() {
    let (read, told) =
        read(&format!("{HEAD}{TARGET}  access: {{allow: 10.0.0.0/8}}\n  connectionLimit: {{perClient: 5}}\n"));
    assert_eq!(
        told,
        ["a.yaml:6:19: ProxyPolicy default/shop: spec.access.allow: must be a list, not the string \"10.0.0.0/8\""]
    );
    assert_eq!(read.policy.spec.access, None);
    assert_eq!(read.policy.spec.connection_limit.as_ref().unwrap().per_client, 5);
    assert_eq!(read.illegible[0].field, "spec.access.allow");
}

#[test]
fn wrong_types_unknown_words_and_missing_fields_name_the_way_out() {
    for (spec, expected) in [
        ("  maxConnections: many\n", "6:19: ProxyPolicy default/shop: spec.maxConnections: "),
        ("  connectTimeout: 5\n", "put it in quotes"),
        ("  protocol: HTTP2\n", "spec.protocol: unknown variant `HTTP2`, expected one of `HTTP1`, `H2C`, `HTTPS`"),
        ("  protocol: 2\n", "spec.protocol: must be one of HTTP1, H2C, HTTPS, not the number 2"),
        ("  rateLimit: {per: 1s}\n", "spec.rateLimit: missing field `requests`"),
        ("  access: {alow: []}\n", "spec.access: unknown field `alow`, expected `allow` or `deny`"),
        ("  access: []\n", "spec.access: must be a mapping, not a list"),
        ("  acess: {allow: []}\n", "6:3: ProxyPolicy default/shop: spec.acess: unknown field `acess`, expected one of"),
        ("  retry: {attempts: 1.5}\n", "spec.retry.attempts: must be a whole number, not the number 1.5"),
        ("  maxConnections: 99999999999\n", "spec.maxConnections: invalid value: integer `99999999999`, expected i32"),
    ] {
        let told = told(spec);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn on_needs_no_quotes_in_a_file() {
    let (read, told) = read(&format!("{HEAD}{TARGET}  retry: {{on: [Reset]}}\n"));
    assert_eq!(told, [""; 0]);
    assert_eq!(read.policy.spec.retry.as_ref().unwrap().on, Some(vec!["Reset".into()]));
    assert!(super::tests::told("  access: {on: x}\n").contains("unknown field `true`"));
}

#[test]
fn what_is_legible_of_a_target_is_kept() {
    let (read, told) = read(&format!(
        "{HEAD}  targetRefs:\n  - {{kind: Ingress, name: shop, port: 5}}\n  - {{kind: Service, name: 7}}\n  - shop\n"
    ));
    assert!(
        told[0].starts_with("a.yaml:6:6: ProxyPolicy default/shop: spec.targetRefs[0]: unknown field `port`"),
        "{}",
        told[0]
    );
    assert!(
        told[1].contains(":7:21: ProxyPolicy default/shop: spec.targetRefs[1].name: must be a string"),
        "{}",
        told[1]
    );
    assert!(told[2].contains(":8:5: ProxyPolicy default/shop: spec.targetRefs[2]: must be a mapping"), "{}", told[2]);
    let targets: Vec<_> = read.policy.spec.target_refs.iter().map(|target| (&*target.kind, &*target.name)).collect();
    assert_eq!(targets, [("Ingress", "shop"), ("Service", "7"), ("", "shop")]);
}

#[test]
fn targets_that_are_no_list_are_understood_and_refused() {
    let target = "{group: networking.k8s.io, kind: Ingress, name: shop}";
    for (field, expected) in [
        ("targetRefs", "a.yaml:5:3: ProxyPolicy default/shop: spec.targetRefs: must be a list of targets; begin"),
        ("targetRef", "a.yaml:5:3: ProxyPolicy default/shop: spec.targetRef: is not a field of a ProxyPolicy"),
    ] {
        let (read, told) = read(&format!("{HEAD}  {field}: {target}\n"));
        assert_eq!(read.policy.spec.target_refs[0].name, "shop");
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
    for (spec, expected) in [
        ("  targetRefs: 7\n", "spec.targetRefs: must be a list of targets"),
        ("  access: {}\n", "spec.targetRefs: is required"),
    ] {
        let (read, told) = read(&format!("{HEAD}{spec}"));
        assert!(read.policy.spec.target_refs.is_empty() && told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
}

#[test]
fn both_ways_of_naming_targets_count_the_list_first() {
    for order in [["targetRef", "targetRefs"], ["targetRefs", "targetRef"]] {
        let text = |field: &&str| match *field {
            "targetRefs" => "  targetRefs: [{kind: Service, name: list}]\n".to_owned(),
            _ => "  targetRef: {kind: Service, name: single}\n".to_owned(),
        };
        let (read, told) = read(&format!("{HEAD}{}", order.iter().map(text).collect::<String>()));
        let names: Vec<_> = read.policy.spec.target_refs.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["list", "single"]);
        assert!(told.len() == 1 && told[0].contains("spec.targetRef: "), "{told:?}");
    }
}

#[test]
fn a_target_is_read_whatever_the_letters_of_its_fields_are() {
    let of = |entry: &str| read(&format!("{HEAD}  targetRefs: [{entry}]\n")).0.policy.spec.target_refs[0].clone();
    let target = of("{GROUP: a, Kind: b, nAme: c, SectionName: d}");
    assert_eq!((&*target.group, &*target.kind, &*target.name), ("a", "b", "c"));
    assert_eq!(target.section_name.as_deref(), Some("d"));
    for (entry, name) in [
        ("{Name: other, name: shop}", "shop"),
        ("{name: shop, Name: other}", "shop"),
        ("{Name: on}", "on"),
        ("{Name: 5}", "5"),
        ("{Name: [shop]}", ""),
        ("Ingress/shop", "shop"),
    ] {
        assert_eq!(of(entry).name, name, "{entry}");
    }
}

#[test]
fn a_misspelt_field_tells_the_targets() {
    let target = "{group: networking.k8s.io, kind: Ingress, name: shop}";
    for field in ["targetrefs", "TargetRefs", "targets", "tragetRefs", "TARGETREF"] {
        for text in [format!("{HEAD}  {field}: [{target}]\n"), format!("{HEAD}  {field}: {target}\n")] {
            let (read, told) = read(&text);
            assert_eq!(read.policy.spec.target_refs[0].name, "shop", "{field}");
            assert!(told.len() == 1 && told[0].contains(&format!("spec.{field}: is not a field")), "{told:?}");
        }
        assert!(is_guarded(&format!("{HEAD}  access: {{}}\n{field}: [{target}]\n")), "{field}");
    }
    let (read, _) = read(&format!("{HEAD}{TARGET}  acess: [{{name: blog}}]\nacess: [{{name: blog}}]\n"));
    assert_eq!(read.policy.spec.target_refs.len(), 1);
}

#[test]
fn metadata_in_capitals_tell_the_namespace() {
    let (read, told) = read(&format!("{}{TARGET}", HEAD.replace("metadata: {", "Metadata: {namespace: web, ")));
    assert_eq!(read.policy.metadata.namespace.as_deref(), Some("web"));
    assert!(told.len() == 1 && told[0].contains("Metadata: is not a field"), "{told:?}");
}

#[test]
fn whatever_is_in_our_group_is_a_policy() {
    for head in [
        "apiVersion: headgate.dev/v1alpha1\nkind: proxypolicy\n",
        "apiVersion: headgate.dev/v1alpha1\nkind: Ingress\n",
        "apiVersion: headgate.dev\nkind: ProxyPolicies\n",
        "apiVersion: Headgate.dev/v1alpha1\nkind: ProxyPolicy\n",
        "apiVersion: headgate.dev/v1alpha1\n",
        "kind: proxypolicy\n",
    ] {
        let text = format!("{head}metadata: {{name: shop}}\nspec:\n{TARGET}");
        let (_, told) = read(&text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(is_guarded(&text), "{head}");
    }
}

#[test]
fn a_spec_that_is_none_and_a_field_beside_it_are_flaws() {
    let head = "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {name: shop}\n";
    for (rest, expected) in [
        ("", "spec: is required"),
        ("spec: none\n", "a.yaml:4:7: ProxyPolicy default/shop: spec: must be a mapping"),
        ("spec:\n", "spec: must be a mapping"),
    ] {
        let (_, told) = read(&format!("{head}{rest}"));
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
    let (_, told) = read(&format!("{HEAD}{TARGET}access: {{}}\n"));
    assert!(
        told.len() == 1 && told[0].contains("a.yaml:6:1: ProxyPolicy default/shop: access: is not a field"),
        "{told:?}"
    );
}

#[test]
fn another_version_and_a_bad_name_still_tell_the_targets() {
    for (head, expected) in [
        (
            HEAD.replace("v1alpha1", "v1"),
            "apiVersion: ProxyPolicy is read in headgate.dev/v1alpha1, not in \"headgate.dev/v1\"",
        ),
        (
            HEAD.replace("name: shop", "name: Shop"),
            "a.yaml:3:12: ProxyPolicy default/Shop: metadata.name: \"Shop\" is not a name",
        ),
        (HEAD.replace("name: shop", "name: shop, labels: 5"), "metadata.labels: must be a mapping"),
    ] {
        let (read, told) = read(&format!("{head}{TARGET}"));
        assert_eq!(read.policy.spec.target_refs[0].name, "shop");
        assert_eq!(read.policy.metadata.namespace.as_deref(), Some("default"));
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
}

#[test]
fn a_policy_with_broken_metadata_guards_in_its_own_namespace() {
    let head = HEAD.replace("name: shop", "name: shop, namespace: web, labels: 5");
    let (read, _) = read(&format!("{head}{TARGET}"));
    assert_eq!(read.policy.metadata.namespace.as_deref(), Some("web"));
}

#[test]
fn a_slip_beside_what_is_right_takes_nothing_from_it() {
    let head = "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\n";
    let right = format!("metadata: {{name: shop, namespace: web}}\nspec:\n{TARGET}");
    let slips = format!("Metadata: {{name: other}}\nSpec:\n{}", TARGET.replace("shop", "blog"));
    for text in [[head, &right, &slips], [head, &slips, &right]] {
        let (read, told) = read(&text.concat());
        let metadata = &read.policy.metadata;
        assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("shop"), Some("web")));
        let mut targets: Vec<_> = read.policy.spec.target_refs.iter().map(|target| target.name.as_str()).collect();
        targets.sort_unstable();
        assert_eq!((targets, told.len()), (vec!["blog", "shop"], 2));
    }
}

#[test]
fn a_policy_without_a_name_is_called_by_its_place() {
    for name in ["namespace: default", "name: \"\"", "generateName: shop-"] {
        let (read, told) = read(&format!("{}{TARGET}", HEAD.replace("name: shop", name)));
        assert_eq!(read.policy.metadata.name.as_deref(), Some("in a.yaml:1"));
        assert_eq!(read.policy.metadata.namespace.as_deref(), Some("default"));
        assert!(told.len() == 1 && told[0].contains("metadata.name: is required"), "{told:?}");
    }
}

#[test]
fn a_policy_of_another_group_is_taken_as_ours_and_refused() {
    for version in ["headgate.io/v1alpha1", "example.com/v1", "extensions/v1beta1", "/v1"] {
        let (read, told) = read(&format!("{}{TARGET}", HEAD.replace("headgate.dev/v1alpha1", version)));
        assert_eq!(read.policy.spec.target_refs[0].name, "shop");
        assert_eq!(
            told,
            [format!(
                "a.yaml:1:1: ProxyPolicy default/shop: apiVersion: ProxyPolicy is read in headgate.dev/v1alpha1, not in {version:?}"
            )]
        );
    }
}

#[test]
fn another_kind_of_another_group_is_none() {
    let parsed = parse(&HEAD.replace("headgate.dev", "example.com").replace("ProxyPolicy", "Service"));
    assert!(parsed.objects.is_empty() && parsed.problems.is_empty() && parsed.notes.len() == 1);
}

#[test]
fn a_file_that_cannot_be_read_is_guessed_to_guard_the_ingresses_it_names() {
    let ingresses = |names: &[(&str, &str)]| -> String {
        let ingress = |(namespace, name): &(&str, &str)| {
            format!(
                "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n\
                 metadata: {{namespace: {namespace}, name: {name}}}\nspec: {{defaultBackend: {{resource: {{kind: a, name: b}}}}}}\n"
            )
        };
        names.iter().map(ingress).collect()
    };
    let names = [("default", "shop"), ("default", "blog"), ("other", "shop"), ("web", "shop"), ("web", "blog")];
    let broken = format!("{}{TARGET}  access: [\n", HEAD.replace("name: shop", "name: guard, namespace: web"));
    let view = view_of([("a.yaml", ingresses(&names).as_str()), ("b.yaml", broken.as_str())]);
    assert!(view.problems[0].reason.ends_with("; the file is left out, and the Ingresses that it names answer 503"));
    let policies = &view.objects.policies;
    let targets: Vec<_> = policies
        .iter()
        .map(|(id, policy)| {
            let names = policy.policy.spec.target_refs.iter().map(|target| target.name.as_str());
            assert_eq!(policy.illegible[0].field, "spec");
            (id.namespace.as_str(), id.name.as_str(), names.collect::<Vec<_>>().join(","))
        })
        .collect();
    assert_eq!(targets, [("default", "in b.yaml", "shop".to_owned()), ("web", "in b.yaml", "shop".to_owned())]);
    let other = broken.replace("ProxyPolicy", "ConfigMap");
    let view = view_of([("a.yaml", ingresses(&names).as_str()), ("b.yaml", other.as_str())]);
    assert!(view.objects.policies.is_empty() && view.problems[0].reason.ends_with("; the file is left out"));
}

/// Every character that a name may have belongs to the word.
#[test]
fn a_name_of_any_characters_is_guessed_whole() {
    for name in ["shop-front", "shop.front", "shop2", "2", "shop"] {
        let guess = Guess::of(format!("kind: proxypolicies\nname: {name}, [").as_bytes()).unwrap();
        let ingresses = BTreeMap::from([(Reference::new("default", name), Arc::default())]);
        assert_eq!(guess.policies(Path::new("a.yaml"), &ingresses).len(), 1, "{name}");
        let part = BTreeMap::from([(Reference::new("default", "front"), Arc::default())]);
        assert!(guess.policies(Path::new("a.yaml"), &part).is_empty(), "{name}");
    }
}

#[test]
fn unknown_fields_of_the_metadata_are_noted_only() {
    let parsed = parse(&format!("{}{TARGET}", HEAD.replace("name: shop", "name: shop, note: x")));
    assert!(parsed.flaws.is_empty() && parsed.objects.len() == 1);
    assert!(parsed.notes[0].to_string().contains("metadata.note: is not a field"), "{:?}", parsed.notes);
}

#[test]
fn a_flaw_is_a_problem_of_the_folder_and_the_policy_is_there() {
    let view = view_of([("a.yaml", format!("{HEAD}{TARGET}  access: []\n").as_str())]);
    assert_eq!(view.count(), 1);
    let policy = &view.objects.policies[&Reference::new("default", "shop")];
    assert_eq!(policy.illegible.len(), 1);
    assert_eq!(
        view.problems[0].to_string(),
        "a.yaml:6:3: ProxyPolicy default/shop: spec.access: must be a mapping, not a list"
    );
}

/// Whether the only route of a folder that holds `policy` is denied, or guarded by a list or limit.
fn is_guarded(policy: &str) -> bool {
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop}\n\
                   spec: {defaultBackend: {service: {name: shop, port: {number: 80}}}}\n";
    let objects = view_of([("ingress.yaml", ingress), ("policy.yaml", policy)]).objects;
    let translation = Translator::default().translate(&objects, &Options::default());
    let route = &translation.snapshot.hosts[&HostPattern::Any].routes[0];
    let rules = &route.policy;
    matches!(route.action, Action::Deny(_)) || !(rules.access.is_empty() && rules.rate_limits.is_empty())
}

#[test]
fn no_slip_of_one_character_opens_what_a_policy_guards() {
    let specs = [
        "  access: {allow: [10.0.0.0/8]}\n",
        "  access:\n    deny:\n    - 10.0.0.0/8\n",
        "  rateLimit: {requests: 5, per: 1s}\n",
    ];
    for spec in specs {
        let whole = |spec: &str| format!("{HEAD}{TARGET}{spec}");
        assert!(is_guarded(&whole(spec)) && !is_guarded(&whole("")));
        for at in 2..spec.len() - 1 {
            // What means something to YAML, but for the number sign: a comment is no slip.
            let others = " \n\t:,[]{}&*!|>'\"%-~0xA".chars().map(String::from);
            for other in others.chain(["".into(), "é".into()]) {
                for slip in [[&spec[..at], &other, &spec[at + 1..]], [&spec[..at], &other, &spec[at..]]] {
                    let slip = slip.concat();
                    assert!(is_guarded(&whole(&slip)), "{slip}");
                }
            }
        }
    }
}
