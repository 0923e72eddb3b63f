//! Random sequences of object events: a translator that remembers gives what one from scratch gives, keeps the pointers
//! of what did not change, and never panics, whatever the objects hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::snapshot::{Action, HostPattern, PathKind, Snapshot};

const NAMES: &[&str] = &["shop", "blog", "cart"];
const HOSTS: &[&str] =
    &["shop.example.com", "*.example.com", "", "a.example.com", "a b", "UPPER.example.com", "10.0.0.1"];
const PATHS: &[&str] =
    &["/", "/a", "/a/", "/a/b", "/.well-known/acme-challenge/x", "", "a", "/a/../b", "/a//b", "/%zz"];
const KINDS: &[&str] = &["Prefix", "Exact", "ImplementationSpecific", ""];
const CREATED: &[Option<&str>] = &[None, Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z")];
const ADDRESSES: &[&str] = &["10.0.0.1", "10.0.0.2", "2001:db8::1", "10.0.0.256", "127.0.0.1", ""];
const TRUTHS: &[Option<bool>] = &[None, Some(true), Some(false)];
const PROTOCOLS: &[&str] = &["", "https", "grpc", "mysql"];
const ANNOTATIONS: &[(&str, &str)] = &[
    ("nginx.ingress.kubernetes.io/ssl-redirect", "false"),
    ("nginx.ingress.kubernetes.io/force-ssl-redirect", "true"),
    ("nginx.ingress.kubernetes.io/auth-url", "http://auth/"),
    ("nginx.ingress.kubernetes.io/proxy-body-size", "ä8m"),
    ("nginx.ingress.kubernetes.io/rewrite-target", "/$1"),
    ("nginx.ingress.kubernetes.io/", "é"),
    ("headgate.dev/accept-unsupported", "auth-url,,x"),
    ("kubernetes.io/ingress.class", "web"),
];
const SETTINGS: &[(&str, &str)] =
    &[("ssl-redirect", "false"), ("proxy-body-size", "1k"), ("use-forwarded-headers", "true"), ("hsts", "é")];

/// Bytes that decide what an event is about.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn number(&mut self, below: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % below
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.number(all.len())]
    }
}

/// Objects and options while events come in.
struct World {
    objects: Objects,
    options: Options,
}

impl World {
    fn new() -> Self {
        World { objects: Objects::default(), options: options(0) }
    }

    fn take(&mut self, event: &[u8]) {
        let mut choices = Choices(event.iter());
        let kind = choices.number(16);
        let key = choices.of(NAMES);
        let objects = &mut self.objects;
        match kind {
            0..4 => put(&mut objects.ingresses, key, any_ingress(&mut choices)),
            4 => _ = objects.ingresses.remove(&name(key)),
            5 => put(&mut objects.services, key, any_service(&mut choices)),
            6 => _ = objects.services.remove(&name(key)),
            7 | 8 => put(&mut objects.endpoint_slices, key, any_slice(&mut choices)),
            9 => _ = objects.endpoint_slices.remove(&name(key)),
            10 => {
                put(&mut objects.secrets, key, secret(choices.of(&[SHOP, RENEWED, RSA, WILDCARD, MISMATCH, ("", "")])));
            }
            11 => _ = objects.secrets.remove(&name(key)),
            12 => {
                let controller = choices.of(&["headgate.dev/ingress-controller", "other", ""]);
                let default = choices.of(&["true", "false"]);
                let class = json!({
                    "metadata": {
                        "annotations": {"ingressclass.kubernetes.io/is-default-class": default},
                        "creationTimestamp": choices.of(CREATED),
                    },
                    "spec": {"controller": controller},
                });
                objects.ingress_classes.insert(choices.of(&["web", "other"]).into(), object(class));
            }
            13 => {
                let settings: BTreeMap<_, _> = SETTINGS.iter().filter(|_| choices.number(2) == 0).copied().collect();
                put(&mut objects.config_maps, key, json!({"data": settings}));
            }
            14 => {
                let found = (0..choices.number(3)).filter_map(|_| choices.of(ADDRESSES).parse().ok());
                objects.addresses.insert("db.example.net".into(), found.collect());
            }
            _ => self.options = options(choices.number(8)),
        }
    }
}

