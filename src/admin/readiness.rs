//! Whether the process should get traffic: not before all that was waited for is done, not after it began to leave.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `/readyz` answers from.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Conditions>);

#[derive(Debug, Default)]
struct Conditions {
    /// By number, in the order in which they came.
    waiting_for: BTreeMap<usize, Cow<'static, str>>,
    next: usize,
    leaving: bool,
}

/// One thing that has to happen before the process is ready. Dropping it undone, as when its task fails, leaves the
/// process unready: only [`Pending::done`] counts.
#[derive(Debug)]
#[must_use = "dropped undone, the process is never ready"]
pub struct Pending {
    readiness: Arc<Readiness>,
    number: usize,
}

impl Readiness {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The process is not ready before `what` is done. To be called for everything before the first of it is done.
    pub fn wait_for(self: &Arc<Self>, what: &'static str) -> Pending {
        let mut conditions = self.conditions();
        let number = conditions.next;
        conditions.next += 1;
        conditions.waiting_for.insert(number, what.into());
        Pending { readiness: self.clone(), number }
    }

    /// The process is not ready any more and will not be again.
    pub fn leave(&self) {
        self.conditions().leaving = true;
    }

    /// Ready, or the reason why not.
    pub fn check(&self) -> Result<(), String> {
        let conditions = self.conditions();
        if conditions.leaving {
            return Err("shutting down".to_owned());
        }
        // Before anything was ever waited for the process has only begun to start.
        if conditions.next == 0 {
            return Err("starting".to_owned());
        }
        match Vec::from_iter(conditions.waiting_for.values().map(AsRef::as_ref)).as_slice() {
            [] => Ok(()),
            waiting => Err(format!("waiting for {}", waiting.join(", "))),
        }
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Says more of what has to happen.
    pub fn is_for(&self, what: String) {
        if let Some(waiting) = self.readiness.conditions().waiting_for.get_mut(&self.number) {
            *waiting = what.into();
        }
    }

    pub fn done(self) {
        self.readiness.conditions().waiting_for.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(readiness: &Readiness) -> String {
        readiness.check().unwrap_err()
    }

    #[test]
    fn ready_only_when_all_that_was_waited_for_is_done() {
        let readiness = Readiness::new();
        assert_eq!(reason(&readiness), "starting");
        let (listeners, tables) = (readiness.wait_for("listeners"), readiness.wait_for("first tables"));
        assert_eq!(reason(&readiness), "waiting for listeners, first tables");
        listeners.done();
        assert_eq!(reason(&readiness), "waiting for first tables");
        tables.is_for("tables of Ingresses".to_owned());
        assert_eq!(reason(&readiness), "waiting for tables of Ingresses");
        tables.done();
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn what_fails_never_becomes_ready() {
        let readiness = Readiness::new();
        drop(readiness.wait_for("listeners"));
        assert_eq!(reason(&readiness), "waiting for listeners");
    }

    #[test]
    fn leaving_is_for_good() {
        let readiness = Readiness::new();
        let pending = readiness.wait_for("listeners");
        readiness.leave();
        pending.done();
        assert_eq!(reason(&readiness), "shutting down");
    }
}
