//! What an exchange waits for, since when, and when that is too long. Noted as bytes move, looked at by the worker's tick.

use std::cell::Cell;
use std::time::Duration;

use http::Version;

use super::Exchange;
use crate::proxy::clock::{Millis, millis, passed};
use crate::proxy::error::ProxyError;
use crate::snapshot::RoutePolicy;

/// A slow body must reach `--min-body-rate` over the time that it was waited for, once that is longer than this; then over
/// each stretch of `--body-idle-timeout`, so that what came fast at first does not count for ever.
const BODY_RATE_AFTER: Duration = Duration::from_secs(10);

/// A request whose answer has begun and is not over after this time may go on for hours.
const LONG: Duration = Duration::from_secs(1);

/// Of an answer, while memory is looked at closely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pause {
    #[default]
    No,
    Yes,
    /// Until it is polled.
    Over,
}

/// Since when each is waited for; 0: not now.
#[derive(Default)]
pub(super) struct Waits {
    /// When the request has to be over; 0: never.
    deadline: Cell<Millis>,
    /// Longest silence of the backend; `None`: as long as it likes (gRPC, tunnels).
    backend_silence: Cell<Option<Duration>>,
    /// Bytes of the request body.
    client: Cell<Millis>,
    /// Bytes of the backend.
    pub(super) backend: Cell<Millis>,
    /// Room for the response.
    room: Cell<Millis>,
    /// That the backend takes more of the request body.
    sending: Cell<Millis>,
    /// That there is memory for more of the answer.
    pause: Cell<Pause>,
    /// How long the request body was waited for so far.
    body_waited: Cell<Millis>,
    /// Its bytes, and how long it was waited for, when its rate was last found to do.
    rated: Cell<(u64, Millis)>,
}

impl Waits {
    /// The route's deadline counts from `now` on.
    pub(super) fn hold_to(&self, policy: &RoutePolicy, now: Millis) {
        self.deadline.set(policy.request_timeout.map_or(0, |limit| now + millis(limit)));
    }

    /// Whether no more of the answer may be taken for lack of memory. That it was let go on counts once.
    pub(super) fn pauses(&self, has_room: impl FnOnce() -> bool) -> bool {
        if self.pause.get() == Pause::Over {
            self.pause.set(Pause::No);
        } else if self.pause.get() == Pause::No && !has_room() {
            self.pause.set(Pause::Yes);
            self.room.set(0);
        }
        self.pause.get() == Pause::Yes
    }

    /// A backend will be waited for; `endless`: however long it is silent.
    pub(super) fn expect_of(&self, policy: &RoutePolicy, endless: bool) {
        self.backend_silence.set(Some(policy.idle_timeout).filter(|_| !endless));
    }
}

impl Exchange {
    /// Fails the exchange if something was waited for too long. Called by the worker's tick, also after that: nothing of a
    /// failed exchange is polled while its client takes nothing.
    pub(in crate::proxy) fn check(&self, now: Millis) {
        if self.failure().is_none()
            && let Some(error) = self.overdue(now)
        {
            if error == ProxyError::ResponseTimeout || error == ProxyError::RequestDeadline && self.awaits_backend() {
                self.backend_failed(error);
            }
            self.fail(error);
        }
        let stuck = passed(self.waits.room.get(), self.connection.worker.write_timeout(), now);
        // A stream waits for its turn where the connection as a whole is slow.
        if self.is_http2() && stuck && !self.connection.is_blocked() {
            self.fail(ProxyError::ClientGone);
            self.cut();
        }
        if self.waits.pause.get() == Pause::Yes && self.connection.worker.shared.memory.has_room() {
            self.waits.pause.set(Pause::Over);
            self.wake();
        }
        let answers = self.status.get() != 0;
        if answers && passed(self.connection.worker.clock.at(self.start), LONG, now) {
            self.let_go();
        }
    }

