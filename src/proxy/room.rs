//! Whom a worker closes where `--max-connections` are open and another comes: who never asked for anything, the oldest
//! first, then who has asked for nothing for the longest time. Nobody whose request is in flight. A worker knows of its own
//! connections only.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

use super::clock::{Millis, TICK, passed};
use super::connection::Connection;

#[derive(Default)]
pub(super) struct Room {
    /// Connections in the order in which they came; those that have asked leave with the next tick.
    silent: RefCell<VecDeque<Silent>>,
    /// Connections that were idle when they were last looked at, the one that was so for the longest time last.
    idle: RefCell<Vec<Weak<Connection>>>,
    looked: Cell<Millis>,
}

struct Silent {
    /// Whether the connection has asked for something; gone with it.
    asked: std::sync::Weak<AtomicBool>,
    task: AbortHandle,
}

impl Silent {
    fn is_silent(&self) -> bool {
        self.asked.upgrade().is_some_and(|asked| !asked.load(Ordering::Relaxed))
    }
}

impl Room {
    /// `task` serves a connection that has not `asked` for anything.
    pub(super) fn came(&self, asked: &Arc<AtomicBool>, task: AbortHandle) {
        self.silent.borrow_mut().push_back(Silent { asked: Arc::downgrade(asked), task });
    }

    /// Forgets who has asked or is gone.
    pub(super) fn sweep(&self) {
        self.silent.borrow_mut().retain(Silent::is_silent);
    }

    /// Closes one of `connections` or of those that never asked. False: there is none.
    pub(super) fn make(&self, connections: &[Weak<Connection>], now: Millis) -> bool {
        let mut silent = self.silent.borrow_mut();
        while let Some(oldest) = silent.pop_front() {
            if oldest.is_silent() {
                oldest.task.abort();
                return true;
            }
        }
        if self.close_idle() {
            return true;
        }
        // Not for each that comes: there may be many connections.
        if self.looked.get() != 0 && !passed(self.looked.get(), TICK, now) {
            return false;
        }
        self.looked.set(now);
        let since = |connection: &Weak<Connection>| Some((connection.upgrade()?.idle_since()?, connection.clone()));
        let mut idle: Vec<_> = connections.iter().filter_map(since).collect();
        idle.sort_unstable_by_key(|(since, _)| Reverse(*since));
        self.idle.replace(idle.into_iter().map(|(_, connection)| connection).collect());
        self.close_idle()
    }

    fn close_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        // Who has asked meanwhile is not the one.
        let is_still =
            |connection: &Rc<Connection>| connection.idle_since().is_some_and(|since| since <= self.looked.get());
        while let Some(longest) = idle.pop() {
            if let Some(connection) = longest.upgrade().filter(is_still) {
                connection.make_room();
                return true;
            }
        }
        false
    }
}
