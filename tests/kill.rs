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

/// Clients, each with one request in flight at most.
const CLIENTS: usize = 32;

/// How often each of them asks, however fast it is answered: 80 requests a second, which keep neither the proxy nor a
/// backend busy, so that what is measured is no queue of the load's own making.
const TURN: Duration = Duration::from_millis(400);

/// What a backend takes for a request. Twice that is far from what a request takes that waits for a dead backend (a second
/// and more), and from what threads of a busy machine wait for a CPU (a tenth of a second where many programs compile).
const WORK: Duration = Duration::from_millis(200);

/// How long clients still ask once a backend is out.
const PHASE: Duration = Duration::from_millis(1500);

/// How long requests are measured, 800 of them: their 99th percentile leaves out the 8 slowest.
const WINDOW: Duration = Duration::from_secs(10);

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
        let first = Instant::now();
        let client = |number: usize| {
            let (asked, address) = (asked.clone(), proxy.http);
            let first = first + TURN * number as u32 / CLIENTS as u32;
            std::thread::spawn(move || asked.ask(address, first))
        };
        let clients = (0..CLIENTS).map(client).collect();
        until("the load", || (asked.requests.lock().unwrap().len() >= 3 * CLIENTS).then_some(()));
        Trial { proxy, backends, moods, clients, asked, _alone: alone }
    }

    /// Statuses of the requests that failed.
    fn failed(&self) -> Vec<u16> {
        let requests = self.asked.requests.lock().unwrap();
        requests.iter().map(|request| request.status).filter(|status| *status != 200).collect()
    }

    /// Lets a window pass, and a turn, in which what began at its end is answered. Tells when it began.
    fn window(&self) -> Instant {
        let start = Instant::now();
        std::thread::sleep(WINDOW + TURN);
        start
    }

    /// The time that 99 of 100 requests that began in the window took at most. To be asked when all are answered.
    fn p99(&self, window: Instant) -> Duration {
        let requests = self.asked.requests.lock().unwrap();
        let within = requests.iter().filter(|request| (window..window + WINDOW).contains(&request.start));
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
    /// From `turn` on. Turns that pass while a request is in flight are left out.
    fn ask(&self, proxy: SocketAddr, mut turn: Instant) {
        let mut client = Client::connect(proxy);
        while !self.over.load(SeqCst) {
            std::thread::sleep(turn.saturating_duration_since(Instant::now()));
            let start = Instant::now();
            let response = client.get(HOST, "/");
            self.requests.lock().unwrap().push(Request { start, took: start.elapsed(), status: response.status });
            if response.header("connection") == Some("close") {
                client = Client::connect(proxy);
            }
            turn = (turn + TURN).max(Instant::now());
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
    let before = trial.window();
    let hung = Instant::now();
    trial.moods[2].store(HANGS, SeqCst);
    trial.until_ejected();
    assert!(hung.elapsed() < Duration::from_secs(2), "after {:?}", hung.elapsed());
    let after = trial.window();
    trial.end();
    let [before, after] = [before, after].map(|window| trial.p99(window));
    assert!(after <= 2 * before, "{after:?} after {before:?}");
    let failed = trial.failed();
    assert!((1..=CLIENTS).contains(&failed.len()) && failed.iter().all(|status| *status == 504), "{failed:?}");
}
