//! What is served while a thread watches it: what a folder and a file have in common. Each has a `watch` of its own, which
//! decides when to look and what has changed.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use tokio::sync::watch::Receiver;

/// Silence after which what was written counts as complete.
pub(super) const QUIET: Duration = Duration::from_millis(20);
/// The same for what may be half written: it is broken, loses something, or somebody has it open for writing.
pub(super) const QUIET_IN_DOUBT: Duration = Duration::from_millis(60);

/// What ends a thread's wait.
#[derive(Debug)]
pub(super) enum Wake {
    Event(notify::Result<notify::Event>),
    Reload,
    Stop,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Written,
    /// By one who could write.
    Closed,
    Touched,
    /// Came, went or got another name.
    Moved,
}

/// A view that a thread keeps. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watched<V> {
    /// What was adopted by the last [`Watched::changed`].
    view: Arc<V>,
    /// What the watching thread found since.
    views: Receiver<Arc<V>>,
    /// Tells the thread to read again or to end.
    wake: mpsc::Sender<Wake>,
}

/// The watching thread has ended: it met a bug, and changes are no longer seen.
#[derive(Debug, thiserror::Error)]
#[error("the thread that watches what is served has ended")]
pub struct WatchEnded;

impl Happening {
    /// `None`: nothing that could change what is read.
    pub(super) fn of(kind: EventKind) -> Option<Happening> {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) => Some(Happening::Written),
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Happening::Closed),
            EventKind::Modify(ModifyKind::Metadata(_)) => Some(Happening::Touched),
            EventKind::Access(_) => None,
            _ => Some(Happening::Moved),
        }
    }
}

impl<V> Watched<V> {
    /// Starts the thread that gives the views, until `wake` tells it to stop.
    pub(super) fn by(
        thread: &str,
        run: impl FnOnce() + Send + 'static,
        views: Receiver<Arc<V>>,
        wake: mpsc::Sender<Wake>,
    ) -> io::Result<Self> {
        let view = views.borrow().clone();
        std::thread::Builder::new().name(thread.into()).spawn(run)?;
        Ok(Watched { view, views, wake })
    }

    /// Waits until there is another view than this shows, and shows that. Nothing is lost if it is cancelled.
    pub async fn changed(&mut self) -> Result<(), WatchEnded> {
        self.views.changed().await.map_err(|_| WatchEnded)?;
        self.view = self.views.borrow_and_update().clone();
        Ok(())
    }

    /// Reads all of it again, changed or not; what that changes is told by [`Watched::changed`].
    pub fn reload(&self) {
        // If the thread has ended, `changed` says so.
        drop(self.wake.send(Wake::Reload));
    }

    pub fn view(&self) -> &Arc<V> {
        &self.view
    }
}

impl<V> Drop for Watched<V> {
    fn drop(&mut self) {
        drop(self.wake.send(Wake::Stop));
    }
}
