//! What cannot be read of the cluster, or written to it, at present.

use std::collections::BTreeMap;

use kube::runtime::watcher;

use crate::source::folder::SourceProblem;
use crate::translate::ObjectRef;

/// By kind, by object, and by what is to be written.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    kinds: BTreeMap<String, String>,
    objects: BTreeMap<ObjectRef, String>,
    writing: BTreeMap<String, String>,
}

impl Troubles {
    /// `true`: that was not so before.
    pub(super) fn set(&mut self, kind: &str, trouble: Option<String>) -> bool {
        change(&mut self.kinds, kind.to_owned(), trouble)
    }

    /// `true`: that was not so before.
    pub(super) fn set_object(&mut self, object: ObjectRef, trouble: Option<String>) -> bool {
        change(&mut self.objects, object, trouble)
    }

    /// `true`: that was not so before.
    pub(super) fn set_writing(&mut self, what: &str, trouble: Option<String>) -> bool {
        change(&mut self.writing, what.to_owned(), trouble)
    }

    /// Whether something stops this kind, or a part of it, from being read.
    pub(super) fn of(&self, kind: &str) -> bool {
        self.kinds.keys().any(|what| what.split(' ').next() == Some(kind))
    }

    /// What cannot be written.
    pub(super) fn of_writing(&self) -> Vec<SourceProblem> {
        self.writing.iter().map(|(what, reason)| problem(None, format!("{what}: {reason}"))).collect()
    }

    /// What cannot be read.
    pub(super) fn of_reading(&self) -> Vec<SourceProblem> {
        let kinds = self.kinds.iter().map(|(kind, reason)| problem(None, format!("{kind}: {reason}")));
        let objects = self.objects.iter().map(|(object, reason)| problem(Some(object), reason.clone()));
        kinds.chain(objects).collect()
    }
}

fn problem(object: Option<&ObjectRef>, reason: String) -> SourceProblem {
    SourceProblem { file: "the API server".to_owned(), line: None, column: None, object: object.cloned(), reason }
}

fn change<K: Ord>(troubles: &mut BTreeMap<K, String>, key: K, trouble: Option<String>) -> bool {
    match trouble {
        Some(trouble) => troubles.insert(key, trouble.clone()) != Some(trouble),
        None => troubles.remove(&key).is_some(),
    }
}

/// What an error of a watch means to the one who runs the cluster.
pub(super) fn explained(error: &watcher::Error, resource: &str) -> String {
    let verb = if matches!(error, watcher::Error::InitialListFailed(_)) { "list" } else { "watch" };
    match status(error) {
        Some(403) => format!(
            "the API server does not let this account {verb} them; grant it list and watch on {resource} \
             (the chart does)"
        ),
        Some(404) => {
            format!("the cluster has no {resource}; install the definition: headgate crds | kubectl apply -f -")
        }
        _ => chain(error),
    }
}

/// The status that the API server answered with.
pub(super) fn status(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status)) => Some(status.code),
        WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// An error and what led to it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
