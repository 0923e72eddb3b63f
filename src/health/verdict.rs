//! Whether an endpoint is healthy, by the checks that passed and failed in a row. Pure; asked by `checks`.

use crate::snapshot::HealthCheck;

/// What is held of an endpoint at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    healthy: bool,
    /// Checks in a row that spoke against it.
    against: u32,
}

impl Verdict {
    pub(super) fn new(healthy: bool) -> Self {
        Verdict { healthy, against: 0 }
    }

    /// Takes one check into account. `true`: the endpoint is now what this check says, and was not before.
    pub(super) fn overturned(&mut self, passed: bool, check: &HealthCheck) -> bool {
        let needed = if self.healthy { check.unhealthy_threshold } else { check.healthy_threshold };
        self.against = if passed == self.healthy { 0 } else { self.against + 1 };
        let overturned = self.against >= needed;
        if overturned {
            *self = Verdict::new(passed);
        }
        overturned
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(healthy_threshold: u32, unhealthy_threshold: u32) -> HealthCheck {
        HealthCheck { healthy_threshold, unhealthy_threshold, ..HealthCheck::new("/".into(), None, None) }
    }

    /// `+` passed, `-` failed; gives the places at which the verdict was overturned.
    fn overturned(healthy: bool, check: &HealthCheck, checks: &str) -> Vec<usize> {
        let mut verdict = Verdict::new(healthy);
        let mut told = |passed: char| verdict.overturned(passed == '+', check);
        checks.chars().enumerate().filter(|(_, passed)| told(*passed)).map(|(place, _)| place).collect()
    }

    #[test]
    fn each_threshold_is_met_exactly_and_in_a_row() {
        let check = check(2, 3);
        for (healthy, checks, expected) in [
            (true, "--", vec![]),
            (true, "---", vec![2]),
            (true, "--+--", vec![]),
            (true, "--+---", vec![5]),
            (true, "---+", vec![2]),
            (true, "---++", vec![2, 4]),
            (true, "---+-+", vec![2]),
            (true, "---+-++--", vec![2, 6]),
            (true, "------", vec![2]),
            (false, "++++", vec![1]),
            (false, "+-+-", vec![]),
        ] {
            assert_eq!(overturned(healthy, &check, checks), expected, "{healthy} {checks}");
        }
    }

    proptest! {
        /// The last checks that agree decide, if they are as many as the threshold says.
        #[test]
        fn it_is_what_the_last_run_that_was_long_enough_says(
            healthy_threshold in 1u32..5, unhealthy_threshold in 1u32..5, checks in "[+-]{0,40}",
        ) {
            let check = check(healthy_threshold, unhealthy_threshold);
            let runs = [("+", true, healthy_threshold), ("-", false, unhealthy_threshold)];
            let last = runs.map(|(sign, healthy, threshold)| {
                (checks.rfind(&sign.repeat(threshold as usize)).map(|start| start + threshold as usize), healthy)
            });
            let (end, expected) = last.into_iter().max().unwrap();
            let flips = overturned(true, &check, &checks).len();
            prop_assert_eq!(flips.is_multiple_of(2), end.is_none() || expected, "{}", checks);
        }
    }
}
