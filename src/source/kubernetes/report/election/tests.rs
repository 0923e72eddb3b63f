//! On a paused clock, against an API server of one Lease.

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, from_slice};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;

const LIFETIME: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(20);
/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(50);

/// How a candidate reaches the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    Good,
    Hangs,
    /// What is asked is done, but no answer comes back.
    Deaf,
    Answers(u16),
}

#[derive(Default)]
struct Server {
    lease: Mutex<Option<Value>>,
}

struct Candidate {
    link: Arc<Mutex<Link>>,
    held: latest::Receiver<bool>,
    trouble: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut lease = self.lease.lock().unwrap();
        let body: Value = from_slice(body).unwrap_or_default();
        match (method, &mut *lease) {
            (&Method::POST, None) => {
                let mut made = body;
                made["metadata"]["resourceVersion"] = "1".into();
                (201, lease.insert(made).clone())
            }
            (&Method::POST, Some(_)) => failure(409),
            (_, None) => failure(404),
            (&Method::PATCH, Some(lease))
                if body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] =>
            {
                failure(409)
            }
            (&Method::PATCH, Some(lease)) => {
                merge(lease, &body);
                touch(lease);
                (200, lease.clone())
            }
            (_, Some(lease)) => (200, lease.clone()),
        }
    }

    /// Somebody else's Lease, renewed at that time by its clock.
    fn held_by_other(&self, renewed: &str) {
        let spec = json!({"holderIdentity": "other", "leaseDurationSeconds": LIFETIME.as_secs(), "renewTime": renewed});
        let mut lease = self.lease.lock().unwrap();
        let lease = lease.get_or_insert(json!({"metadata": {"name": "lease", "resourceVersion": "1"}}));
        lease["spec"] = spec;
        touch(lease);
    }

    fn holder(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"].clone()
    }

    fn candidate(self: &Arc<Self>, identity: &str, by_force: bool) -> Candidate {
        let link = Arc::new(Mutex::new(Link::Good));
        let (server, way) = (self.clone(), link.clone());
        let client = Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let (server, link) = (server.clone(), *way.lock().unwrap());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    sleep(LATENCY / 2).await;
                    let (status, object) = match link {
                        Link::Good => server.answer(&head.method, &body),
                        Link::Answers(status) => failure(status),
                        Link::Hangs | Link::Deaf => {
                            if link == Link::Deaf {
                                server.answer(&head.method, &body);
                            }
                            std::future::pending().await
                        }
                    };
                    sleep(LATENCY / 2).await;
                    let answer = Response::builder().status(status).body(Body::from(object.to_string().into_bytes()));
                    Ok::<_, kube::Error>(answer.unwrap())
                }
            }),
            "n",
        );
        let election = Election {
            api: Api::namespaced(client, "n"),
            name: Reference::new("n", "lease"),
            identity: identity.to_owned(),
            lifetime: LIFETIME,
            by_force,
        };
        let (holds, held) = latest::channel(false);
        let trouble = Arc::new(Mutex::new(None));
        let told = trouble.clone();
        let task = tokio::spawn(election.run(holds, move |why| *told.lock().unwrap() = why));
        Candidate { link, held, trouble, task }
    }
}

impl Candidate {
    fn leads(&self) -> bool {
        *self.held.borrow()
    }

    fn link(&self, link: Link) {
        *self.link.lock().unwrap() = link;
    }

    async fn ends(self) {
        drop(self.held);
        self.task.await.unwrap();
    }
}

fn failure(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "ForATest" };
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "for a test", "reason": reason}))
}

fn touch(lease: &mut Value) {
    let version = &mut lease["metadata"]["resourceVersion"];
    *version = (version.as_str().unwrap().parse::<u64>().unwrap() + 1).to_string().into();
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *into = patch.clone() };
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}

/// How long it takes until `fact`, given that `always` is so all the while.
async fn until(what: &str, fact: impl Fn() -> bool, always: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    loop {
        assert!(always(), "while waiting for {what}, after {:?}", begun.elapsed());
        if fact() {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < LIFETIME * 10, "no {what}");
        sleep(STEP).await;
    }
}

