//! A worker goes round: it runs tasks that are ready, up to 61 of them ([`tokio::task::LocalSet`]), and asks the kernel who
//! else is. Of one connection only so much is read in a round. A peer that always has more to give would else keep its
//! task ready, and that be all that the worker runs.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::task::yield_now;

/// Bytes of a connection that are read in a round. A head of this size may take half a millisecond.
const MOST: usize = 64 << 10;

/// As many a read counts for at least, and a request however many there are in one.
const LEAST: usize = 4 << 10;

thread_local! {
    static ROUND: Cell<u64> = const { Cell::new(0) };
}

/// What of a round's bytes was read of a connection.
#[derive(Debug, Default)]
pub(super) struct Portion {
    round: u64,
    read: usize,
}

impl Portion {
    /// Waits for the next round where all of this one's was read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let round = ROUND.get();
        if self.round != round {
            *self = Portion { round, read: 0 };
        }
        if self.read < MOST {
            return Poll::Ready(());
        }
        next(cx);
        Poll::Pending
    }

    pub(super) fn took(&mut self, bytes: usize) {
        self.read += bytes.max(LEAST);
    }
}

/// Wakes the task in the next round. Woken by itself it would run again in this one.
pub(super) fn next(cx: &mut Context<'_>) {
    // At its first poll, which is all it gets, tokio notes the waker for behind the look at the kernel.
    let _: Poll<()> = pin!(yield_now()).poll(cx);
}

/// Counts rounds. `work` is what the worker's thread waits for: of all futures that one is polled once a round.
pub(super) async fn counted<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        ROUND.set(ROUND.get() + 1);
        work.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Always has something to read, `times` times so many bytes.
    async fn greedy(times: usize, bytes: usize) -> u64 {
        let (mut portion, began) = (Portion::default(), ROUND.get());
        for _ in 0..times {
            poll_fn(|cx| portion.poll(cx)).await;
            portion.took(bytes);
        }
        ROUND.get() - began
    }

    #[tokio::test]
    async fn a_portion_is_read_in_a_round() {
        for (times, bytes) in [(16 * 10, 0), (16 * 10, LEAST), (10, MOST), (10, 3 * MOST), (20, MOST / 2 + 1)] {
            let rounds = LocalSet::new().run_until(counted(async { spawn_local(greedy(times, bytes)).await })).await;
            assert_eq!(rounds.unwrap(), 9, "{times} times {bytes}");
        }
    }

    #[tokio::test]
    async fn the_kernel_is_asked_between_two_portions() {
        let (mut client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        let mut server = UnixStream::from_std(server).unwrap();
        client.write_all(b"x").unwrap();
        let work = async move {
            let greedy = spawn_local(greedy(16 * 1000, 0));
            let heard = spawn_local(async move { server.read_u8().await.unwrap() });
            heard.await.unwrap();
            assert!(!greedy.is_finished());
        };
        LocalSet::new().run_until(counted(work)).await;
    }
}
