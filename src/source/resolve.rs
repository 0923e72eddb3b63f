//! Addresses of host names (Services of type ExternalName), kept fresh off the rebuild loop.
//!
//! The loop says with [`Resolver::want`] which names the last translation asked for, reads [`Resolver::addresses`]
//! before the next one, and rebuilds when [`Resolver::changed`] says that an answer differs. The system's resolver
//! answers, so `/etc/hosts` and search domains count. A name that fails keeps its last good answer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(30);
/// Lookups at one time; each holds a thread of the blocking pool.
const MAX_LOOKUPS: usize = 8;
/// The same where somebody waits for all of them.
const MAX_THREADS: usize = 64;

type Answers = BTreeMap<String, Arc<[IpAddr]>>;
type Lookup = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// The addresses of `names` as of now, as far as they come within `patience`. Names that do not resolve are absent.
pub fn within(patience: Duration, names: BTreeSet<String>) -> BTreeMap<String, Arc<[IpAddr]>> {
    answers_within(patience, names, |name| {
        let addresses = (name, 0).to_socket_addrs().into_iter().flatten();
        addresses.map(|address| address.ip().to_canonical()).collect()
    })
}

/// A name that hangs holds a thread, which is left behind, and none of the others as long as there are threads for them.
fn answers_within(
    patience: Duration,
    names: BTreeSet<String>,
    look_up: impl Fn(&str) -> BTreeSet<IpAddr> + Copy + Send + 'static,
) -> Answers {
    let end = std::time::Instant::now() + patience;
    let threads = names.len().min(MAX_THREADS);
    let queue = Arc::new(Mutex::new(names.into_iter()));
    let (answer, answers) = mpsc::channel();
    for _ in 0..threads {
        let (queue, answer) = (queue.clone(), answer.clone());
        let next = move || queue.lock().ok()?.next();
        let work = move || {
            while let Some(name) = next() {
                let found = look_up(&name);
                if answer.send((name, found)).is_err() {
                    return;
                }
            }
        };
        // Those that there are do the work of those that cannot be had.
        if std::thread::Builder::new().name("resolve".into()).spawn(work).is_err() {
            break;
        }
    }
    drop(answer);
    let next = || answers.recv_timeout(end.saturating_duration_since(std::time::Instant::now())).ok();
    let found = std::iter::from_fn(next).filter(|(_, addresses)| !addresses.is_empty());
    found.map(|(name, addresses)| (name, addresses.into_iter().collect())).collect()
}

/// Resolves names in a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Resolver {
    /// What the task is to resolve.
    wanted: watch::Sender<BTreeSet<String>>,
    /// What it found. Names that never resolved are absent.
    answers: watch::Receiver<Answers>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Starts on the runtime of the caller, with nothing to resolve.
    pub fn start() -> Resolver {
        Resolver::with(Arc::new(|name| Box::pin(look_up(name))))
    }

    fn with(lookup: Lookup) -> Resolver {
        let (wanted, wanted_receiver) = watch::channel(BTreeSet::new());
        let (answers_sender, answers) = watch::channel(Answers::new());
        let task = Task {
            lookup,
            wanted: wanted_receiver,
            answers: answers_sender,
            names: BTreeMap::new(),
            running: JoinSet::new(),
        };
        Resolver { wanted, answers, task: tokio::spawn(task.run()) }
    }

    /// Resolves these names from now on, and no others.
    pub fn want(&self, names: &BTreeSet<String>) {
        self.wanted.send_if_modified(|wanted| {
            let differs = wanted != names;
            if differs {
                wanted.clone_from(names);
            }
            differs
        });
    }

    /// The last good answer of every name that has one, sorted.
    pub fn addresses(&self) -> BTreeMap<String, Arc<[IpAddr]>> {
        self.answers.borrow().clone()
    }

    /// Waits until an answer is other than it was at the last call. Nothing is lost if it is cancelled.
    pub async fn changed(&mut self) {
        if self.answers.changed().await.is_err() {
            // The task ends only with the runtime.
            std::future::pending().await
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_up(name: String) -> io::Result<Vec<IpAddr>> {
    let addresses = tokio::net::lookup_host((name, 0)).await?;
    Ok(addresses.map(|address| address.ip().to_canonical()).collect())
}

struct Task {
    lookup: Lookup,
    wanted: watch::Receiver<BTreeSet<String>>,
    answers: watch::Sender<Answers>,
    names: BTreeMap<String, Name>,
    running: JoinSet<(String, io::Result<Vec<IpAddr>>)>,
}

/// When a name is looked up next.
struct Name {
    /// `None` while a lookup runs.
    due: Option<Instant>,
    failures: u32,
}

impl Task {
    async fn run(mut self) {
        loop {
            let next = self.start_due();
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.adopt(),
                    Err(_) => return,
                },
                Some(Ok((name, result))) = self.running.join_next() => self.finish(name, result),
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes over the names that are wanted now; answers of others are dropped without a word.
    fn adopt(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.names.retain(|name, _| wanted.contains(name));
        self.answers.send_if_modified(|answers| {
            answers.retain(|name, _| wanted.contains(name));
            false
        });
        for name in wanted {
            self.names.entry(name).or_insert_with(|| Name { due: Some(Instant::now()), failures: 0 });
        }
    }

    /// Starts the lookups that are due, as far as the bound allows; says when the next will be.
    fn start_due(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + FRESH;
        for (name, state) in &mut self.names {
            match state.due {
                Some(due) if due <= now && self.running.len() < MAX_LOOKUPS => {
                    state.due = None;
                    let (name, answer) = (name.clone(), (self.lookup)(name.clone()));
                    self.running.spawn(async move { (name, answer.await) });
                }
                // One that is due and has no room starts when another ends.
                Some(due) if due > now => next = next.min(due),
                _ => {}
            }
        }
        next
    }

    fn finish(&mut self, name: String, result: io::Result<Vec<IpAddr>>) {
        let Some(state) = self.names.get_mut(&name) else { return };
        match result {
            Ok(addresses) if !addresses.is_empty() => {
                if state.failures > 0 {
                    info!(name, "the host name resolves again");
                }
                *state = Name { due: Some(Instant::now() + FRESH), failures: 0 };
                self.publish(name, addresses);
            }
            failed => {
                if state.failures == 0 {
                    let reason = failed.err().map_or("no address".into(), |error| error.to_string());
                    warn!(
                        name,
                        "the host name does not resolve: {reason}; its last good addresses stay, if it had any"
                    );
                }
                state.failures += 1;
                state.due = Some(Instant::now() + pause(state.failures));
            }
        }
    }

    fn publish(&self, name: String, mut addresses: Vec<IpAddr>) {
        addresses.sort();
        addresses.dedup();
        self.answers.send_if_modified(|answers| {
            let differs = answers.get(&name).is_none_or(|known| **known != *addresses);
            if differs {
                answers.insert(name, addresses.into());
            }
            differs
        });
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << (failures - 1).min(5)).min(FRESH)
}

#[cfg(test)]
mod tests;
