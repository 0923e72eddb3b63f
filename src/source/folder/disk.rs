//! The folder on disk against what was read of it: which files must be read again, and what that changes.
//!
//! Only files whose stamp moved are read, and those whose stamp says little because they were written just before they
//! were read. All that one look finds is committed together, so that files which change together go live together. When
//! to look is `watch`'s matter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::files::{Change, Files, View};
use super::list::{Listing, Stamp, list};
use super::problem::SourceProblem;
use crate::source::contents::{self, MAX_SIZE};

/// A stamp is trusted once it was older than this when the file was read: some file systems count in seconds.
const TRUSTED_AGE: Duration = Duration::from_secs(2);

/// A folder and what was read of it.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    files: Files,
    /// What was read, by shown path.
    known: BTreeMap<PathBuf, Known>,
    /// What was wrong with the folder itself at the last commit.
    folder_problems: Vec<SourceProblem>,
}

/// A file as it was read.
#[derive(Clone, Copy, Debug)]
struct Known {
    stamp: Stamp,
    hash: u64,
    /// The stamp was old enough to tell the next write.
    trusted: bool,
}

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: Vec<(Change, Option<Known>)>,
    /// Files that were read and say what they said before.
    touched: Vec<(PathBuf, Known)>,
    folder_problems: Vec<SourceProblem>,
    /// Objects vanish, or something breaks: perhaps somebody is still writing.
    pub(super) loses: bool,
    /// Changed files that somebody has open for writing.
    unfinished: BTreeSet<PathBuf>,
    /// The folder as it was found; `None` if it is gone.
    pub(super) listing: Option<Listing>,
}

impl Batch {
    /// Notes which of the changed files are among those that are `open` for writing.
    pub(super) fn mark_unfinished(&mut self, open: impl Fn(&Path) -> bool) {
        let paths = self.changes.iter().map(|(change, _)| &change.path);
        self.unfinished = paths.filter(|path| open(path)).cloned().collect();
    }

    pub(super) fn is_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }
}

impl Disk {
    pub(super) fn new(root: &Path) -> Disk {
        Disk { root: root.to_owned(), files: Files::default(), known: BTreeMap::new(), folder_problems: Vec::new() }
    }

    pub(super) fn view(&self) -> &Arc<View> {
        self.files.view()
    }

    pub(super) fn into_files(self) -> Files {
        self.files
    }

    /// Makes the next look read every file.
    pub(super) fn distrust(&mut self) {
        self.known.clear();
    }

    /// The first look: a folder that is not there is an error.
    pub(super) fn open(&mut self, watch: &mut dyn FnMut(&Path)) -> io::Result<Batch> {
        let listing = list(&self.root, watch)?;
        if let Some(Ok(_)) = listing.files.get(&self.root) {
            File::open(&self.root)?;
        }
        Ok(self.compare(listing))
    }

    /// Looks until two listings around one reading agree, so that files are not mixed over a swap of their folder.
    pub(super) fn look(&self, watch: &mut dyn FnMut(&Path)) -> Batch {
        let mut listing = match list(&self.root, watch) {
            Ok(listing) => listing,
            Err(error) => return self.vanished(&error),
        };
        for _ in 0..3 {
            let before = listing.files.clone();
            let batch = self.compare(listing);
            if batch.changes.is_empty() {
                return batch;
            }
            listing = match list(&self.root, watch) {
                Ok(listing) if listing.files == before => return batch,
                Ok(listing) => listing,
                Err(error) => return self.vanished(&error),
            };
        }
        self.compare(listing)
    }

    /// Takes what a look found; without `doubtful` only the files that are finished and lose nothing. Whether the view
    /// changed.
    pub(super) fn commit(&mut self, batch: Batch, doubtful: bool) -> bool {
        self.known.extend(batch.touched);
        if batch.changes.is_empty() && batch.folder_problems == self.folder_problems {
            return false;
        }
        if doubtful {
            self.folder_problems = batch.folder_problems;
            self.files.set_folder_problems(self.folder_problems.clone());
        }
        for (change, known) in batch.changes {
            if !doubtful && (change.loses || batch.unfinished.contains(&change.path)) {
                continue;
            }
            match known {
                Some(known) => self.known.insert(change.path.clone(), known),
                None => self.known.remove(&change.path),
            };
            self.files.apply(change);
        }
        self.files.assemble()
    }

    fn vanished(&self, error: &io::Error) -> Batch {
        let problem = SourceProblem {
            file: self.root.display().to_string(),
            line: None,
            column: None,
            object: None,
            reason: format!("cannot be read: {error}; what was read before stays"),
        };
        let loses = self.folder_problems.is_empty();
        Batch { folder_problems: vec![problem], loses, ..Batch::default() }
    }

    fn compare(&self, listing: Listing) -> Batch {
        let mut batch = Batch { folder_problems: listing.problems.clone(), ..Batch::default() };
        for (path, found) in &listing.files {
            match found {
                Ok(stamp) => self.file(path, *stamp, &mut batch),
                Err(reason) => batch.unreadable(&self.files, path, reason.clone()),
            }
        }
        let is_kept = |path: &Path| listing.unlisted.iter().any(|folder| path.starts_with(folder));
        for path in self.files.paths().filter(|path| !listing.files.contains_key(*path) && !is_kept(path)) {
            batch.changes.push((self.files.removed(path), None));
        }
        batch.loses = batch.changes.iter().any(|(change, _)| change.loses)
            || batch.folder_problems.len() > self.folder_problems.len();
        batch.listing = Some(listing);
        batch
    }

    fn file(&self, path: &Path, stamp: Stamp, batch: &mut Batch) {
        let known = self.known.get(path);
        if known.is_some_and(|known| known.trusted && known.stamp == stamp) {
            return;
        }
        if stamp.size > MAX_SIZE {
            let reason = format!("the file has {} MiB; at most {} MiB are read", stamp.size >> 20, MAX_SIZE >> 20);
            return batch.unreadable(&self.files, path, reason);
        }
        let trusted = is_old(stamp);
        match contents::of_file(path) {
            // The listing after this one will tell.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => batch.unreadable(&self.files, path, format!("the file cannot be read: {error}")),
            Ok(bytes) => {
                let now = Known { stamp, hash: hash(&bytes), trusted };
                if known.is_some_and(|known| known.hash == now.hash) {
                    batch.touched.push((path.to_owned(), now));
                } else {
                    batch.changes.push((self.files.read(path, &bytes), Some(now)));
                }
            }
        }
    }
}

impl Batch {
    fn unreadable(&mut self, files: &Files, path: &Path, reason: String) {
        self.changes.extend(files.unreadable(path, reason).map(|change| (change, None)));
    }
}

fn is_old(stamp: Stamp) -> bool {
    let since_epoch = Duration::new(stamp.modified.0.try_into().unwrap_or(0), stamp.modified.1.try_into().unwrap_or(0));
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since_epoch).is_ok_and(|age| age > TRUSTED_AGE)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests;
