//! From Kubernetes objects to a [`Snapshot`], and to a [`Report`] for every object that has something wrong.
//!
//! Pure and total: no I/O, no clock, no logging, no `Result`. What is wrong with an object is data.

mod objects;
mod options;
mod problem;

use crate::snapshot::Snapshot;

pub use objects::Objects;
pub use options::Options;
pub use problem::{ObjectKind, ObjectRef, Problem, Reason, Report};

/// What comes out of a translation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    pub snapshot: Snapshot,
    /// Only objects that have a problem, sorted by object.
    pub reports: Vec<Report>,
    /// Host names of ExternalName Services in use; the source resolves them into [`Objects::addresses`].
    pub names_to_resolve: std::collections::BTreeSet<String>,
}

/// Translates with memos carried from one call to the next, so that one changed object costs about one object.
#[derive(Default)]
pub struct Translator {}

impl Translator {
    pub fn translate(&mut self, objects: &Objects, options: &Options) -> Translation {
        todo!("{objects:?} {options:?}")
    }
}
