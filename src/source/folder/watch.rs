//! When to look at the folder: a thread that waits for the file system to say that something happened.
//!
//! A change is taken once nothing has happened for a moment (the trailing edge: at the first event the file is half
//! written), under constant writes after [`PATIENCE`]. A change that would lose objects or break a file waits longer,
//! for it may be a file that was emptied and is about to be written. Events only say when to look, never what changed:
//! `disk` finds that out. A slow poll finds what no event told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::disk::{Batch, Disk};
use super::files::View;
use super::list::{Listing, is_hidden, is_manifest};
use super::log;

/// Silence after which what was written counts as complete.
const QUIET: Duration = Duration::from_millis(20);
/// The same for changes that lose something.
const QUIET_AFTER_LOSS: Duration = Duration::from_millis(60);
/// How long constant writing may hold back a change.
const PATIENCE: Duration = Duration::from_millis(80);
/// How long it may hold back one that loses something.
const PATIENCE_AFTER_LOSS: Duration = Duration::from_secs(1);
/// How often is looked without any event.
const POLL: Duration = Duration::from_secs(2);
/// The same where the system gives no events.
const POLL_WITHOUT_EVENTS: Duration = Duration::from_millis(250);

/// What ends a wait.
#[derive(Debug)]
pub(super) enum Wake {
    Event(notify::Result<notify::Event>),
    Reload,
    Stop,
}

/// The watching thread's state.
#[derive(Debug)]
pub(super) struct Watch {
    disk: Disk,
    /// The folder at the last look; kept while it is gone.
    listing: Listing,
    directories: Directories,
    wakes: Receiver<Wake>,
    views: tokio::sync::watch::Sender<Arc<View>>,
}

impl Watch {
    /// Reads `root` for the first time. Everything that happens from now on ends up in `wakes`.
    pub(super) fn open(root: &Path, wake: Sender<Wake>, wakes: Receiver<Wake>) -> std::io::Result<Watch> {
        let mut disk = Disk::new(root);
        let mut directories = Directories::new(wake);
        let mut batch = disk.open(&mut |directory| directories.watch(directory))?;
        let listing = batch.listing.take().unwrap_or_default();
        disk.commit(batch, true);
        log::opened(root, disk.view());
        let views = tokio::sync::watch::Sender::new(disk.view().clone());
        Ok(Watch { disk, listing, directories, wakes, views })
    }

    pub(super) fn subscribe(&self) -> tokio::sync::watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let poll = if self.directories.works() { POLL } else { POLL_WITHOUT_EVENTS };
            match self.wakes.recv_timeout(poll) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Wake::Reload) => {
                    self.disk.distrust();
                    let batch = self.look();
                    self.commit(batch, true);
                    log::reloaded(self.disk.view());
                }
                Ok(Wake::Event(event)) if !self.counts(&event) => {}
                Ok(Wake::Event(_)) | Err(RecvTimeoutError::Timeout) => {
                    if !self.settle() {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a change when it is complete. `false`: stop.
    fn settle(&mut self) -> bool {
        let first = Instant::now();
        let mut last = first;
        let mut quiet = QUIET;
        loop {
            if !self.wait(&mut last, quiet) {
                return false;
            }
            let batch = self.look();
            let settled = last.elapsed() >= QUIET_AFTER_LOSS || first.elapsed() >= PATIENCE_AFTER_LOSS;
            if !batch.loses || settled {
                self.commit(batch, true);
                return true;
            }
            if first.elapsed() >= PATIENCE {
                self.commit(batch, false);
            }
            quiet = QUIET_AFTER_LOSS;
        }
    }

    /// Waits until nothing happened for `quiet`, at most [`PATIENCE`]. `last` is when something happened last. `false`: stop.
    fn wait(&mut self, last: &mut Instant, quiet: Duration) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let until = (*last + quiet).min(deadline);
            match self.wakes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Wake::Event(event)) => {
                    if self.counts(&event) {
                        *last = Instant::now();
                    }
                }
                Ok(Wake::Reload) => self.disk.distrust(),
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    fn look(&mut self) -> Batch {
        let mut batch = self.disk.look(&mut |directory| self.directories.watch(directory));
        if let Some(listing) = batch.listing.take() {
            self.directories.retain(&listing);
            self.listing = listing;
        }
        batch
    }

    fn commit(&mut self, batch: Batch, losses: bool) {
        let before = self.disk.view().clone();
        if self.disk.commit(batch, losses) {
            log::changed(&before, self.disk.view());
            self.views.send_replace(self.disk.view().clone());
        }
    }

    /// Whether an event is about what is shown.
    fn counts(&mut self, event: &notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else { return true };
        let written = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => true,
            EventKind::Access(_) => return false,
            _ => false,
        };
        if event.need_rescan() {
            self.directories.forget_all();
            return true;
        }
        if !written {
            event.paths.iter().for_each(|path| self.directories.forget(path));
        }
        event.paths.iter().any(|path| self.listing.shows(path, written))
    }
}

impl Listing {
    fn shows(&self, path: &Path, written: bool) -> bool {
        if self.places.contains(path) || self.folders.contains(path) {
            return true;
        }
        let shown = path.parent().is_some_and(|parent| self.folders.contains(parent));
        shown && !is_hidden(path) && (!written || is_manifest(path))
    }
}

/// The directories that the system watches for us.
#[derive(Debug)]
struct Directories {
    /// `None`: the system gives no events; the poll must do.
    watcher: Option<RecommendedWatcher>,
    /// By path without links: device and inode, to notice another directory under the same path.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Some directory could not be watched.
    failed: bool,
}

impl Directories {
    fn new(wake: Sender<Wake>) -> Directories {
        let handler = move |event| drop(wake.send(Wake::Event(event)));
        let watcher = notify::recommended_watcher(handler).inspect_err(log::no_events).ok();
        Directories { watcher, watched: BTreeMap::new(), failed: false }
    }

    fn works(&self) -> bool {
        self.watcher.is_some() && !self.failed
    }

    fn watch(&mut self, directory: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let Ok(metadata) = std::fs::metadata(directory) else { return };
        let identity = (metadata.dev(), metadata.ino());
        match self.watched.get(directory) {
            Some(watched) if *watched == identity => return,
            // The watch of the directory that was there before is gone with it.
            Some(_) => drop(watcher.unwatch(directory)),
            None => {}
        }
        match watcher.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(directory.to_owned(), identity)),
            Err(error) => {
                if !self.failed {
                    log::no_events(&error);
                }
                self.failed = true;
            }
        }
    }

    /// Makes the next look watch `directory` anew: its watch may have gone with it.
    fn forget(&mut self, directory: &Path) {
        if self.watched.remove(directory).is_some()
            && let Some(watcher) = &mut self.watcher
        {
            drop(watcher.unwatch(directory));
        }
    }

    fn forget_all(&mut self) {
        let all: Vec<_> = self.watched.keys().cloned().collect();
        all.iter().for_each(|directory| self.forget(directory));
    }

    /// Drops the watches of what is shown no longer.
    fn retain(&mut self, listing: &Listing) {
        let parents = listing.places.iter().filter_map(|place| place.parent());
        let wanted: std::collections::BTreeSet<&Path> =
            listing.folders.iter().map(PathBuf::as_path).chain(parents).collect();
        let stale: Vec<_> = self.watched.keys().filter(|path| !wanted.contains(path.as_path())).cloned().collect();
        stale.iter().for_each(|directory| self.forget(directory));
    }
}
