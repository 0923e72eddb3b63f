//! What the application log says of the folder: each problem once when it comes, and once when it is over.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use tracing::{info, warn};

use super::files::View;
use super::problem::SourceProblem;

pub(super) fn opened(root: &Path, view: &View) {
    changed(&View::default(), view);
    info!(path = %root.display(), objects = view.count(), problems = view.problems.len(), "read the folder");
}

pub(super) fn reloaded(view: &View) {
    info!(objects = view.count(), problems = view.problems.len(), "read the folder again");
}

pub(super) fn changed(before: &View, after: &View) {
    for SourceProblem { file, line, column, object, reason } in new(&after.problems, &before.problems) {
        let object = object.as_ref().map(ToString::to_string);
        warn!(file, line, column, object, "{reason}");
    }
    for note in new(&after.notes, &before.notes) {
        info!(file = note.file, line = note.line, "{}", note.reason);
    }
    let files =
        |view: &View| -> BTreeSet<String> { view.problems.iter().map(|problem| problem.file.clone()).collect() };
    for file in files(before).difference(&files(after)) {
        info!(file, "nothing is wrong with it any longer");
    }
}

fn new<'a>(now: &'a [SourceProblem], before: &[SourceProblem]) -> impl Iterator<Item = &'a SourceProblem> {
    let before: HashSet<SourceProblem> = before.iter().cloned().collect();
    now.iter().filter(move |problem| !before.contains(problem))
}

pub(super) fn no_events(error: &notify::Error) {
    warn!("not every change of a file will be told by the system ({error}); they are polled");
}