fn options(number: usize) -> Options {
    Options {
        ingress_without_class: number & 1 == 0,
        class_by_name: number & 2 == 0,
        refuse_local_endpoints: number & 2 != 0,
        external_name: number & 4 == 0,
        default_backend: (number & 1 == 0).then(|| name("cart")),
        default_certificate: (number & 2 == 0).then(|| name("blog")),
        config_map: Some(name("shop")),
        ..Options::default()
    }
}

fn any_ingress(choices: &mut Choices<'_>) -> Value {
    let rules: Vec<_> = (0..choices.number(3)).map(|_| any_rule(choices)).collect();
    let tls: Vec<_> = (0..choices.number(3)).map(|_| any_tls(choices)).collect();
    let annotations: BTreeMap<_, _> = ANNOTATIONS.iter().filter(|_| choices.number(6) == 1).copied().collect();
    let mut spec = json!({"rules": rules, "tls": tls});
    if choices.number(3) == 1 {
        spec["defaultBackend"] = any_backend(choices);
    }
    if choices.number(4) == 1 {
        spec["ingressClassName"] = json!(choices.of(&["web", "other", "headgate", ""]));
    }
    json!({"metadata": {"annotations": annotations, "creationTimestamp": choices.of(CREATED)}, "spec": spec})
}

fn any_rule(choices: &mut Choices<'_>) -> Value {
    let host = choices.of(HOSTS);
    let path = |choices: &mut Choices<'_>| json!({"path": choices.of(PATHS), "pathType": choices.of(KINDS), "backend": any_backend(choices)});
    match choices.number(5) {
        0 => json!({"host": host}),
        count => json!({"host": host, "http": {"paths": (1..count).map(|_| path(choices)).collect::<Vec<_>>()}}),
    }
}

fn any_tls(choices: &mut Choices<'_>) -> Value {
    let hosts: Vec<_> = (0..choices.number(3)).map(|_| choices.of(HOSTS)).collect();
    json!({"hosts": hosts, "secretName": choices.of(&["shop", "blog", "cart", ""])})
}

fn any_backend(choices: &mut Choices<'_>) -> Value {
    let port = choices.of(&[80, 81, 0, -1]);
    match choices.number(6) {
        0 => json!({"service": {"name": choices.of(NAMES), "port": {"name": "web"}}}),
        1 => json!({"resource": {"kind": "Bucket", "name": "x"}}),
        _ => json!({"service": {"name": choices.of(NAMES), "port": {"number": port}}}),
    }
}

fn any_service(choices: &mut Choices<'_>) -> Value {
    if choices.number(4) == 0 {
        let target = choices.of(&["db.example.net", "localhost", "192.0.2.1", "é"]);
        return json!({"spec": {"type": "ExternalName", "externalName": target}});
    }
    let named = choices.of(&[None, Some("web")]);
    json!({"spec": {"ports": [{"port": 80, "name": named, "appProtocol": choices.of(PROTOCOLS)}]}})
}

fn any_slice(choices: &mut Choices<'_>) -> Value {
    let endpoint = |choices: &mut Choices<'_>| {
        let conditions = json!({
            "ready": choices.of(TRUTHS), "serving": choices.of(TRUTHS), "terminating": choices.of(TRUTHS),
        });
        json!({"addresses": [choices.of(ADDRESSES)], "conditions": conditions})
    };
    let named = choices.of(&[None, Some("web")]);
    json!({
        "metadata": {"labels": {"kubernetes.io/service-name": choices.of(NAMES)}},
        "addressType": choices.of(&["IPv4", "IPv6", "FQDN", ""]),
        "ports": [{"port": choices.of(&[8080, 0, -1]), "name": named}],
        "endpoints": (0..choices.number(4)).map(|_| endpoint(choices)).collect::<Vec<_>>(),
    })
}

