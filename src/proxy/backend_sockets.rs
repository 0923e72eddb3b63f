//! How many connections to backends the process may hold: as many as the limit of open files leaves beside all the
//! clients that may come. One HTTP/2 client can ask for a hundred of them; without a bound of their own they would take
//! the descriptors by which new clients are accepted.
//!
//! The limit is `app`'s (`descriptors`); `connect` takes a [`Place`] before it opens a socket, and who holds the
//! connection holds the place.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::worker::Worker;
use crate::telemetry::Seldom;

/// All connections to backends. One per process.
#[derive(Debug)]
pub(super) struct BackendSockets {
    most: usize,
    /// Undone by dropping [`Place`].
    open: AtomicUsize,
    warning: Seldom,
}

/// One connection to a backend. Dropping it gives its place to another.
#[derive(Debug)]
pub(super) struct Place(Arc<BackendSockets>);

/// A place for one connection more; what is idle in this worker makes room. The error is that of a process without a
/// descriptor.
pub(super) fn place(worker: &Worker) -> io::Result<Place> {
    let sockets = &worker.shared.backend_sockets;
    let place = sockets.take().or_else(|| {
        worker.pools.sweep(worker.clock.now(), Duration::ZERO);
        sockets.take()
    });
    place.ok_or_else(|| {
        if let Some(times) = sockets.warning.occurred(Instant::now()) {
            let open = sockets.most;
            tracing::warn!(
                open,
                times,
                "no connection to a backend: the other open files are kept for clients; raise the limit (ulimit -n)"
            );
        }
        Errno::MFILE.into()
    })
}

impl BackendSockets {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(BackendSockets { most, open: AtomicUsize::new(0), warning: Seldom::new() })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let below = |open: usize| (open < self.most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, below).ok().map(|_| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_the_limit_says_and_each_comes_back() {
        let sockets = BackendSockets::new(2);
        let places = [sockets.take().unwrap(), sockets.take().unwrap()];
        assert!(sockets.take().is_none());
        drop(places);
        assert!(sockets.take().is_some());
    }
}
