//! One configuration file (TOML): settings of the process and, if it has `[[backends]]`, a plain proxy in front of them.
//!
//! [`load`] reads it once. [`ConfigFile::open`] takes what that gave and starts a thread that watches it and the files it
//! names, for a plain proxy: as long as the file is broken, what it said before counts, and [`View::problems`] tell
//! why. What cannot change while the process runs is told in [`View::notes`].
//!
//! `read` (with `table`) makes values of the text; `watch` decides when to look.

mod read;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

pub use read::Settings;

use super::contents;
use super::folder::SourceProblem;
use super::watched::Watched;
use crate::translate::Plain;
use watch::Watch;

/// A watched file.
pub type ConfigFile = Watched<View>;

/// What a file says, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub plain: Arc<Plain>,
    /// Of its host names, as far as they resolved when the file was read, so that a name that is new is not without any
    /// until it is looked up.
    pub addresses: BTreeMap<String, Arc<[IpAddr]>>,
    pub problems: Vec<SourceProblem>,
    /// What of the file cannot change while the process runs.
    pub notes: Vec<SourceProblem>,
}

/// All that is wrong with a file, a line for each.
#[derive(Debug)]
pub struct Broken(pub Vec<SourceProblem>);

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Reads the file, which may be a pipe, and those that it names.
pub fn load(path: &Path) -> Result<Settings, Broken> {
    load_with(path, contents::of_stream(path), &mut |_| {}).map_err(Broken)
}

/// `named` is told of the files that the file names, also if they cannot be read.
fn load_with(
    path: &Path,
    contents: io::Result<Vec<u8>>,
    named: &mut dyn FnMut(PathBuf),
) -> Result<Settings, Vec<SourceProblem>> {
    let named = std::cell::RefCell::new(named);
    let problem =
        |line, reason| SourceProblem { file: path.display().to_string(), line, column: None, object: None, reason };
    let bytes = contents.map_err(|error| vec![problem(None, format!("it cannot be read: {error}"))])?;
    let text = String::from_utf8(bytes).map_err(|_| vec![problem(None, "it is not UTF-8".to_owned())])?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let load = |file: &Path| -> io::Result<Vec<u8>> {
        let file = beside.join(file);
        named.borrow_mut()(file.clone());
        contents::of_file(&file)
    };
    let wrong = |wrong: Vec<(usize, String)>| {
        wrong.into_iter().map(|(line, reason)| problem(Some(line), reason)).collect::<Vec<_>>()
    };
    read::read(&text, &load).map_err(wrong)
}

impl ConfigFile {
    /// Begins to watch `path`. `server` and `plain`: what it said when it was loaded.
    pub fn open(path: &Path, server: BTreeMap<&'static str, String>, plain: Plain) -> io::Result<ConfigFile> {
        let (wake, wakes) = mpsc::channel();
        let watch = Watch::open(path, server, plain, wake.clone(), wakes);
        let views = watch.subscribe();
        Watched::by("config-file", || watch.run(), views, wake)
    }
}
