//! When to look at the folder: a thread that waits for the file system to say that something happened.
//!
//! A change is taken once nothing has happened for a moment (the trailing edge: at the first event the file is half
//! written), under constant writes after [`PATIENCE`]. A change that would lose objects or break a file waits longer,
//! for it may be a file that was emptied and is about to be written: `helm template > shop.yaml` empties it long before
//! it writes, and keeps it open all the while. Events only say when to look, never what changed:
//! `disk` finds that out. A slow poll finds what no event told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::directories::Directories;
use super::disk::{Batch, Disk};
use super::files::View;
use super::list::{Listing, is_hidden, is_manifest};
use super::log;
use crate::source::watched::{Happening, QUIET, QUIET_IN_DOUBT, Wake};

/// How long constant writing may hold back a change.
const PATIENCE: Duration = Duration::from_millis(80);
/// How long it may hold back one that loses something.
const PATIENCE_AFTER_LOSS: Duration = Duration::from_secs(1);
/// The same while a file that was written is still open for writing.
const PATIENCE_WITH_WRITER: Duration = Duration::from_secs(10);
/// The watching thread's state.
#[derive(Debug)]
pub(super) struct Watch {
    disk: Disk,
    /// The folder at the last look; kept while it is gone.
    listing: Listing,
    directories: Directories,
    /// Files that were written and not closed since, and when the first write was.
    open: BTreeMap<PathBuf, Instant>,
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
        Ok(Watch { disk, listing, directories, open: BTreeMap::new(), wakes, views })
    }

    pub(super) fn subscribe(&self) -> tokio::sync::watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let goes_on = match self.wakes.recv_timeout(self.directories.poll()) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => false,
                Ok(Wake::Event(event)) => !self.counts(&event) || self.settle(),
                Err(RecvTimeoutError::Timeout) => self.settle(),
                Ok(Wake::Reload) => self.reload(),
            };
            if !goes_on {
                return;
            }
        }
    }

    fn reload(&mut self) -> bool {
        self.disk.distrust();
        let goes_on = self.settle();
        log::reloaded(self.disk.view());
        goes_on
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
            if self.is_settled(&batch, first, last) {
                self.commit(batch, true);
                return true;
            }
            if first.elapsed() >= PATIENCE {
                self.commit(batch, false);
            }
            quiet = QUIET_IN_DOUBT;
        }
    }

    /// Whether what changed since `first` is as it is meant to be; `last` is when something happened last.
    fn is_settled(&mut self, batch: &Batch, first: Instant, last: Instant) -> bool {
        if batch.loses {
            self.open.retain(|_, since| since.elapsed() < PATIENCE_WITH_WRITER);
            let silent = last.elapsed() >= QUIET_IN_DOUBT || first.elapsed() >= PATIENCE_AFTER_LOSS;
            return self.open.is_empty() && silent;
        }
        // Half a file can be a valid one. But some keep a file open that they write to now and then.
        !batch.is_unfinished() || last.elapsed() >= QUIET_IN_DOUBT || first.elapsed() >= PATIENCE_WITH_WRITER
    }

    /// Waits until nothing happened for `quiet`, counted from `last` or else from now, at most [`PATIENCE`]. Sets `last`
    /// to when something happened last. `false`: stop.
    fn wait(&mut self, last: &mut Instant, quiet: Duration) -> bool {
        let start = Instant::now();
        let mut until = *last + quiet;
        if until <= start {
            until = start + quiet;
        }
        loop {
            let end = until.min(start + PATIENCE);
            match self.wakes.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Wake::Event(event)) => {
                    if self.counts(&event) {
                        *last = Instant::now();
                        until = *last + quiet;
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
        batch.mark_unfinished(|path| self.open.contains_key(path));
        if let Some(listing) = batch.listing.take() {
            self.directories.retain(&listing);
            self.listing = listing;
        }
        batch
    }

    fn commit(&mut self, batch: Batch, doubtful: bool) {
        let before = self.disk.view().clone();
        if self.disk.commit(batch, doubtful) {
            log::changed(&before, self.disk.view());
            self.views.send_replace(self.disk.view().clone());
        }
    }

    /// Whether an event is about what is shown.
    fn counts(&mut self, event: &notify::Result<notify::Event>) -> bool {
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            self.directories.forget_all();
            self.open.clear();
            return true;
        }
        let Some(kind) = Happening::of(event.kind) else { return false };
        let mut counts = false;
        for path in &event.paths {
            if kind == Happening::Moved {
                self.directories.forget(path);
            }
            if self.listing.shows(path, kind != Happening::Moved) {
                counts = true;
                self.remember_writer(path, kind);
            }
        }
        counts
    }

    fn remember_writer(&mut self, path: &Path, kind: Happening) {
        match kind {
            Happening::Written => drop(self.open.entry(path.to_owned()).or_insert_with(Instant::now)),
            Happening::Closed | Happening::Moved => drop(self.open.remove(path)),
            Happening::Touched => {}
        }
    }
}

impl Listing {
    /// `in_place`: the file stays what it is, so that only those that are read matter.
    fn shows(&self, path: &Path, in_place: bool) -> bool {
        if self.places.contains(path) || self.folders.contains(path) {
            return true;
        }
        let shown = path.parent().is_some_and(|parent| self.folders.contains(parent));
        shown && !is_hidden(path) && (!in_place || is_manifest(path))
    }
}

#[cfg(test)]
mod tests;
