//! Load on a proxy whose endpoints, routes and certificates change all the time, and a judge of every answer. Used by
//! `swap` (short) and `soak` (full).
//!
//! Reading order: `timeline` (which answer was possible when), `origin` (who answers), `changes` (what changes),
//! `question` (what is asked and how an answer is judged), `load` (who asks), `long_lived` (who stays connected).

mod changes;
mod load;
mod long_lived;
mod origin;
mod question;
mod tally;
mod timeline;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::changes::Changes;
use self::load::Load;
use self::long_lived::LongLived;
use self::tally::Tally;
use crate::support::Headgate;

/// How much of everything.
#[derive(Debug)]
pub(super) struct Plan {
    /// At least; they go on until the generations are through.
    pub requests: u64,
    /// At least; they go on until the requests are through.
    pub generations: u64,
    pub websockets: usize,
    pub streams: usize,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Figures {
    requests: u64,
    failed: u64,
    generations: u64,
    long_lived: usize,
    closed: u64,
    /// The first failures and closures, in words.
    complaints: Vec<String>,
    /// Tries that an endpoint failed, though the client may have got its answer from another one.
    failed_tries: f64,
    before: Held,
    after: Held,
    duration: Duration,
}

/// What the process holds at one moment under load.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident: u64,
    descriptors: usize,
}

/// What memory may differ by, with the load as it happens to be at the two moments.
const MEMORY_SLACK: u64 = 32 << 20;
const DESCRIPTOR_SLACK: usize = 200;

/// A fifth of the way in, all pools and buffers have the size that the load needs.
const WARM_UP: u64 = 5;

pub(super) fn run(plan: &Plan) -> Figures {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let mut changes = Changes::start();
    let tally = Arc::new(Tally::default());
    let (http, https) = (changes.headgate.http, changes.headgate.https);

    let long_lived = LongLived::open(&runtime, http, https, plan.websockets, plan.streams, &tally);
    let first = changes.headgate.generation();
    let start = Instant::now();
    let load = Load::start(&runtime, http, https, &changes.timeline, &tally);
    let enough = |changes: &Changes, share| {
        tally.requests() >= plan.requests / share && changes.generation - first >= plan.generations / share
    };
    while !enough(&changes, WARM_UP) {
        changes.next();
    }
    let before = Held::by(&changes.headgate);
    while !enough(&changes, 1) {
        changes.next();
    }
    let after = Held::by(&changes.headgate);
    let duration = start.elapsed();
    load.stop(&runtime);
    long_lived.end(&runtime);
    Figures {
        requests: tally.requests(),
        failed: tally.failed(),
        generations: changes.generation - first,
        long_lived: plan.websockets + plan.streams,
        closed: tally.closed(),
        complaints: tally.complaints(),
        failed_tries: changes.headgate.metrics().value("proxy_backend_errors_total", &[]),
        before,
        after,
        duration,
    }
}

impl Figures {
    /// Panics unless nobody has noticed anything.
    #[track_caller]
    pub(super) fn hold(&self) {
        let complaints = self.complaints.join("\n");
        assert_eq!((self.failed, self.closed), (0, 0), "failed and closed; the first of them:\n{complaints}");
        assert_eq!(self.failed_tries, 0.0, "an endpoint was tried that had left");
        assert!(self.after.resident <= self.before.resident + MEMORY_SLACK, "memory grew: {self}");
        assert!(self.after.descriptors <= self.before.descriptors + DESCRIPTOR_SLACK, "descriptors leak: {self}");
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} failed, {} generations, {} websockets and streams, {} connections closed, \
             RSS {:.1} -> {:.1} MiB, {} -> {} descriptors, {:.0} s",
            self.requests,
            self.failed,
            self.generations,
            self.long_lived,
            self.closed,
            self.before.resident as f64 / 1_048_576.0,
            self.after.resident as f64 / 1_048_576.0,
            self.before.descriptors,
            self.after.descriptors,
            self.duration.as_secs_f64(),
        )
    }
}

impl Held {
    fn by(headgate: &Headgate) -> Self {
        Held { resident: headgate.resident(), descriptors: headgate.descriptors() }
    }
}

/// Both ends of thousands of connections are in this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
