//! What the operator asks of the running process, by signal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM: end, after telling load balancers and letting them see it.
    Leave,
    /// SIGINT, which is Ctrl-C: nobody balances load to a developer's terminal, so end without waiting to be seen.
    LeaveAtOnce,
    /// SIGHUP: read everything again.
    Reload,
    /// SIGUSR1: the access log was renamed, open it anew.
    ReopenAccessLog,
}

/// The signals that are taken from here on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    /// Needs a runtime around it.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next one. May be dropped before it is ready without losing a signal.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Leave,
            _ = self.interrupt.recv() => Asked::LeaveAtOnce,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.user1.recv() => Asked::ReopenAccessLog,
        }
    }
}