fn check_whole(snapshot: &Snapshot) {
    for host in snapshot.hosts.values() {
        assert!(host.routes.is_sorted_by_key(|route| route.path.precedence()));
        let keys = host.routes.iter().map(|route| {
            let path = route.path.path.as_str();
            let exact = route.path.kind == PathKind::Exact;
            (exact, if exact { path } else { path.strip_suffix('/').unwrap_or(path) })
        });
        assert_eq!(keys.collect::<BTreeSet<_>>().len(), host.routes.len(), "{:?}", host.routes);
        for route in &host.routes {
            if let Action::Forward(backend) = &route.action {
                assert!(snapshot.backends.contains_key(backend));
            }
        }
    }
    let named = snapshot.certificates.values().flatten().chain(&snapshot.default_certificate);
    assert_eq!(named.collect::<BTreeSet<_>>(), snapshot.secrets.keys().collect());
    assert!(!snapshot.certificates.contains_key(&HostPattern::Any));
    for backend in snapshot.backends.values() {
        assert!(backend.endpoints.is_sorted_by(|one, other| one < other));
        assert!(backend.unresolved.is_none() || backend.endpoints.is_empty());
    }
}

/// What is equal in two snapshots is the same value.
fn check_shared(before: &Snapshot, after: &Snapshot) {
    assert!(before.hosts != after.hosts || Arc::ptr_eq(&before.hosts, &after.hosts));
    assert!(before.certificates != after.certificates || Arc::ptr_eq(&before.certificates, &after.certificates));
    shared(&before.hosts, &after.hosts);
    shared(&before.backends, &after.backends);
    shared(&before.secrets, &after.secrets);
}

fn shared<K: Ord, V: PartialEq>(before: &BTreeMap<K, Arc<V>>, after: &BTreeMap<K, Arc<V>>) {
    for (key, value) in after {
        assert!(before.get(key).is_none_or(|old| **old != **value || Arc::ptr_eq(old, value)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_translator_that_remembers_gives_what_a_new_one_gives(
        events in prop::collection::vec(prop::collection::vec(any::<u8>(), 40), 1..40),
    ) {
        let mut world = World::new();
        let mut translator = Translator::default();
        let mut before = (world.options.clone(), translator.translate(&world.objects, &world.options));
        for event in &events {
            world.take(event);
            let translation = translator.translate(&world.objects, &world.options);
            assert_eq!(translation, Translator::default().translate(&world.objects, &world.options));
            check_whole(&translation.snapshot);
            if before.0 == world.options {
                check_shared(&before.1.snapshot, &translation.snapshot);
            }
            before = (world.options.clone(), translation);
        }
    }

    #[test]
    fn any_text_in_an_ingress_is_translated(
        texts in prop::collection::vec(".{0,20}|[a-z./%*\\[\\]:0-9-]{0,20}", 8),
        annotations in prop::collection::btree_map("nginx.ingress.kubernetes.io/[a-z-]{0,20}|.{0,20}", ".{0,20}", 0..4),
    ) {
        let mut objects = Objects::default();
        let backend = json!({"service": {"name": texts[0], "port": {"name": texts[1]}}});
        let path = json!({"path": texts[2], "pathType": texts[3], "backend": backend});
        let prefix = json!({"path": texts[2], "pathType": "Prefix", "backend": backend});
        put(&mut objects.ingresses, "shop", json!({
            "metadata": {"annotations": annotations},
            "spec": {
                "rules": [{"host": texts[4], "http": {"paths": [path, prefix]}}],
                "tls": [{"hosts": [texts[5]], "secretName": texts[6]}],
            },
        }));
        put(&mut objects.services, "shop", json!({"spec": {"type": "ExternalName", "externalName": texts[7]}}));
        check_whole(&translate(&objects).snapshot);
    }
}
