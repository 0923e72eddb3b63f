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
//! Between two calls of [`Watched::changed`] what a `Folder` shows does not change, and all files that were written
//! together change together. Nothing is lost on a broken file: it keeps its last good objects, and is listed in
//! [`View::problems`] until it is whole. [`load`] reads once, for commands that do not stay.
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
use std::sync::mpsc;

pub(super) use directories::Directories;
pub use files::{View, view_of};
pub(super) use list::{Listing, list};
pub use object::Object;
pub use parse::{Located, Parsed, parse_documents};
pub use problem::SourceProblem;

use super::watched::Watched;
use crate::translate::Objects;
use disk::Disk;
use files::Files;
use watch::Watch;

/// A watched folder.
pub type Folder = Watched<View>;

/// The folder cannot be read at all, so there is nothing to start with.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct OpenError {
    pub path: PathBuf,
    pub source: io::Error,
}

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
        Watched::by("folder", || watch.run(), views, wake).map_err(error)
    }

    /// Objects that did not change keep their `Arc`s.
    pub fn objects(&self) -> Objects {
        self.view().objects.clone()
    }
}

#[cfg(test)]
mod tests;
