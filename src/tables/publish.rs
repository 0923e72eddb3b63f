//! The one pointer through which a generation goes live.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::sign::CertifiedKey;

use super::Tables;
use crate::snapshot::Snapshot;
use crate::telemetry::Metrics;

/// The newest tables, shared by all workers.
pub struct Published {
    generation: AtomicU64,
    /// Held for the swap of one pointer only.
    current: Mutex<Arc<Tables>>,
    /// Older generations that somebody may still hold. Freeing one takes time, which is the publisher's to spend and not
    /// a request's: each publication frees those that nobody holds any more. Locked while a generation is built, so that
    /// publications happen one after the other.
    older: Mutex<Vec<Arc<Tables>>>,
    fallback: Arc<CertifiedKey>,
    metrics: Arc<Metrics>,
}

/// One worker's view of [`Published`]: locks only when the generation moved.
pub struct Reader {
    published: Arc<Published>,
    seen: Cell<u64>,
    current: RefCell<Rc<Held>>,
}

/// One worker's hold on a generation. In an `Rc`, it is what a request clones: a count that no other worker touches.
#[derive(Debug)]
pub struct Held(Arc<Tables>);

impl Deref for Held {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.0
    }
}

impl Published {
    /// Tables of nothing, generation 0. `fallback` serves TLS clients that no certificate is for.
    pub fn new(fallback: Arc<CertifiedKey>, metrics: Arc<Metrics>) -> Arc<Self> {
        let nothing = Tables::build(Arc::default(), None, &fallback, &metrics);
        let tables = Arc::new(Tables { generation: 0, ..nothing });
        Arc::new(Published {
            generation: AtomicU64::new(tables.generation),
            current: Mutex::new(tables),
            older: Mutex::default(),
            fallback,
            metrics,
        })
    }

    /// Makes `snapshot` what all new requests use. One that is equal to the last is not published: `false`.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> bool {
        let mut older = lock(&self.older);
        let current = self.load();
        if current.generation > 0 && current.snapshot == snapshot {
            return false;
        }
        let tables = Arc::new(Tables::build(snapshot, Some(&current), &self.fallback, &self.metrics));
        let generation = tables.generation;
        *lock(&self.current) = tables;
        self.generation.store(generation, Ordering::Release);
        older.push(current);
        older.retain(|tables| Arc::strong_count(tables) > 1);
        self.metrics.control().held(older.len());
        true
    }

    pub fn load(&self) -> Arc<Tables> {
        lock(&self.current).clone()
    }

    pub fn reader(self: &Arc<Self>) -> Reader {
        let tables = self.load();
        Reader {
            published: self.clone(),
            seen: Cell::new(tables.generation),
            current: RefCell::new(Rc::new(Held(tables))),
        }
    }
}

impl Reader {
    /// The newest generation: one atomic load and a local reference count.
    pub fn current(&self) -> Rc<Held> {
        if self.published.generation.load(Ordering::Acquire) != self.seen.get() {
            let tables = self.published.load();
            self.seen.set(tables.generation);
            self.current.replace(Rc::new(Held(tables)));
        }
        self.current.borrow().clone()
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Published").field(&self.load()).finish()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reader").field(&self.current.borrow()).finish()
    }
}

/// Nothing is left half-written under these locks, so a panic elsewhere does not make their content unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
