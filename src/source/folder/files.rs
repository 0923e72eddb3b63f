//! The last good objects of every file, and the view that they give together. Pure.
//!
//! A file that cannot be read keeps all it had. A readable file keeps, of what it had, the objects that its broken
//! documents mean; if it is not known which one a document means, it keeps all that it no longer shows. Of a file that
//! could never be read, `guess` says what its policies might guard. An object that
//! did not change keeps its `Arc` from one view to the next, wherever it moves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::guess::Guess;
use super::object::Object;
use super::parse::{Located, Parsed, parse_documents};
use super::problem::SourceProblem;
use crate::translate::{ObjectRef, Objects};

/// What a folder holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub objects: Objects,
    /// What is broken, by file.
    pub problems: Vec<SourceProblem>,
    /// What was skipped or ignored, by file.
    pub notes: Vec<SourceProblem>,
}

impl View {
    /// How many objects there are.
    pub fn count(&self) -> usize {
        let Objects { ingresses, ingress_classes, services, endpoint_slices, .. } = &self.objects;
        let Objects { secrets, config_maps, policies, .. } = &self.objects;
        let routing = ingresses.len() + ingress_classes.len() + services.len() + endpoint_slices.len();
        routing + secrets.len() + config_maps.len() + policies.len()
    }
}

/// All files of a folder.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<PathBuf, File>,
    /// What is wrong with the folder rather than with one file.
    folder_problems: Vec<SourceProblem>,
    /// The objects of the last view; an equal one is handed out again.
    live: BTreeMap<ObjectRef, Object>,
    view: Arc<View>,
}

/// What one file gives.
#[derive(Clone, Debug, Default)]
struct File {
    /// Last good objects.
    objects: BTreeMap<ObjectRef, Located>,
    problems: Vec<SourceProblem>,
    notes: Vec<SourceProblem>,
    /// It cannot be read, never could, and seems to hold policies.
    guess: Option<Guess>,
}

/// One file as it would be.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    /// `None`: the file is gone.
    file: Option<File>,
    /// Objects vanish, or something breaks: perhaps the file is just being written.
    pub(super) loses: bool,
}

/// The view of texts that are in no folder: `(path, text)`, as tests and one-off commands have them.
pub fn view_of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> View {
    let mut files = Files::default();
    for (path, text) in texts {
        let change = files.read(Path::new(path), text.as_bytes());
        files.apply(change);
    }
    files.assemble();
    View::clone(&files.view)
}

impl Files {
    /// What reading `bytes` from `path` changes.
    pub(super) fn read(&self, path: &Path, bytes: &[u8]) -> Change {
        let nothing = File::default();
        let old = self.files.get(path).unwrap_or(&nothing);
        // Bytes that break the parser itself must not end the process.
        let file = match std::panic::catch_unwind(|| parse_documents(path, bytes)) {
            Ok(Ok(parsed)) => old.parsed(path, parsed),
            Ok(Err(problem)) => old.broken(*problem, Guess::of(bytes)),
            Err(_) => old.broken(of_file(path, "the parser does not survive this file".into()), Guess::of(bytes)),
        };
        let loses = file.problems.len() > old.problems.len()
            || old.objects.keys().any(|object| !file.objects.contains_key(object));
        Change { path: path.to_owned(), file: Some(file), loses }
    }

    /// What it changes that `path` is there and cannot be read; `None` if that was so before.
    pub(super) fn unreadable(&self, path: &Path, reason: String) -> Option<Change> {
        let problem = of_file(path, reason);
        let old = self.files.get(path);
        let guess = old.and_then(|old| old.guess.clone());
        let file = old.cloned().unwrap_or_default().broken(problem, guess);
        let is_new = old.is_none_or(|old| old.problems != file.problems);
        is_new.then(|| Change { path: path.to_owned(), file: Some(file), loses: true })
    }

    /// What it changes that `path` is gone.
    pub(super) fn removed(&self, path: &Path) -> Change {
        let loses = self.files.get(path).is_some_and(|file| !file.objects.is_empty());
        Change { path: path.to_owned(), file: None, loses }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change.file {
            Some(file) => self.files.insert(change.path, file),
            None => self.files.remove(&change.path),
        };
    }

    /// Adds the files of another folder.
    pub(super) fn absorb(&mut self, other: Files) {
        self.files.extend(other.files);
        self.folder_problems.extend(other.folder_problems);
    }

