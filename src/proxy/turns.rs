//! Work that takes a worker long, one piece at a time: between two pieces everybody else has a turn.
//!
//! TLS handshakes are such work, up to a millisecond for one signature. Of a thousand clients that say hello together each
//! is a task that is ready, and without turns all others of the worker would wait for all of them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Others are let through behind a piece that took this long.
const LONG: Duration = Duration::from_micros(100);

/// Who works now holds the only permit, also while it lets others through. Nobody holds it who waits for a client.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new() -> Self {
        Turns(Semaphore::new(1))
    }

    /// What `work` gives. `waits` is told each time that another's turn is waited for.
    pub(super) async fn take<F: Future>(&self, work: F, waits: impl Fn()) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = match self.0.try_acquire() {
                Ok(turn) => Ok(turn),
                Err(_) => {
                    waits();
                    self.0.acquire().await
                }
            };
            let began = Instant::now();
            let polled = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            let long = began.elapsed() >= LONG;
            if long {
                tokio::task::yield_now().await;
            }
            drop(turn);
            match polled {
                Poll::Ready(output) => return output,
                // What woke this task while others were let through may have been meant for the work.
                Poll::Pending if long => {}
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Until the task is woken again.
async fn woken() {
    let mut slept = false;
    poll_fn(|_| if std::mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    /// A piece of work: it keeps the worker busy, as a signature does, and does not wait.
    async fn long() {
        std::thread::sleep(LONG);
    }

    #[tokio::test]
    async fn others_have_a_turn_between_two_pieces() {
        let turns = Rc::new(Turns::new());
        let waited = Rc::new(Cell::new(0));
        let work = async {
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let (turns, waited) = (turns.clone(), waited.clone());
                    spawn_local(async move { turns.take(long(), || waited.set(waited.get() + 1)).await })
                })
                .collect();
            let mut others = 0;
            while !tasks.iter().all(|task| task.is_finished()) {
                yield_now().await;
                others += 1;
            }
            others
        };
        let others = LocalSet::new().run_until(work).await;
        assert!(others >= 50, "{others} turns of others");
        assert_eq!(waited.get(), 49);
    }

    #[tokio::test]
    async fn who_waits_for_something_else_holds_nobody() {
        let turns = Rc::new(Turns::new());
        let work = async {
            let silent = turns.clone();
            spawn_local(async move { silent.take(std::future::pending::<()>(), || panic!("nobody works")).await });
            for _ in 0..10 {
                turns.take(long(), || panic!("nobody works")).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), LocalSet::new().run_until(work)).await.expect("it goes on");
    }

    #[tokio::test]
    async fn work_that_is_woken_while_others_are_let_through_goes_on() {
        let turns = Turns::new();
        let work = async {
            for _ in 0..20 {
                long().await;
                yield_now().await;
                long().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), turns.take(work, || ())).await.expect("it goes on");
    }
}