    fn overdue(&self, now: Millis) -> Option<ProxyError> {
        let deadline = self.waits.deadline.get();
        if deadline != 0 && now >= deadline {
            Some(ProxyError::RequestDeadline)
        } else if !self.is_http2() && self.client_is_too_slow(now) {
            Some(ProxyError::RequestTimeout)
        } else if !self.backend_is_too_slow(now) {
            None
        } else if !self.owes_body() {
            Some(ProxyError::ResponseTimeout)
        } else {
            // HTTP/1.1 has its own limit for that, above.
            self.is_http2().then_some(ProxyError::RequestTimeout)
        }
    }

    fn is_http2(&self) -> bool {
        self.head.version == Version::HTTP_2
    }

    /// It is the backend's turn, so that a deadline that passes is its failure.
    fn awaits_backend(&self) -> bool {
        (self.waits.backend.get() != 0 || self.waits.sending.get() != 0) && !self.owes_body()
    }

    /// The client keeps back its request body, so that a backend without an answer is not to blame.
    fn owes_body(&self) -> bool {
        self.waits.client.get() != 0 && self.status.get() == 0
    }

    /// It is silent for too long, or takes nothing of the request body.
    fn backend_is_too_slow(&self, now: Millis) -> bool {
        let policy = self.route().map(|route| &route.policy);
        self.waits.backend_silence.get().is_some_and(|limit| passed(self.waits.backend.get(), limit, now))
            || policy.is_some_and(|policy| passed(self.waits.sending.get(), policy.send_timeout, now))
    }

    /// Nothing of the request body came for too long, or too little of it.
    fn client_is_too_slow(&self, now: Millis) -> bool {
        let limits = &self.connection.worker.shared.limits;
        let since = self.waits.client.get();
        let waited = self.waits.body_waited.get() + if since == 0 { 0 } else { now.saturating_sub(since) };
        if passed(since, limits.body_idle_timeout, now) {
            return true;
        }
        let (bytes, until) = self.waits.rated.get();
        let stretch = if until == 0 { BODY_RATE_AFTER } else { limits.body_idle_timeout.max(BODY_RATE_AFTER) };
        if since == 0 || waited - until <= millis(stretch) {
            return false;
        }
        self.waits.rated.set((self.received.get(), waited));
        (self.received.get() - bytes).saturating_mul(1000) < limits.min_body_rate.saturating_mul(waited - until)
    }

    /// More of the request body is waited for.
    pub(in crate::proxy) fn waits_for_client(&self) {
        self.waits.sending.set(0);
        if self.waits.client.get() == 0 {
            self.waits.client.set(self.now());
        }
    }

    /// A part of the request body came, which goes to the backend now.
    pub(in crate::proxy) fn client_sent(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        let now = self.now();
        let since = self.waits.client.replace(0);
        self.waits.sending.set(now);
        if since != 0 {
            self.waits.body_waited.set(self.waits.body_waited.get() + now.saturating_sub(since));
        }
        if self.waits.backend.get() != 0 {
            self.waits.backend.set(now);
        }
    }

    /// No more of the request body is waited for or sent.
    pub(in crate::proxy) fn body_ended(&self, complete: bool) {
        self.waits.client.set(0);
        self.waits.sending.set(0);
        self.body_complete.set(self.body_complete.get() || complete);
    }

    pub(in crate::proxy) fn waits_for_backend(&self) {
        if self.waits.backend.get() == 0 {
            self.waits.backend.set(self.now());
            self.waits.room.set(0);
        }
    }

    /// A part of the response came, which goes to the client now.
    pub(in crate::proxy) fn backend_sent(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
        self.waits.backend.set(0);
        self.waits.room.set(self.now());
    }

    /// The exchange became a tunnel: no deadline, no silence counts any more.
    pub(in crate::proxy) fn becomes_tunnel(&self) {
        self.let_go();
        self.waits.deadline.set(0);
        self.waits.backend_silence.set(None);
        self.waits.client.set(0);
        self.waits.room.set(0);
        self.waits.sending.set(0);
    }
}