/// `fact` is so for all of this time.
async fn stays(span: Duration, fact: impl Fn() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(fact(), "{:?} before the end", end - Instant::now());
        sleep(STEP).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_until_it_ends_and_then_another_does_without_a_wait() {
    let server = Arc::new(Server::default());
    let first = server.candidate("first", false);
    until("a leader", || first.leads(), || true).await;
    let second = server.candidate("second", false);
    stays(LIFETIME * 5, || first.leads() && !second.leads()).await;
    first.ends().await;
    assert_eq!(server.holder(), Value::Null);
    assert!(until("another", || second.leads(), || true).await <= LIFETIME / 3 + LATENCY * 2);
    let spec = server.lease.lock().unwrap().as_ref().unwrap()["spec"].clone();
    assert_eq!((&spec["leaseTransitions"], &spec["leaseDurationSeconds"]), (&json!(2), &json!(10)));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_it_knows_before_another_takes_it() {
    for link in [Link::Hangs, Link::Deaf, Link::Answers(500)] {
        // Wherever between two renewals it happens.
        for phase in 0..40 {
            let server = Arc::new(Server::default());
            let first = server.candidate("first", false);
            until("a leader", || first.leads(), || true).await;
            let second = server.candidate("second", false);
            sleep(LIFETIME * 2 + Duration::from_millis(100) * phase).await;
            first.link(link);
            let not_both = || !(first.leads() && second.leads());
            let knows = until("the end of its belief", || !first.leads(), not_both).await;
            assert!(knows <= LIFETIME * 2 / 3, "{link:?} {knows:?}");
            let trouble = first.trouble.lock().unwrap().clone().unwrap();
            assert!(trouble.contains(if link == Link::Answers(500) { "for a test" } else { "in time" }), "{trouble}");
            let taken = knows + until("another", || second.leads(), not_both).await;
            assert!(taken > knows && taken < Duration::from_secs(15), "{link:?} {taken:?}");
            first.link(Link::Good);
            stays(LIFETIME * 2, || !first.leads() && second.leads()).await;
            assert_eq!(*first.trouble.lock().unwrap(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_failure_or_a_lease_that_is_deleted_or_a_foreign_write_costs_no_leadership() {
    let server = Arc::new(Server::default());
    let leader = server.candidate("leader", false);
    until("a leader", || leader.leads(), || true).await;
    let other = server.candidate("other", false);
    let as_before = || leader.leads() && !other.leads();
    leader.link(Link::Answers(500));
    stays(LIFETIME / 2, as_before).await;
    leader.link(Link::Good);
    stays(LIFETIME * 2, as_before).await;
    // Whoever is first to look makes it anew, so only that there is never more than one.
    *server.lease.lock().unwrap() = None;
    stays(LIFETIME * 2, || !(leader.leads() && other.leads())).await;
    assert!(leader.leads() || other.leads());
    assert_eq!(server.holder(), if leader.leads() { "leader" } else { "other" });
}

#[tokio::test(start_paused = true)]
async fn a_holders_silence_is_told_by_ones_own_clock() {
    let server = Arc::new(Server::default());
    server.held_by_other("1970-01-01T00:00:00.000000Z");
    let one = server.candidate("one", false);
    for second in 1..20 {
        stays(LIFETIME / 2, || !one.leads()).await;
        server.held_by_other(&format!("1970-01-01T00:00:{second:02}.000000Z"));
    }
    // What is no renewal is not taken for one.
    let silent = Instant::now();
    stays(LIFETIME - STEP, || {
        touch(server.lease.lock().unwrap().as_mut().unwrap());
        !one.leads()
    })
    .await;
    until("the Lease", || one.leads(), || true).await;
    assert!(silent.elapsed() <= LIFETIME * 4 / 3 + LATENCY * 3, "{:?}", silent.elapsed());

    let server = Arc::new(Server::default());
    server.held_by_other("2999-01-01T00:00:00.000000Z");
    let one = server.candidate("one", false);
    let taken = until("the Lease", || one.leads(), || true).await;
    assert!(taken >= LIFETIME && taken <= LIFETIME + LATENCY * 4, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn force_takes_it_once_and_whoever_had_it_knows_in_time() {
    let server = Arc::new(Server::default());
    let leader = server.candidate("leader", false);
    until("a leader", || leader.leads(), || true).await;
    let force = server.candidate("force", true);
    let taken = until("the Lease", || force.leads(), || true).await;
    assert!(taken <= LATENCY * 3, "{taken:?}");
    let knows = until("the end of its belief", || !leader.leads(), || force.leads()).await;
    assert!(knows <= LIFETIME * 2 / 3, "{knows:?}");
    stays(LIFETIME * 2, || !leader.leads() && force.leads()).await;
    server.held_by_other("2999-01-01T00:00:00.000000Z");
    until("the loss", || !force.leads(), || true).await;
    assert_eq!(server.holder(), "other");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_take_part_is_told_the_way_out_and_who_does_not_lead_gives_nothing_up() {
    let server = Arc::new(Server::default());
    server.held_by_other("2999-01-01T00:00:00.000000Z");
    let one = server.candidate("one", false);
    one.link(Link::Answers(403));
    let trouble = one.trouble.clone();
    until("trouble", || trouble.lock().unwrap().is_some(), || true).await;
    let told = trouble.lock().unwrap().clone().unwrap();
    assert!(told.contains("n/lease") && told.contains("leases.coordination.k8s.io"), "{told}");
    one.link(Link::Good);
    until("no trouble", || trouble.lock().unwrap().is_none(), || true).await;
    one.ends().await;
    assert_eq!(server.holder(), "other");
}

#[test]
fn a_lease_is_taken_that_is_ours_or_nobodys_or_whose_holder_was_silent_for_its_lifetime() {
    let now = Instant::now();
    for (holder, lifetime, expected) in [
        (None, Some(10), None),
        (Some(""), Some(10), None),
        (Some("me"), Some(10), None),
        (Some("other"), Some(10), Some(now + LIFETIME)),
        (Some("other"), Some(0), Some(now)),
        // Nobody knows how long it counts.
        (Some("other"), None, None),
        (Some("other"), Some(-1), None),
    ] {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: lifetime,
            ..LeaseSpec::default()
        };
        assert_eq!(taken_until(&spec, "me", now), expected, "{holder:?} {lifetime:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_uninstall_who_led_before_waits_and_who_is_installed_later_does_not() {
    let server = Arc::new(Server::default());
    let first = server.candidate("first", false);
    until("a leader", || first.leads(), || true).await;
    let second = server.candidate("second", false);
    sleep(LIFETIME).await;
    let withdrawing = server.candidate(&format!("{WITHDRAWN}a job"), true);
    until("the Lease", || withdrawing.leads(), || true).await;
    withdrawing.task.abort();
    stays(LIFETIME - LATENCY * 2, || !second.leads()).await;

    let server = Arc::new(Server::default());
    let withdrawing = server.candidate(&format!("{WITHDRAWN}a job"), true);
    until("the Lease", || withdrawing.leads(), || true).await;
    withdrawing.task.abort();
    let later = server.candidate("later", false);
    assert!(until("the Lease", || later.leads(), || true).await < LATENCY * 4);
}
