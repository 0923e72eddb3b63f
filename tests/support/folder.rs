//! The folder of objects that the binary serves, changed as an editor changes it: written aside, renamed over.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own with `objects/` (served) and room beside it.
#[derive(Debug)]
pub struct Folder {
    root: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("headgate-test-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("objects")).unwrap();
        Folder { root }
    }

    /// What `--dir` gets.
    pub fn objects(&self) -> PathBuf {
        self.root.path().join("objects")
    }

    /// A path beside the served folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Replaces one file by these objects, atomically.
    pub fn write(&self, name: &str, objects: &[Value]) {
        self.write_text(name, &to_yaml(objects));
    }

    /// Replaces one file by this text, atomically.
    pub fn write_text(&self, name: &str, text: &str) {
        let staged = tempfile::NamedTempFile::new_in(self.root.path()).unwrap();
        std::fs::write(staged.path(), text).unwrap();
        let target = self.objects().join(name);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        staged.persist(target).unwrap();
    }

    /// What `/etc/hosts` says where [`Folder::hosts`] is mounted: one line. The file stays the same one, and its length too, so
    /// that nobody reads half of it.
    pub fn write_hosts(&self, line: &str) {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.hosts()).unwrap();
        file.write_all(format!("{line:<80}\n").as_bytes()).unwrap();
    }

    pub fn hosts(&self) -> PathBuf {
        self.beside("hosts")
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.objects().join(name)).unwrap();
    }
}

/// The objects as one multi-document YAML file, each in flow style (which is JSON), so that no text is read as a boolean.
pub fn to_yaml(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object:#}\n")).collect()
}

/// The text of a file, empty while there is none.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
