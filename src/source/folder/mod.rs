//! A folder (or one file) of YAML and JSON, watched.
//!
//! [`Folder::open`] reads it and starts a thread that watches it. The owner then loops:
//!
//! ```text
//! loop {
//!     let translation = translator.translate(&folder.objects(), &options);
//!     // ... publish it ...
//!     folder.changed().await?;
//! }
//! ```
//!
//! Between two calls of [`Folder::changed`] what a `Folder` shows does not change, and all files that were written
//! together change together. Nothing is lost on a broken file: it keeps its last good objects, and is listed in
//! [`Folder::problems`] until it is whole. [`load`] reads once, for commands that do not stay.
//!
//! `parse` (with `node`, `reader`, `decode`, `admit`, `policy`) turns the bytes of one file into objects; `files` joins what all
//! files give and keeps what was good; `list` and `disk` find what changed on disk; `watch` decides when to look.

mod admit;
mod decode;
mod directories;
mod disk;
mod files;
mod guess;
mod head;
mod list;
mod log;
mod node;
mod object;
mod parse;
mod policy;
mod problem;
mod reader;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

pub(super) use directories::Directories;
pub use files::{View, view_of};
pub(super) use list::{Listing, list};
pub use object::Object;
pub use parse::{Located, Parsed, parse_documents};
pub use problem::SourceProblem;
pub(super) use watch::{Happening, Wake};

use crate::translate::Objects;
use disk::Disk;
use files::Files;
use watch::Watch;

/// A watched folder. Dropping it ends the watch.
#[derive(Debug)]
pub struct Folder {
    /// What was adopted by the last [`Folder::changed`].
    view: Arc<View>,
    /// What the watching thread found since.
    views: tokio::sync::watch::Receiver<Arc<View>>,
    /// Tells the thread to read again or to end.
    wake: mpsc::Sender<Wake>,
}

/// The folder cannot be read at all, so there is nothing to start with.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct OpenError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// The watching thread has ended: it met a bug, and changes are no longer seen.
#[derive(Debug, thiserror::Error)]
#[error("the thread that watches the folder has ended")]
pub struct WatchEnded;

/// Reads folders and files once.
pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<View, OpenError> {
    let mut files = Files::default();
    for path in paths.iter().map(AsRef::as_ref) {
        let mut disk = Disk::new(path);
        let batch = disk.open(&mut |_| {}).map_err(|source| OpenError { path: path.to_owned(), source })?;
        disk.commit(batch, true);
        files.absorb(disk.into_files());
    }
    files.assemble();
    Ok(View::clone(files.view()))
}

impl Folder {
    /// Reads `path`, a folder or a file, and begins to watch it. Files in it that are broken are no error here.
    pub fn open(path: &Path) -> Result<Folder, OpenError> {
        let error = |source| OpenError { path: path.to_owned(), source };
        let (wake, wakes) = mpsc::channel();
        let watch = Watch::open(path, wake.clone(), wakes).map_err(error)?;
        let views = watch.subscribe();
        let view = views.borrow().clone();
        std::thread::Builder::new().name("folder".into()).spawn(|| watch.run()).map_err(error)?;
        Ok(Folder { view, views, wake })
    }

    /// Waits until the folder is other than what this shows, and shows that. Nothing is lost if it is cancelled.
    pub async fn changed(&mut self) -> Result<(), WatchEnded> {
        self.views.changed().await.map_err(|_| WatchEnded)?;
        self.view = self.views.borrow_and_update().clone();
        Ok(())
    }

    /// Reads every file again, changed or not; what that changes is told by [`Folder::changed`].
    pub fn reload(&self) {
        // If the thread has ended, `changed` says so.
        drop(self.wake.send(Wake::Reload));
    }

    /// Objects that did not change keep their `Arc`s.
    pub fn objects(&self) -> Objects {
        self.view.objects.clone()
    }

    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What is broken, by file.
    pub fn problems(&self) -> &[SourceProblem] {
        &self.view.problems
    }

    /// What was skipped or ignored, by file.
    pub fn notes(&self) -> &[SourceProblem] {
        &self.view.notes
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.wake.send(Wake::Stop));
    }
}

#[cfg(test)]
mod tests;
