//! HTTP/2 connections to an endpoint are opened one at a time by a worker: who comes meanwhile waits for the one under
//! way, and joins it. Where the endpoint lets the open one carry nothing, everyone waits for that to change. Called by
//! `connect`, which bounds the waiting; what is open already is the pool's.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use super::pool::{Sender, Shared};
use super::worker::Worker;
use crate::tables::LiveEndpoint;

/// A connection that is being opened.
#[derive(Default)]
pub(super) struct Opening {
    outcome: RefCell<Outcome>,
    over: Notify,
}

#[derive(Clone, Default)]
enum Outcome {
    Opened(Shared),
    /// Whoever waited has failed as well.
    Failed(Failed),
    /// Not yet known; or, once it is over, the opener went away or ran out of its time: another one is to try.
    #[default]
    Unknown,
}

/// What can be told of an error to more than one.
#[derive(Clone, Copy)]
struct Failed {
    code: Option<i32>,
    kind: io::ErrorKind,
}

/// A connection to `endpoint` that is new: the one that is being opened, or else what `open` gives.
pub(super) async fn join<F: Future<Output = io::Result<Shared>>>(
    worker: &Rc<Worker>,
    endpoint: &Arc<LiveEndpoint>,
    open: impl FnOnce() -> F,
) -> io::Result<Sender> {
    loop {
        if let Some(opening) = worker.pools.opening(endpoint) {
            match opening.over().await {
                Outcome::Opened(shared) if shared.takes_more() => return Ok(shared.join(worker)),
                Outcome::Failed(failed) => return Err(failed.error()),
                Outcome::Opened(_) | Outcome::Unknown => {}
            }
        } else if let Some(allowance) = worker.pools.held_back(endpoint) {
            allowance.changed().await;
            if let Some(sender) = worker.pools.join(worker, endpoint) {
                return Ok(sender);
            }
        } else {
            break;
        }
    }
    let opener = Opener::begin(worker, endpoint);
    let opened = open().await;
    let outcome = match &opened {
        Ok(shared) => Outcome::Opened(shared.clone()),
        Err(error) => Outcome::Failed(Failed { code: error.raw_os_error(), kind: error.kind() }),
    };
    opener.opening.outcome.replace(outcome);
    // Before the others are woken, for there may be more of them than fit.
    opened.map(|shared| {
        worker.pools.share(endpoint, shared.clone());
        shared.join(worker)
    })
}

impl Opening {
    async fn over(&self) -> Outcome {
        self.over.notified().await;
        self.outcome.borrow().clone()
    }
}

impl Failed {
    fn error(self) -> io::Error {
        self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

/// Who opens. Dropping it ends the opening for all, however it went.
struct Opener<'a> {
    worker: &'a Worker,
    endpoint: &'a Arc<LiveEndpoint>,
    opening: Rc<Opening>,
}

impl<'a> Opener<'a> {
    fn begin(worker: &'a Worker, endpoint: &'a Arc<LiveEndpoint>) -> Self {
        let opening = Rc::<Opening>::default();
        worker.pools.opens(endpoint, Some(opening.clone()));
        Opener { worker, endpoint, opening }
    }
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.worker.pools.opens(self.endpoint, None);
        self.opening.over.notify_waiters();
    }
}
