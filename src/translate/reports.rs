//! Gathers problems by object while a translation runs.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{ObjectRef, Problem, Reason, Report};

/// So many problems of one object are told, so that an object of thousands costs the others nothing: no time of each
/// translation, and no Events and lines of the log before which theirs have to wait.
const MOST: usize = 100;

/// Problems by object, each told once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reports(BTreeMap<ObjectRef, Told>);

/// The problems of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    problems: BTreeSet<Problem>,
    /// Not all of them are told.
    more: bool,
}

impl Reports {
    pub(super) fn add(&mut self, object: ObjectRef, problem: Problem) {
        self.extend(&object, [problem]);
    }

    /// Beyond the most that are told, no problem is asked for.
    pub(super) fn extend(&mut self, object: &ObjectRef, problems: impl IntoIterator<Item = Problem>) {
        if self.0.get(object).is_some_and(|told| told.more) {
            return;
        }
        for problem in problems {
            let told = self.0.entry(object.clone()).or_default();
            if told.problems.len() == MOST && !told.problems.contains(&problem) {
                told.more = true;
                return;
            }
            told.problems.insert(problem);
        }
    }

    /// All of `other` on top of what is here.
    pub(super) fn merge(&mut self, other: &Reports) {
        for (object, told) in &other.0 {
            self.extend(object, told.problems.iter().cloned());
            self.0.entry(object.clone()).or_default().more |= told.more;
        }
    }

    pub(super) fn of(&self, object: &ObjectRef) -> impl Iterator<Item = &Problem> {
        self.0.get(object).into_iter().flat_map(|told| &told.problems)
    }

    /// Sorted by object, then by field.
    pub(super) fn into_vec(self) -> Vec<Report> {
        let problems = |told: Told| told.more.then(more).into_iter().chain(told.problems).collect();
        self.0.into_iter().map(|(object, told)| Report { object, problems: problems(told) }).collect()
    }
}

/// What stands for those that are not told.
fn more() -> Problem {
    let message = format!("there are more problems than the {MOST} that are told; mend these, and the others follow");
    Problem::new("", Reason::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Reference;
    use crate::translate::problem::ObjectKind;

    fn object() -> ObjectRef {
        ObjectRef::new(ObjectKind::Ingress, &Reference::new("shop", "web"))
    }

    fn problem(number: usize) -> Problem {
        Problem::new(format!("{number:03}"), Reason::Invalid, "wrong")
    }

    #[test]
    fn a_hundred_problems_of_an_object_are_told_and_that_there_are_more() {
        for (of_object, told, first) in [(100, 100, "000"), (101, 101, ""), (5000, 101, "")] {
            let mut at_once = Reports::default();
            at_once.extend(&object(), (0..of_object).map(problem));
            let mut one_by_one = Reports::default();
            (0..of_object).for_each(|number| one_by_one.add(object(), problem(number)));
            let mut merged = Reports::default();
            merged.merge(&at_once);
            merged.merge(&one_by_one);
            for reports in [at_once, one_by_one, merged] {
                let problems = reports.into_vec().remove(0).problems;
                assert_eq!((problems.len(), problems[0].field.as_str()), (told, first), "of {of_object}");
            }
        }
    }

    #[test]
    fn a_problem_that_is_told_already_is_not_another_one() {
        let mut reports = Reports::default();
        reports.extend(&object(), (0..MOST).map(problem));
        reports.add(object(), problem(7));
        assert_eq!(reports.into_vec().remove(0).problems.len(), MOST);
    }

    #[test]
    fn beyond_the_most_none_is_made() {
        let mut made = 0;
        let mut reports = Reports::default();
        for _ in 0..2 {
            reports.extend(&object(), (0..5000).map(problem).inspect(|_| made += 1));
            assert_eq!(made, MOST + 1);
        }
    }
}
