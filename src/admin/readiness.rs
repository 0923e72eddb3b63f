//! Whether the process should get traffic: not before all that was waited for is done, not after it began to leave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What `/readyz` answers from.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Conditions>);

#[derive(Debug, Default)]
struct Conditions {
    /// Something was ever waited for. Before that the process has only begun to start.
    begun: bool,
    waiting_for: Vec<&'static str>,
    leaving: bool,
}

/// One thing that has to happen before the process is ready. Dropping it undone, as when its task fails, leaves the
/// process unready: only [`Pending::done`] counts.
#[derive(Debug)]
#[must_use = "dropped undone, the process is never ready"]
pub struct Pending {
    readiness: Arc<Readiness>,
    what: &'static str,
}

impl Readiness {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The process is not ready before `what` is done. To be called for everything before the first of it is done.
    pub fn wait_for(self: &Arc<Self>, what: &'static str) -> Pending {
        let mut conditions = self.conditions();
        conditions.begun = true;
        conditions.waiting_for.push(what);
        Pending { readiness: self.clone(), what }
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
        if !conditions.begun {
            return Err("starting".to_owned());
        }
        match conditions.waiting_for.as_slice() {
            [] => Ok(()),
            waiting => Err(format!("waiting for {}", waiting.join(", "))),
        }
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    pub fn done(self) {
        let mut conditions = self.readiness.conditions();
        if let Some(place) = conditions.waiting_for.iter().position(|what| *what == self.what) {
            conditions.waiting_for.remove(place);
        }
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
