//! Backends that die under load: one of three refuses, resets or hangs, and clients hardly notice.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::wait::until;
use support::{Backend, Client, Headgate, Then, objects};

const HOST: &str = "a.example";

/// Clients, each with one request in flight.
const CLIENTS: usize = 16;

/// What a backend takes for a request. Against it a busy machine's delays are small.
const WORK: Duration = Duration::from_millis(50);

/// How long clients ask before a backend dies, and after that at least.
const PHASE: Duration = Duration::from_millis(1500);

/// What takes how long is measured, so that one trial must not disturb another.
static ALONE: Mutex<()> = Mutex::new(());

const WORKS: u8 = 0;
const RESETS: u8 = 1;
const HANGS: u8 = 2;

/// A proxy before three backends, and all the requests of its clients.
struct Trial {
    proxy: Headgate,
    backends: [Backend; 3],
    /// How each of them treats requests.
    moods: [Arc<AtomicU8>; 3],
    clients: Vec<JoinHandle<()>>,
    asked: Arc<Asked>,
    _alone: MutexGuard<'static, ()>,
}

#[derive(Default)]
struct Asked {
    over: AtomicBool,
    requests: Mutex<Vec<Request>>,
}

#[derive(Clone, Copy)]
struct Request {
    start: Instant,
    took: Duration,
    status: u16,
}

impl Trial {
    /// With these fields in a policy of the Ingress, and in one of the Service.
    fn start(of_ingress: Option<Value>, of_service: Value) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let moods = [(), (), ()].map(|()| Arc::new(AtomicU8::new(WORKS)));
        let backends = moods.each_ref().map(|mood| {
            let mood = mood.clone();
            Backend::scripted(move |exchange| {
                std::thread::sleep(WORK);
                match mood.load(SeqCst) {
                    WORKS => exchange.reply("200 OK", "ok"),
                    RESETS => Ok(Then::Reset),
                    _ => exchange.until_abandoned(),
                }
            })
        });
        let addresses = backends.each_ref().map(|backend| backend.address);
        let mut objects = objects::site_with_backend_policy(HOST, &addresses, of_service);
        objects.extend(of_ingress.map(|fields| objects::policy("ingress", "Ingress", "a", fields)));
        let proxy = Headgate::serve(&objects);
        let asked = Arc::<Asked>::default();
        let client = |asked: Arc<Asked>| {
            let address = proxy.http;
            std::thread::spawn(move || asked.ask(address))
        };
        let clients = (0..CLIENTS).map(|_| client(asked.clone())).collect();
        let trial = Trial { proxy, backends, moods, clients, asked, _alone: alone };
        std::thread::sleep(PHASE);
        assert_eq!(trial.failed(), [0; 0]);
        trial
    }

    /// Statuses of the requests that failed.
    fn failed(&self) -> Vec<u16> {
        let requests = self.asked.requests.lock().unwrap();
        requests.iter().map(|request| request.status).filter(|status| *status != 200).collect()
    }

    /// The time that 99 of 100 requests that began in `PHASE` from `start` on took at most.
    fn p99(&self, start: Instant) -> Duration {
        let requests = self.asked.requests.lock().unwrap();
        let within = requests.iter().filter(|request| (start..start + PHASE).contains(&request.start));
        let mut took: Vec<_> = within.map(|request| request.took).collect();
        took.sort();
        took[took.len() * 99 / 100]
    }

    #[track_caller]
    fn until_ejected(&self) {
        until("the ejection", || (self.proxy.metrics().value("proxy_ejections_total", &[]) > 0.0).then_some(()));
    }

    fn end(&mut self) {
        self.asked.over.store(true, SeqCst);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
    }
}

impl Asked {
    fn ask(&self, proxy: SocketAddr) {
        let mut client = Client::connect(proxy);
        while !self.over.load(SeqCst) {
            let start = Instant::now();
            let response = client.get(HOST, "/");
            self.requests.lock().unwrap().push(Request { start, took: start.elapsed(), status: response.status });
            if response.header("connection") == Some("close") {
                client = Client::connect(proxy);
            }
        }
    }
}

/// What ships, and tries again after a reset, for those that were in flight.
fn forgiving() -> Value {
    json!({ "retry": { "attempts": 2, "on": ["ConnectFailure", "Reset"] } })
}

#[test]
fn no_get_fails_when_a_backend_is_gone() {
    let mut trial = Trial::start(None, forgiving());
    trial.backends[0].stop();
    trial.until_ejected();
    std::thread::sleep(PHASE);
    trial.end();
    assert_eq!(trial.failed(), [0; 0]);
}

#[test]
fn no_get_fails_when_a_backend_resets_each_of_them() {
    let mut trial = Trial::start(None, forgiving());
    trial.moods[1].store(RESETS, SeqCst);
    trial.until_ejected();
    std::thread::sleep(PHASE);
    trial.end();
    assert_eq!(trial.failed(), [0; 0]);
}

/// With an idle timeout that suits how fast the backend is, and an ejection at the first failure.
#[test]
fn a_backend_that_hangs_takes_those_in_flight_and_is_out_within_two_seconds() {
    let outlier = json!({ "outlier": { "consecutiveErrors": 1, "ejectionTime": "1h" } });
    let mut trial = Trial::start(Some(json!({ "timeouts": { "idle": "1s" } })), outlier);
    let hung = Instant::now();
    let before = trial.p99(hung - PHASE);
    trial.moods[2].store(HANGS, SeqCst);
    trial.until_ejected();
    assert!(hung.elapsed() < Duration::from_secs(2), "after {:?}", hung.elapsed());
    // The best of three, since what else this machine does may fall into one.
    let after = (0..3).map(|_| {
        let start = Instant::now();
        std::thread::sleep(PHASE);
        trial.p99(start)
    });
    let after = after.min().unwrap();
    trial.end();
    assert!(after <= 2 * before, "{after:?} after {before:?}");
    let failed = trial.failed();
    assert!((1..=CLIENTS).contains(&failed.len()) && failed.iter().all(|status| *status == 504), "{failed:?}");
}
