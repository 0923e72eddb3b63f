//! The directories that the system watches for us.
//!
//! Each is watched by itself, not with what is below it: `list` says which ones matter, also outside the folder. A watch
//! goes with its directory, so every look asks for all of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::list::Listing;
use super::log;
use crate::source::watched::Wake;

const POLL: Duration = Duration::from_secs(2);
const POLL_WITHOUT_EVENTS: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(in crate::source) struct Directories {
    /// `None`: the system gives no events.
    watcher: Option<RecommendedWatcher>,
    /// By path without links: device and inode, to notice another directory under the same path.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Those that cannot be watched.
    failed: BTreeSet<PathBuf>,
}

impl Directories {
    pub(in crate::source) fn new(wake: Sender<Wake>) -> Directories {
        let handler = move |event| drop(wake.send(Wake::Event(event)));
        let watcher = notify::recommended_watcher(handler).inspect_err(log::no_events).ok();
        Directories { watcher, watched: BTreeMap::new(), failed: BTreeSet::new() }
    }

    /// How often to look without any event: more often where the system does not tell all that happens.
    pub(in crate::source) fn poll(&self) -> Duration {
        let tell_all = self.watcher.is_some() && self.failed.is_empty();
        if tell_all { POLL } else { POLL_WITHOUT_EVENTS }
    }

    pub(in crate::source) fn watch(&mut self, directory: &Path) {
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
            Ok(()) => {
                self.watched.insert(directory.to_owned(), identity);
                self.failed.remove(directory);
            }
            Err(error) => {
                if self.failed.insert(directory.to_owned()) {
                    log::no_events(&error);
                }
            }
        }
    }

    /// Makes the next look watch `directory` anew: its watch may have gone with it.
    pub(in crate::source) fn forget(&mut self, directory: &Path) {
        if self.watched.remove(directory).is_some()
            && let Some(watcher) = &mut self.watcher
        {
            drop(watcher.unwatch(directory));
        }
    }

    pub(in crate::source) fn forget_all(&mut self) {
        let all: Vec<_> = self.watched.keys().cloned().collect();
        all.iter().for_each(|directory| self.forget(directory));
    }

    /// Drops the watches of what is shown no longer.
    pub(in crate::source) fn retain(&mut self, listing: &Listing) {
        let parents = listing.places.iter().filter_map(|place| place.parent());
        let wanted: BTreeSet<&Path> = listing.folders.iter().map(PathBuf::as_path).chain(parents).collect();
        let stale: Vec<_> = self.watched.keys().filter(|path| !wanted.contains(path.as_path())).cloned().collect();
        stale.iter().for_each(|directory| self.forget(directory));
        self.failed.retain(|path| wanted.contains(path.as_path()));
    }

    /// What a system without events leaves.
    #[cfg(test)]
    pub(in crate::source) fn blind(&mut self) {
        self.watcher = None;
    }
}
