//! Where hyper's tasks run: on the worker's own thread. A task that serves an HTTP/2 stream can be cut from outside,
//! which hyper has no call for: dropping its future resets the stream and leaves the connection alone.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task::spawn_local;

/// Runs what an HTTP/2 connection to a backend needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(async move { drop(future.await) });
    }
}

/// Runs the streams of HTTP/2 connections of clients, each with its [`Cut`].
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamExecutor;

impl<F: Future + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        // What a stream's task starts is the sending half of a tunnel, and cut with it.
        spawn_local(Stream { future, cut: Cut::current().unwrap_or_default() });
    }
}

/// Ends the task of one stream.
#[derive(Debug, Default)]
pub(super) struct Cut {
    due: Cell<bool>,
    task: RefCell<Option<Waker>>,
}

thread_local! {
    /// The stream whose task is being polled.
    static CURRENT: RefCell<Option<Rc<Cut>>> = const { RefCell::new(None) };
}

impl Cut {
    /// That of the stream whose task calls; `None` outside of one.
    pub(super) fn current() -> Option<Rc<Cut>> {
        CURRENT.with_borrow(Clone::clone)
    }

    pub(super) fn now(&self) {
        self.due.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn remember(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

pin_project! {
    struct Stream<F> {
        #[pin]
        future: F,
        cut: Rc<Cut>,
    }
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stream = self.project();
        if stream.cut.due.get() {
            return Poll::Ready(());
        }
        stream.cut.remember(cx.waker());
        let _current = Current::enter(stream.cut.clone());
        stream.future.poll(cx).map(drop)
    }
}

/// Holds while a stream's task is polled, also if that panics.
struct Current;

impl Current {
    fn enter(cut: Rc<Cut>) -> Self {
        CURRENT.set(Some(cut));
        Current
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
