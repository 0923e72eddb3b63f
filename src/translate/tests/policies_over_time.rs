//! Whatever changes in whatever order, a translator that remembers gives what one that does not gives.

use proptest::prelude::*;

use super::*;

/// One change of a small world.
#[derive(Clone, Debug)]
enum Change {
    Policy { name: usize, target: usize, fields: usize },
    NoPolicy { name: usize },
    Ingress { name: usize, path: usize },
    NoIngress { name: usize },
    Service { name: usize, port_name: usize },
    NoService { name: usize },
    Slice { name: usize, address: usize },
    Secret { pem: usize },
    NoSecret,
    Class { policy: usize },
    NoClass,
}

const NAMES: [&str; 2] = ["shop", "blog"];

fn fields(which: usize) -> Value {
    match which {
        0 => json!({"connectionLimit": {"perClient": 1}}),
        1 => json!({"connectionLimit": {"perClient": 2}, "timeouts": {"request": "5s"}}),
        2 => json!({"access": {"allow": ["10.0.0.0/8"]}, "maxConnections": 5}),
        3 => json!({"access": {"allow": ["nowhere"]}}),
        4 => json!({"protocol": "HTTPS", "backendTLS": {"caSecret": {"name": "ca"}}}),
        5 => json!({"trafficSplit": [{"service": "blog", "port": 80, "weight": 1}]}),
        6 => json!({"trafficSplit": [{"service": "shop", "port": 80, "weight": 1}], "timeouts": {"idle": "1s"}}),
        _ => json!({"request": {"methods": ["GET"]}, "maxConnections": 6}),
    }
}

fn target(which: usize) -> (&'static str, &'static str) {
    [("Ingress", "shop"), ("Ingress", "blog"), ("Service", "shop"), ("Service", "blog"), ("IngressClass", "headgate")]
        [which]
}

fn change() -> impl Strategy<Value = Change> {
    let name = 0..2_usize;
    prop_oneof![
        6 => (0..4_usize, 0..5_usize, 0..8_usize).prop_map(|(name, target, fields)| Change::Policy { name, target, fields }),
        2 => (0..4_usize).prop_map(|name| Change::NoPolicy { name }),
        2 => (name.clone(), 0..2_usize).prop_map(|(name, path)| Change::Ingress { name, path }),
        1 => name.clone().prop_map(|name| Change::NoIngress { name }),
        2 => (name.clone(), 0..2_usize).prop_map(|(name, port_name)| Change::Service { name, port_name }),
        1 => name.clone().prop_map(|name| Change::NoService { name }),
        1 => (name, 0..2_usize).prop_map(|(name, address)| Change::Slice { name, address }),
        1 => (0..2_usize).prop_map(|pem| Change::Secret { pem }),
        1 => Just(Change::NoSecret),
        1 => (0..4_usize).prop_map(|policy| Change::Class { policy }),
        1 => Just(Change::NoClass),
    ]
}

fn policy_name(which: usize) -> String {
    format!("p{which}")
}

fn apply(objects: &mut Objects, change: &Change) {
    match *change {
        Change::Policy { name: which, target: at, fields: wanted } => {
            let mut section = policy(target(at), fields(wanted));
            if which == 0 && target(at).0 == "Service" {
                let made = Arc::make_mut(&mut section);
                made.policy.spec.target_refs[0].section_name = Some("http".into());
            }
            objects.policies.insert(name(&policy_name(which)), section);
        }
        Change::NoPolicy { name: which } => drop(objects.policies.remove(&name(&policy_name(which)))),
        Change::Ingress { name: which, path } => {
            let (host, path) = (format!("{}.example.com", NAMES[which]), ["/", "/.well-known/acme-challenge/x"][path]);
            put(&mut objects.ingresses, NAMES[which], ingress(&[(&host, path, NAMES[which]), (&host, "/a", "shop")]));
        }
        Change::NoIngress { name: which } => drop(objects.ingresses.remove(&name(NAMES[which]))),
        Change::Service { name: which, port_name } => {
            let port_name = ["http", "web"][port_name];
            let spec = json!({"ports": [{"port": 80, "name": port_name}]});
            put(&mut objects.services, NAMES[which], json!({"spec": spec}));
        }
        Change::NoService { name: which } => drop(objects.services.remove(&name(NAMES[which]))),
        Change::Slice { name: which, address } => {
            put(&mut objects.endpoint_slices, NAMES[which], slice(NAMES[which], &[["10.0.0.1", "10.0.0.2"][address]]));
        }
        Change::Secret { pem } => {
            let pem = ByteString([SHOP, WILDCARD][pem].0.as_bytes().to_vec());
            put(&mut objects.secrets, "ca", json!({"data": {"ca.crt": serde_json::to_value(pem).unwrap()}}));
        }
        Change::NoSecret => drop(objects.secrets.remove(&name("ca"))),
        Change::Class { policy } => {
            let parameters = json!({
                "apiGroup": "headgate.dev", "kind": "ProxyPolicy", "name": policy_name(policy),
                "scope": "Namespace", "namespace": "default"
            });
            let spec = json!({"controller": "headgate.dev/ingress-controller", "parameters": parameters});
            objects.ingress_classes.insert("headgate".into(), object(json!({"spec": spec})));
        }
        Change::NoClass => objects.ingress_classes.clear(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_remembered_changes_nothing_but_the_cost(changes in prop::collection::vec(change(), 1..40)) {
        let mut objects = Objects::default();
        let mut translator = Translator::default();
        for change in &changes {
            apply(&mut objects, change);
            prop_assert_eq!(translator.translate(&objects, &Options::default()), translate(&objects));
        }
    }
}
