//! How long a change waits for Secrets that it is the first to ask for, so that a new host is not shown without its
//! certificate. Pure; the clock is an argument.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::snapshot::Reference;

/// While Secrets cannot be read, other changes must still go live.
const PATIENCE: Duration = Duration::from_secs(2);

/// The newest Secrets that are waited for.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    secrets: Arc<BTreeSet<Reference>>,
    until: Option<Instant>,
}

impl Lookups {
    /// Whether a change that asks for `secrets` may wait for them. `are_known`: all of them were looked up.
    pub(super) fn may_wait(&mut self, secrets: &Arc<BTreeSet<Reference>>, are_known: bool, now: Instant) -> bool {
        if are_known {
            self.until = None;
        } else if self.until.is_none() && self.secrets != *secrets {
            // Counts from the oldest wish: those that come meanwhile do not lengthen it.
            self.until = Some(now + PATIENCE);
        }
        self.secrets = secrets.clone();
        self.pass(now);
        self.until.is_some()
    }

    /// A wait that is over is no wait any more.
    pub(super) fn pass(&mut self, now: Instant) {
        self.until = self.until.filter(|until| now < *until);
    }

    /// When the wait is over.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(names: &[&str]) -> Arc<BTreeSet<Reference>> {
        Arc::new(names.iter().map(|name| Reference::new("n", *name)).collect())
    }

    #[test]
    fn new_secrets_are_waited_for_once() {
        let start = Instant::now();
        let mut lookups = Lookups::default();
        assert!(lookups.may_wait(&secrets(&["a"]), false, start));
        assert_eq!(lookups.until(), Some(start + PATIENCE));
        assert!(lookups.may_wait(&secrets(&["a"]), false, start + PATIENCE / 2), "another change, the same Secrets");
        assert!(lookups.may_wait(&secrets(&["a", "x"]), false, start + PATIENCE / 2), "more are asked for meanwhile");
        assert_eq!(lookups.until(), Some(start + PATIENCE), "which does not lengthen the wait");
        assert!(!lookups.may_wait(&secrets(&["a", "x"]), false, start + PATIENCE));
        assert_eq!(lookups.until(), None);
        assert!(!lookups.may_wait(&secrets(&["a", "x"]), false, start + PATIENCE * 2), "they were given up");
        assert!(lookups.may_wait(&secrets(&["a", "b"]), false, start + PATIENCE * 2), "more are asked for");
    }

    #[test]
    fn what_is_known_is_not_waited_for() {
        let start = Instant::now();
        let mut lookups = Lookups::default();
        assert!(!lookups.may_wait(&secrets(&["a"]), true, start));
        assert!(lookups.may_wait(&secrets(&["b"]), false, start));
        assert!(!lookups.may_wait(&secrets(&["b"]), true, start));
        assert_eq!(lookups.until(), None);
    }
}
