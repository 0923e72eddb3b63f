//! Any sequence of generations, each built from the one before, behaves as generations built from scratch.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rustls_pki_types::ServerName;

use super::*;
use crate::snapshot::{BackendTls, Protocol, SplitMember};
use crate::tables::{LiveAction, LiveEndpoint};

const HOSTS: [&str; 4] = ["a.x", "b.x", "*.x", ""];
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];
const SERVICES: [&str; 5] = ["s0", "s1", "s2", "s3", "s4"];
const SECRETS: [&str; 3] = ["c0", "c1", "c2"];

fn host() -> impl Strategy<Value = Arc<Host>> {
    let action = prop_oneof![
        5 => select(&SERVICES[..]).prop_map(|service| Action::Forward(backend_id(service))),
        1 => Just(Action::Deny("reason".into())),
    ];
    let one = (select(vec![EXACT, PREFIX]), select(&PATHS[..]), action, select(&["i", "j"][..]));
    let one = one.prop_map(|(kind, path, action, owner)| Route { action, ..route(kind, path, owner) });
    (any::<bool>(), prop::collection::vec(one, 0..4)).prop_map(|(tls, mut routes)| {
        routes.sort_by_key(|route| route.path.precedence());
        Arc::new(Host { tls, routes })
    })
}

fn endpoints() -> impl Strategy<Value = Arc<Backend>> {
    let protocol = select(vec![Protocol::Http1, Protocol::Http1, Protocol::H2c, Protocol::Https]);
    let name = prop::option::of(select(&["one.svc", "two.svc"][..]));
    let member = (select(&SERVICES[..]), 0..3_u16);
    let member = member.prop_map(|(service, weight)| SplitMember { backend: backend_id(service), weight });
    let split = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(member, 1..3)];
    (protocol, subsequence(vec![1, 2, 3, 4], 0..=4), split, name).prop_map(|(protocol, ports, split, name)| {
        let mut backend = Backend { protocol, split, ..Backend::clone(&backend(&ports)) };
        let named = name.filter(|_| protocol == Protocol::Https).map(|name| ServerName::try_from(name).unwrap());
        backend.policy.tls = named.map(|server_name| BackendTls { authorities: Vec::new(), server_name, client: None });
        Arc::new(backend)
    })
}

/// Made once: keys are expensive.
fn pool() -> &'static [Arc<Certificate>] {
    static POOL: OnceLock<Vec<Arc<Certificate>>> = OnceLock::new();
    POOL.get_or_init(|| (0..4).map(|at| certificate(&format!("n{at}"), &KeyPair::generate().unwrap())).collect())
}

fn secret() -> impl Strategy<Value = Reference> {
    select(&SECRETS[..]).prop_map(|secret| Reference::new("ns", secret))
}

fn wanted() -> impl Strategy<Value = Snapshot> {
    let hosts = prop::collection::btree_map(select(&HOSTS[..]), host(), 0..4);
    let backends = prop::collection::vec(prop::option::weighted(0.7, endpoints()), SERVICES.len());
    let names = prop::collection::btree_map(select(&HOSTS[..3]), prop::collection::vec(secret(), 0..3), 0..3);
    let secrets = prop::collection::btree_map(secret(), select(pool()), 0..3);
    let defaults = (prop::option::of(select(&SERVICES[..])), prop::option::of(secret()));
    (hosts, backends, names, secrets, defaults).prop_map(|(hosts, backends, names, secrets, defaults)| {
        let pattern = |name: &str| HostPattern::parse(name).unwrap();
        let backends = SERVICES.into_iter().map(backend_id).zip(backends);
        let mut snapshot = Snapshot {
            hosts: Arc::new(hosts.into_iter().map(|(name, host)| (pattern(name), host)).collect()),
            backends: backends.filter_map(|(id, backend)| Some((id, backend?))).collect(),
            certificates: Arc::new(names.into_iter().map(|(name, secrets)| (pattern(name), secrets)).collect()),
            secrets: Arc::new(secrets),
            default_certificate: defaults.1,
            default_backend: defaults.0.map(backend_id),
            ..Snapshot::default()
        };
        hold_what_is_named(&mut snapshot);
        snapshot
    })
}

/// A snapshot holds every backend that a route names.
fn hold_what_is_named(snapshot: &mut Snapshot) {
    let actions = snapshot.hosts.values().flat_map(|host| &host.routes).map(|route| &route.action);
    let named = actions.filter_map(|action| if let Action::Forward(id) = action { Some(id) } else { None });
    for id in named.chain(&snapshot.default_backend) {
        snapshot.backends.entry(id.clone()).or_default();
    }
}

