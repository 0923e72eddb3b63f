//! Which files a folder shows, and what must be watched to learn of their changes.
//!
//! Names that begin with a dot are not shown: editors' swap files, `.git`, and the `..data` folders of a mounted
//! ConfigMap, whose files are reached through the links beside them. Links are followed, to files and to folders. Nothing
//! is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::problem::SourceProblem;

/// A folder as it is shown at one moment.
#[derive(Debug, Default)]
pub(in crate::source) struct Listing {
    /// By the path under which it is shown: its stamp, or why there is none.
    pub(in crate::source) files: BTreeMap<PathBuf, Result<Stamp, String>>,
    /// Sub-folders that could not be listed: what was known of them counts on.
    pub(super) unlisted: Vec<PathBuf>,
    pub(super) problems: Vec<SourceProblem>,
    /// Folders that are shown, without links in their paths: whatever happens in them counts.
    pub(super) folders: BTreeSet<PathBuf>,
    /// The links on the way to what is shown, and where they end, without links in their parents' paths.
    pub(in crate::source) places: BTreeSet<PathBuf>,
}

/// Two equal stamps of one path: it was not written in between, as far as the clock of the file system can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    changed: (i64, i64),
}

/// Folders deeper than this are not listed.
const MAX_DEPTH: usize = 32;
/// Links on one way; the kernel has the same bound.
const MAX_LINKS: usize = 40;

/// Lists `root`, a folder or a file. `watch` is called for every directory that matters, before it is listed, so that
/// what happens after the listing is seen.
pub(in crate::source) fn list(root: &Path, watch: &mut dyn FnMut(&Path)) -> io::Result<Listing> {
    let mut lister = Lister { listing: Listing::default(), watch };
    let absolute = std::path::absolute(root)?;
    lister.follow(Path::new("/"), absolute.components());
    let metadata = fs::metadata(root)?;
    if metadata.is_file() {
        lister.listing.files.insert(root.to_owned(), Ok(Stamp::of(&metadata)));
    } else if metadata.is_dir() {
        fs::read_dir(root)?;
        lister.folder(root, &fs::canonicalize(root)?, &mut vec![identity(&metadata)]);
    } else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a folder nor a file"));
    }
    Ok(lister.listing)
}

/// Whether files of that name are read.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Whether an entry of that name is passed over.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

struct Lister<'w> {
    listing: Listing,
    watch: &'w mut dyn FnMut(&Path),
}

impl Lister<'_> {
    /// `real`: the path without links. `above`: the folders on the way, to find loops.
    fn folder(&mut self, shown: &Path, real: &Path, above: &mut Vec<(u64, u64)>) {
        (self.watch)(real);
        self.listing.folders.insert(real.to_owned());
        let entries = match fs::read_dir(shown) {
            Ok(entries) => entries,
            Err(error) => return self.unlisted(shown, format!("the folder cannot be listed: {error}")),
        };
        for entry in entries {
            match entry {
                Ok(entry) if is_hidden(Path::new(&entry.file_name())) => {}
                Ok(entry) => self.entry(&entry, real, above),
                Err(error) => return self.unlisted(shown, format!("the folder cannot be listed: {error}")),
            }
        }
    }

    fn entry(&mut self, entry: &fs::DirEntry, parent: &Path, above: &mut Vec<(u64, u64)>) {
        let shown = entry.path();
        let mut real = parent.join(entry.file_name());
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link {
            self.follow(parent, Path::new(&entry.file_name()).components());
        }
        let metadata = match fs::metadata(&shown) {
            Ok(metadata) => metadata,
            Err(error) if is_manifest(&shown) => {
                self.listing.files.insert(shown, Err(format!("the file cannot be read: {error}")));
                return;
            }
            Err(_) => return,
        };
        if metadata.is_dir() {
            if above.contains(&identity(&metadata)) {
                return self.unlisted(&shown, "the link leads back to a folder above it and is not followed".into());
            }
            if above.len() >= MAX_DEPTH {
                return self.unlisted(&shown, format!("the folder is more than {MAX_DEPTH} deep and is not read"));
            }
            if is_link {
                real = fs::canonicalize(&shown).unwrap_or(real);
            }
            above.push(identity(&metadata));
            self.folder(&shown, &real, above);
            above.pop();
        } else if is_manifest(&shown) {
            let regular = metadata.is_file();
            let stamp = if regular { Ok(Stamp::of(&metadata)) } else { Err("it is not a regular file".into()) };
            self.listing.files.insert(shown, stamp);
        }
    }

    fn unlisted(&mut self, shown: &Path, reason: String) {
        let file = shown.display().to_string();
        self.listing.unlisted.push(shown.to_owned());
        self.listing.problems.push(SourceProblem { file, line: None, column: None, object: None, reason });
    }

    /// Notes every link on the way from `base`, which has none, along `way`, and where it ends.
    fn follow<'a>(&mut self, base: &Path, way: impl Iterator<Item = Component<'a>>) {
        let mut at = base.to_owned();
        let mut rest: Vec<OsString> = way.map(|part| part.as_os_str().to_owned()).collect();
        rest.reverse();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match Path::new(&part).components().next() {
                Some(Component::ParentDir) => drop(at.pop()),
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::Normal(_)) => {
                    at.push(&part);
                    let Ok(target) = fs::read_link(&at) else { continue };
                    self.place(&at);
                    at.pop();
                    links += 1;
                    if links > MAX_LINKS {
                        return;
                    }
                    rest.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                }
                _ => {}
            }
        }
        self.place(&at);
    }

    fn place(&mut self, path: &Path) {
        if let Some(parent) = path.parent() {
            (self.watch)(parent);
            self.listing.places.insert(path.to_owned());
        }
    }
}
