//! When to look at the file: a thread that waits for the file system to say that something happened to it or to one that
//! it names.
//!
//! The first look is at the start: the file may have changed since it was loaded. What can be read only once, as a pipe, is
//! not looked at again.
//!
//! As in a folder, a change is taken once nothing has happened for a moment, and later while somebody has the file open
//! for writing or it is broken, since it may be half written. A slow poll finds what no event told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::read::Settings;
use super::{View, load_with};
use crate::source::contents;
use crate::source::folder::{Directories, Listing, SourceProblem, list};
use crate::source::resolve;
use crate::source::watched::{Happening, QUIET, QUIET_IN_DOUBT, Wake};
use crate::translate::Plain;

/// How long constant writing may hold back a change.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a file with new host names waits for their addresses. Those that come later are served when they come.
const RESOLUTION: Duration = Duration::from_secs(2);

type Reading = Result<Settings, Vec<SourceProblem>>;

/// The watching thread's state.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// `[server]`, which the process was started with.
    server: BTreeMap<&'static str, String>,
    view: Arc<View>,
    directories: Directories,
    /// Of the file, and of those that it names.
    listing: Listing,
    /// Somebody writes one of them.
    open: bool,
    wakes: Receiver<Wake>,
    views: tokio::sync::watch::Sender<Arc<View>>,
}

impl Watch {
    pub(super) fn open(
        path: &Path,
        server: BTreeMap<&'static str, String>,
        plain: Plain,
        wake: Sender<Wake>,
        wakes: Receiver<Wake>,
    ) -> Watch {
        let plain = Arc::new(plain);
        let addresses = resolve::within(RESOLUTION, plain.names());
        let view = Arc::new(View { plain, addresses, problems: Vec::new(), notes: Vec::new() });
        let views = tokio::sync::watch::Sender::new(view.clone());
        let (path, directories) = (path.to_owned(), Directories::new(wake));
        Watch { path, server, view, directories, listing: Listing::default(), open: false, wakes, views }
    }

