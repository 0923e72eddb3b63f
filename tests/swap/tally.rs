//! What has happened so far, counted by all who ask.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Complaints that are kept in words.
const KEPT: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
    complaints: Mutex<Vec<String>>,
    stopping: AtomicBool,
}

impl Tally {
    /// A request has been answered, well or not.
    pub(super) fn answered(&self, verdict: Result<(), String>) {
        self.requests.fetch_add(1, Relaxed);
        if let Err(complaint) = verdict {
            self.failed.fetch_add(1, Relaxed);
            self.complain(complaint);
        }
    }

    /// A connection or stream ended that nobody wanted to end.
    pub(super) fn closed_by_proxy(&self, complaint: String) {
        self.closed.fetch_add(1, Relaxed);
        self.complain(complaint);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(super) fn closed(&self) -> u64 {
        self.closed.load(Relaxed)
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    fn complain(&self, complaint: String) {
        let mut complaints = self.complaints.lock().unwrap();
        if complaints.len() < KEPT {
            complaints.push(complaint);
        }
    }
}
