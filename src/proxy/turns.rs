//! Work that takes a worker long, one piece at a time: between two pieces everybody else has a turn.
//!
//! TLS handshakes are such work, up to a millisecond for one signature. Of a thousand clients that say hello together each
//! is a task that is ready, and without turns all others of the worker would wait for all of them. Addresses have their
//! turns one after the other, so that one of them waits for itself, however much it brings.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tokio::sync::Semaphore;

use crate::tables::{ClientBits, client_bits};

/// Others are let through behind pieces that took this long together.
const LONG: Duration = Duration::from_micros(100);

/// Who works now holds the only permit, also while it lets others through. Nobody holds it who waits for a client.
#[derive(Debug)]
pub(super) struct Turns {
    turn: Semaphore,
    /// How long pieces took since others were let through.
    took: Cell<Duration>,
    /// Of each address that has work: of several pieces only the first stands in line for the turn.
    lines: RefCell<HashMap<ClientBits, Rc<Semaphore>, RandomState>>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Turns { turn: Semaphore::new(1), took: Cell::default(), lines: RefCell::default() }
    }

    /// What `work` for `client` gives. `waits` is told each time that another's turn is waited for.
    pub(super) async fn take<F: Future>(&self, client: IpAddr, work: F, waits: impl Fn()) -> F::Output {
        let line = Line::of(self, client_bits(client));
        let mut work = pin!(work);
        loop {
            let turn = match (line.first.try_acquire(), self.turn.try_acquire()) {
                (Ok(first), Ok(turn)) => (Ok(first), Ok(turn)),
                missed => {
                    drop(missed);
                    waits();
                    let first = line.first.acquire().await;
                    (first, self.turn.acquire().await)
                }
            };
            let began = Instant::now();
            let polled = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
            let took = self.took.get() + began.elapsed();
            let long = took >= LONG;
            self.took.set(if long { Duration::ZERO } else { took });
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

/// The line of one address. The last one who drops it takes it away.
struct Line<'a> {
    turns: &'a Turns,
    client: ClientBits,
    first: Rc<Semaphore>,
}

impl<'a> Line<'a> {
    fn of(turns: &'a Turns, client: ClientBits) -> Self {
        let mut lines = turns.lines.borrow_mut();
        let first = lines.entry(client).or_insert_with(|| Rc::new(Semaphore::new(1))).clone();
        Line { turns, client, first }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // Ours and that of the map.
        if Rc::strong_count(&self.first) == 2 {
            self.turns.lines.borrow_mut().remove(&self.client);
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
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    /// A piece of work: it keeps the worker busy, as a signature does, and does not wait.
    async fn busy(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {}
    }

    async fn long() {
        busy(LONG).await;
    }

    /// Turns that others have beside so many pieces of this length, and how often one of these waited.
    async fn beside(pieces: usize, time: Duration) -> (usize, usize) {
        let turns = Rc::new(Turns::new());
        let waited = Rc::new(Cell::new(0));
        let work = async {
            let tasks: Vec<_> = (0..pieces)
                .map(|_| {
                    let (turns, waited) = (turns.clone(), waited.clone());
                    spawn_local(async move { turns.take(ONE, busy(time), || waited.set(waited.get() + 1)).await })
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
        (others, waited.get())
    }

    #[tokio::test]
    async fn others_have_a_turn_between_two_pieces() {
        let (others, waited) = beside(50, LONG).await;
        assert!(others >= 50, "{others} turns of others");
        assert_eq!(waited, 49);
    }

    #[tokio::test]
    async fn others_have_a_turn_behind_many_short_pieces() {
        let (others, _) = beside(200, LONG / 4).await;
        assert!(others >= 50, "{others} turns of others");
    }

    #[tokio::test]
    async fn who_waits_for_something_else_holds_nobody() {
        let turns = Rc::new(Turns::new());
        let work = async {
            let silent = turns.clone();
            spawn_local(async move { silent.take(ONE, std::future::pending::<()>(), || panic!("nobody works")).await });
            for _ in 0..10 {
                turns.take(ONE, long(), || panic!("nobody works")).await;
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
        tokio::time::timeout(Duration::from_secs(30), turns.take(ONE, work, || ())).await.expect("it goes on");
    }

    #[tokio::test]
    async fn addresses_have_turns_one_after_the_other() {
        let of = |network: u16, host: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host));
        let turns = Rc::new(Turns::new());
        let done = Rc::new(RefCell::new(Vec::new()));
        let work = async {
            let clients = (0..50).map(|host| (1, host)).chain((0..3).map(|host| (2, host))).chain([(3, 0)]);
            let tasks: Vec<_> = clients
                .map(|(network, host)| {
                    let (turns, done) = (turns.clone(), done.clone());
                    spawn_local(async move {
                        turns.take(of(network, host), long(), || ()).await;
                        done.borrow_mut().push(network);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        };
        LocalSet::new().run_until(work).await;
        let last = |network| done.borrow().iter().rposition(|other| *other == network).unwrap();
        assert!(last(3) < 5 && last(2) < 10, "{:?}", done.borrow());
        assert_eq!(done.borrow().len(), 54);
        assert!(turns.lines.borrow().is_empty());
    }
}
