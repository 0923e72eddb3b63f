//! When the next request is due. Without a rate: at once. With one: at its time, and what it takes is counted from that
//! time, also if no connection was free then; a proxy that stalls is not spared the requests that came meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) struct Pace {
    end: Instant,
    rate: Option<f64>,
    due: RefCell<VecDeque<Instant>>,
    /// One permit for each entry of `due`; closed at the end.
    ready: Semaphore,
}

impl Pace {
    pub(crate) fn new(rate: Option<f64>, length: Duration) -> Self {
        Self { end: Instant::now() + length, rate, due: RefCell::default(), ready: Semaphore::new(0) }
    }

    /// The time from which the next request counts, when it may be sent; none at the end.
    pub(crate) async fn turn(&self) -> Option<Instant> {
        if self.rate.is_none() {
            let now = Instant::now();
            return (now < self.end).then_some(now);
        }
        self.ready.acquire().await.ok()?.forget();
        self.due.borrow_mut().pop_front()
    }

    /// Hands out turns until the end, and gives back those that nobody took.
    pub(crate) async fn conduct(&self) -> Vec<Instant> {
        let Some(rate) = self.rate else { return Vec::new() };
        let (times, mut fallen_due) = unbounded_channel();
        let end = self.end;
        let metronome = std::thread::spawn(move || beat(Duration::from_secs_f64(1.0 / rate), end, &times));
        while let Some(time) = fallen_due.recv().await {
            self.due.borrow_mut().push_back(time);
            self.ready.add_permits(1);
        }
        self.ready.close();
        drop(metronome.join());
        self.due.borrow_mut().drain(..).collect()
    }
}

/// A thread's sleep is exact to some 50 us. The runtime's timer counts in milliseconds, which is longer than many a request.
fn beat(step: Duration, end: Instant, times: &UnboundedSender<Instant>) {
    let mut next = Instant::now();
    while next < end {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        if times.send(next).is_err() {
            return;
        }
        next += step;
    }
}