    pub(super) fn set_folder_problems(&mut self, problems: Vec<SourceProblem>) {
        self.folder_problems = problems;
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Makes the view of now; `false` if it is the same as before.
    pub(super) fn assemble(&mut self) -> bool {
        let before = std::mem::take(&mut self.live);
        let mut chosen: BTreeMap<&ObjectRef, (&Path, usize)> = BTreeMap::new();
        let mut problems = self.folder_problems.clone();
        let mut objects = Objects::default();
        let mut changed = false;
        for (path, file) in &mut self.files {
            problems.extend(file.problems.iter().cloned());
            for (id, located) in &mut file.objects {
                if let Some((first, line)) = chosen.get(id) {
                    problems.push(duplicate(path, id, located.line, first, *line));
                    continue;
                }
                match before.get(id) {
                    Some(known) if known.is_equal(&located.object) => located.object = known.clone(),
                    _ => changed = true,
                }
                located.object.insert_into(&mut objects, id);
                self.live.insert(id.clone(), located.object.clone());
                chosen.insert(id, (path, located.line));
            }
        }
        for (path, guess) in self.files.iter().filter_map(|(path, file)| Some((path, file.guess.as_ref()?))) {
            for object in guess.policies(path, &objects.ingresses) {
                let id = object.reference();
                let known = before.get(&id).filter(|known| known.is_equal(&object)).cloned();
                changed |= known.is_none();
                let object = known.unwrap_or(object);
                object.insert_into(&mut objects, &id);
                self.live.insert(id, object);
            }
        }
        changed |= before.len() != self.live.len();
        let notes: Vec<_> = self.files.values().flat_map(|file| file.notes.iter().cloned()).collect();
        changed |= problems != self.view.problems || notes != self.view.notes;
        self.view = Arc::new(View { objects, problems, notes });
        changed
    }
}

impl File {
    /// This file after a reading that gave `parsed`.
    fn parsed(&self, path: &Path, parsed: Parsed) -> File {
        let mut file = File { notes: parsed.notes, ..File::default() };
        for located in parsed.objects {
            let id = located.object.reference();
            match file.objects.get(&id) {
                None => drop(file.objects.insert(id, located)),
                Some(first) => file.problems.push(duplicate(path, &id, located.line, path, first.line)),
            }
        }
        file.problems.extend(parsed.flaws);
        for problem in parsed.problems {
            file.keep(self, problem);
        }
        file
    }

    /// Takes over from `old` what a broken document means.
    fn keep(&mut self, old: &File, mut problem: SourceProblem) {
        let meant = problem.object.as_ref();
        let kept: Vec<_> = old
            .objects
            .iter()
            .filter(|(id, _)| meant.is_none_or(|meant| *id == meant) && !self.objects.contains_key(*id))
            .map(|(id, located)| (id.clone(), located.clone()))
            .collect();
        problem.reason += match (kept.is_empty(), meant.is_some()) {
            (true, _) => "; it is left out",
            (false, true) => "; its last good version stays",
            (false, false) => "; what the file had before stays",
        };
        self.objects.extend(kept);
        self.problems.push(problem);
    }

    /// This file after a reading that failed; `guess` counts if there is nothing better.
    fn broken(&self, mut problem: SourceProblem, guess: Option<Guess>) -> File {
        let guess = guess.filter(|_| self.objects.is_empty());
        match (self.objects.len(), &guess) {
            (0, None) => problem.reason += "; the file is left out",
            (0, Some(_)) => problem.reason += "; the file is left out, and the Ingresses that it names answer 503",
            (count, _) => problem.reason += &format!("; its last good objects ({count}) stay"),
        }
        File { objects: self.objects.clone(), problems: vec![problem], notes: Vec::new(), guess }
    }
}

fn of_file(path: &Path, reason: String) -> SourceProblem {
    SourceProblem { file: path.display().to_string(), line: None, column: None, object: None, reason }
}

fn duplicate(path: &Path, id: &ObjectRef, line: usize, first: &Path, first_line: usize) -> SourceProblem {
    SourceProblem {
        file: path.display().to_string(),
        line: Some(line),
        column: None,
        object: Some(id.clone()),
        reason: format!("{}:{first_line} has the same object and comes first; this one is left out", first.display()),
    }
}

#[cfg(test)]
mod tests;
