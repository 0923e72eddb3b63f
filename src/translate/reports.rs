//! Gathers problems by object while a translation runs.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{ObjectRef, Problem, Report};

/// Problems by object, each told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reports(BTreeMap<ObjectRef, BTreeSet<Problem>>);

impl Reports {
    pub(super) fn add(&mut self, object: ObjectRef, problem: Problem) {
        self.0.entry(object).or_default().insert(problem);
    }

    pub(super) fn extend(&mut self, object: &ObjectRef, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            self.add(object.clone(), problem);
        }
    }

    /// All of `other` on top of what is here.
    pub(super) fn merge(&mut self, other: &Reports) {
        for (object, problems) in &other.0 {
            self.0.entry(object.clone()).or_default().extend(problems.iter().cloned());
        }
    }

    pub(super) fn of(&self, object: &ObjectRef) -> impl Iterator<Item = &Problem> {
        self.0.get(object).into_iter().flatten()
    }

    /// Sorted by object, then by field.
    pub(super) fn into_vec(self) -> Vec<Report> {
        let reports = self.0.into_iter();
        reports.map(|(object, problems)| Report { object, problems: problems.into_iter().collect() }).collect()
    }
}
