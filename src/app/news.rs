//! Tells the application log what is wrong with objects: each problem once when it appears, once when it is gone. A
//! problem that stays is not told again by every translation. What is wrong with files is told by the source.

use std::collections::BTreeSet;

use crate::translate::{ObjectRef, Problem, Reason, Report};

/// A problem and the object that has it.
type Finding = (ObjectRef, Problem);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct News {
    told: BTreeSet<Finding>,
}

impl News {
    /// `reports` are all of the newest translation.
    pub(super) fn tell(&mut self, reports: &[Report]) {
        let (new, gone) = self.since_last(reports);
        // Meant for somebody else, most likely: in a shared cluster these are many.
        let is_other = |(_, problem): &&Finding| problem.reason == Reason::OtherClass;
        if let Some((object, problem)) = new.iter().find(is_other) {
            let objects = new.iter().filter(is_other).count();
            tracing::info!(objects, first = %object, "of other classes: {}", problem.message);
        }
        for finding @ (object, Problem { field, reason, message, .. }) in &new {
            match is_other(&finding) {
                true => tracing::debug!(%object, field, ?reason, "{message}"),
                false => tracing::warn!(%object, field, ?reason, "{message}"),
            }
        }
        for finding @ (object, Problem { field, reason, message, .. }) in &gone {
            match is_other(&finding) {
                true => tracing::debug!(%object, field, ?reason, "no longer: {message}"),
                false => tracing::info!(%object, field, ?reason, "no longer: {message}"),
            }
        }
    }

    /// What was not there the last time, and what is there no more.
    fn since_last(&mut self, reports: &[Report]) -> (Vec<Finding>, Vec<Finding>) {
        let of_one = |report: &Report| {
            let object = report.object.clone();
            report.problems.clone().into_iter().map(move |problem| (object.clone(), problem))
        };
        let now: BTreeSet<Finding> = reports.iter().flat_map(of_one).collect();
        let new = now.difference(&self.told).cloned().collect();
        let gone = self.told.difference(&now).cloned().collect();
        self.told = now;
        (new, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::ObjectKind;

    /// One object with these problems.
    fn report(messages: &[&str]) -> Report {
        let object = ObjectRef { kind: ObjectKind::Ingress, namespace: "n".into(), name: "i".into() };
        let problem = |message: &&str| Problem::new("", Reason::Invalid, *message);
        Report { object, problems: messages.iter().map(problem).collect() }
    }

    #[test]
    fn only_what_is_new_or_gone_is_told() {
        let mut news = News::default();
        let mut told = |messages: &[&str]| {
            let (new, gone) = news.since_last(&[report(messages)]);
            let texts = |findings: Vec<Finding>| findings.into_iter().map(|(_, problem)| problem.message).collect();
            (texts(new), texts(gone))
        };
        let texts = |list: &[&str]| -> Vec<String> { list.iter().map(|text| text.to_string()).collect() };
        assert_eq!(told(&["a", "b"]), (texts(&["a", "b"]), texts(&[])));
        assert_eq!(told(&["b", "c"]), (texts(&["c"]), texts(&["a"])));
        assert_eq!(told(&["b", "c"]), (texts(&[]), texts(&[])));
        assert_eq!(told(&[]), (texts(&[]), texts(&["b", "c"])));
    }
}