    pub(super) fn subscribe(&self) -> tokio::sync::watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            info!("{} can be read only once: changes of it need a restart", self.path.display());
            while !matches!(self.wakes.recv(), Ok(Wake::Stop) | Err(_)) {}
            return;
        }
        let mut goes_on = self.settle();
        while goes_on {
            goes_on = match self.wakes.recv_timeout(self.directories.poll()) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => false,
                Ok(Wake::Event(event)) => !self.counts(&event) || self.settle(),
                Ok(Wake::Reload) | Err(RecvTimeoutError::Timeout) => self.settle(),
            };
        }
    }

    /// Takes a change when it is complete. `false`: stop.
    fn settle(&mut self) -> bool {
        let first = Instant::now();
        let mut last = first;
        loop {
            let in_doubt = self.open || first.elapsed() > QUIET;
            if !self.wait(&mut last, if in_doubt { QUIET_IN_DOUBT } else { QUIET }) {
                return false;
            }
            let reading = self.look();
            let silent = last.elapsed() >= QUIET_IN_DOUBT;
            if silent || reading.is_ok() && !self.open || first.elapsed() >= PATIENCE {
                // Who has it open and writes nothing is not waited for.
                self.open = false;
                self.adopt(reading);
                return true;
            }
        }
    }

    /// Waits until nothing happened for `quiet`, counted from `last`, which is kept up to date. `false`: stop.
    fn wait(&mut self, last: &mut Instant, quiet: Duration) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let until = (*last + quiet).min(end);
            match self.wakes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Wake::Event(event)) => {
                    if self.counts(&event) {
                        *last = Instant::now();
                    }
                }
                Ok(Wake::Reload) => {}
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    fn look(&mut self) -> Reading {
        let (reading, listing) = read(&self.path, &mut self.directories);
        self.directories.retain(&listing);
        self.listing = listing;
        reading
    }

    /// Whether an event is about one of the files.
    fn counts(&mut self, event: &notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            self.directories.forget_all();
            return true;
        }
        let Some(happening) = Happening::of(event.kind) else { return false };
        if happening == Happening::Moved {
            event.paths.iter().for_each(|path| self.directories.forget(path));
        }
        let counts = event.paths.iter().any(|path| self.listing.places.contains(path));
        match happening {
            Happening::Written => self.open |= counts,
            Happening::Closed | Happening::Moved => self.open &= !counts,
            Happening::Touched => {}
        }
        counts
    }

    fn adopt(&mut self, reading: Reading) {
        let (plain, problems, notes) = match reading {
            Ok(Settings { plain: Some(plain), server }) => {
                let (plain, notes) = self.adapt(plain, &server);
                (plain, Vec::new(), notes)
            }
            Ok(_) => {
                let gone = "[[backends]]: none is left; leave one, or restart to serve something else";
                (Plain::clone(&self.view.plain), vec![self.about(gone.to_owned())], self.view.notes.clone())
            }
            Err(problems) => (Plain::clone(&self.view.plain), problems, self.view.notes.clone()),
        };
        let plain = if plain == *self.view.plain { self.view.plain.clone() } else { Arc::new(plain) };
        let addresses = self.addresses(&plain);
        let view = View { plain, addresses, problems, notes };
        if view == *self.view {
            return;
        }
        let old = std::mem::replace(&mut self.view, Arc::new(view));
        tell(&old, &self.view);
        self.views.send_replace(self.view.clone());
    }

    /// Of the names that were there before, what was known; of others, what is found in the time.
    fn addresses(&self, plain: &Plain) -> BTreeMap<String, Arc<[IpAddr]>> {
        let names = plain.names();
        let mut known = self.view.addresses.clone();
        known.retain(|name, _| names.contains(name));
        if names != self.view.plain.names() {
            let new = names.into_iter().filter(|name| !known.contains_key(name)).collect();
            known.extend(resolve::within(RESOLUTION, new));
        }
        known
    }

    /// What of a newer file this process can serve, and what it leaves to the next start.
    fn adapt(&self, mut newer: Plain, server: &BTreeMap<&'static str, String>) -> (Plain, Vec<SourceProblem>) {
        let mut left = BTreeSet::new();
        let first = &self.server;
        for flag in first.keys().chain(server.keys()).filter(|flag| first.get(*flag) != server.get(*flag)) {
            left.insert(match *flag {
                "bind_address" | "http_port" => "[server] bind_addr",
                "workers" => "[server] worker_threads",
                "max_connections" => "[server] max_connections",
                "request_timeout" => "[server] request_timeout",
                _ => "[server] connect_tunnel",
            });
        }
        if newer.certificate.is_some() != self.view.plain.certificate.is_some() {
            left.insert("[tls]");
            newer.certificate = self.view.plain.certificate.clone();
        }
        let note = |what| self.about(format!("{what} needs a restart; until then what it was at the start counts"));
        (newer, left.into_iter().map(note).collect())
    }

    fn about(&self, reason: String) -> SourceProblem {
        SourceProblem { file: self.path.display().to_string(), line: None, column: None, object: None, reason }
    }
}

/// What the application log says: each thing once when it comes, and once when all is well again.
fn tell(before: &View, after: &View) {
    for SourceProblem { file, line, reason, .. } in after.problems.iter().filter(|it| !before.problems.contains(it)) {
        warn!(file, line, "{reason}; what the file said before counts");
    }
    for SourceProblem { file, reason, .. } in after.notes.iter().filter(|it| !before.notes.contains(it)) {
        warn!(file, "{reason}");
    }
    if let (Some(SourceProblem { file, .. }), true) = (before.problems.first(), after.problems.is_empty()) {
        info!(file, "nothing is wrong with it any longer");
    }
}

/// Reads the file and those that it names, after the system was asked to tell what happens to them.
fn read(path: &Path, directories: &mut Directories) -> (Reading, Listing) {
    let mut listing = Listing::default();
    let mut look_at = |file: &Path| {
        let mut places = Vec::new();
        // One that is not there is watched for too.
        let found = list(file, &mut |directory| directories.watch(directory));
        if let Ok(found) = found {
            places.extend(found.places);
        } else if let Ok(absolute) = std::path::absolute(file) {
            places.push(absolute);
        }
        listing.places.extend(places);
    };
    look_at(path);
    let reading = load_with(path, contents::of_file(path), &mut |file| look_at(&file));
    (reading, listing)
}