/// Like the one before but for some parts, so that there is something to carry over.
fn mix(before: &Snapshot, wanted: Snapshot, changed: u8) -> Snapshot {
    let mut mixed = before.clone();
    if changed & 1 != 0 {
        mixed.hosts = wanted.hosts;
    }
    if changed & 2 != 0 {
        mixed.backends = wanted.backends;
    }
    if changed & 4 != 0 {
        (mixed.certificates, mixed.default_certificate) = (wanted.certificates, wanted.default_certificate);
    }
    if changed & 8 != 0 {
        mixed.secrets = wanted.secrets;
    }
    if changed & 16 != 0 {
        mixed.default_backend = wanted.default_backend;
    }
    hold_what_is_named(&mut mixed);
    mixed
}

/// All that a request can tell.
fn behaviour(tables: &Tables) -> Vec<String> {
    let mut seen = Vec::new();
    for host in ["a.x", "b.x", "c.x", "y"] {
        for path in ["/", "/a", "/a/", "/a/b", "/a/b/c", "/c", "/d", "/d%2Fa"] {
            let route = tables.routes.find(host, path).map(|route| {
                let leads = match route.action {
                    LiveAction::Deny => "denied",
                    LiveAction::Forward(slot) => &tables.backends[slot].name,
                };
                (leads, &route.label, &route.ingress, &route.policy, route.tls, route.metrics.labels())
            });
            seen.push(format!("{host}{path}: {route:?}"));
        }
        seen.push(format!("{host}: {:?}", tables.certs.resolve(Some(host), &[]).cert));
    }
    seen.extend(tables.routes.iter().map(|listed| format!("{} {:?} {}", listed.host, listed.route, listed.live.label)));
    for (id, backend, live) in tables.backends() {
        let way =
            |endpoint: &Arc<LiveEndpoint>| format!("{} {:?} {:?}", endpoint.address, endpoint.protocol, endpoint.tls);
        let endpoints: Vec<_> = live.endpoints.iter().map(way).collect();
        let members = live.split.as_ref().map(|split| split.members().iter());
        let split =
            members.map(|all| all.map(|&(slot, weight)| (&tables.backends[slot].name, weight)).collect::<Vec<_>>());
        assert_eq!(*backend, *live.source);
        seen.push(format!("{id} {backend:?} {} {:?} {endpoints:?} {split:?}", live.name, live.protocol));
    }
    seen
}

/// By all that makes an endpoint another one.
fn endpoints_of(tables: &Tables) -> BTreeMap<(BackendId, SocketAddr, String), Arc<LiveEndpoint>> {
    let all = tables.backends().flat_map(|(id, _, live)| live.endpoints.iter().map(move |endpoint| (id, endpoint)));
    all.map(|(id, endpoint)| {
        let way = format!("{:?} {:?}", endpoint.protocol, endpoint.tls);
        ((id.clone(), endpoint.address, way), endpoint.clone())
    })
    .collect()
}

proptest! {
    #[test]
    fn a_generation_built_on_another_behaves_as_one_from_scratch(
        first in wanted(),
        changes in prop::collection::vec((wanted(), any::<u8>()), 1..6),
    ) {
        let mut tables = build(first, None);
        let mut ids: BTreeSet<u64> = endpoints_of(&tables).values().map(|endpoint| endpoint.id).collect();
        for (wanted, changed) in changes {
            let snapshot = mix(&tables.snapshot, wanted, changed);
            let next = build(snapshot.clone(), Some(&tables));
            prop_assert_eq!(behaviour(&next), behaviour(&build(snapshot, None)));

            let (before, after) = (endpoints_of(&tables), endpoints_of(&next));
            for (key, endpoint) in &before {
                let kept = after.get(key).is_some_and(|other| Arc::ptr_eq(endpoint, other));
                prop_assert_eq!(kept, after.contains_key(key));
                prop_assert_eq!(endpoint.retired.load(Ordering::Relaxed), !kept);
            }
            for (key, endpoint) in &after {
                prop_assert!(!endpoint.retired.load(Ordering::Relaxed));
                prop_assert!(before.contains_key(key) || ids.insert(endpoint.id), "an id was used again");
            }
            tables = next;
        }
    }
}
