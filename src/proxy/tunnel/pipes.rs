//! Pipes for splice(2), lent for as long as they hold bytes.
//!
//! A pipe costs two descriptors and up to 64 KiB, and 10,000 websockets are mostly silent: so each worker keeps a few
//! and a flow takes one when there is something to carry. Beyond [`MOST_LENT`] flows copy instead.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// Pipes of one worker that may hold bytes at a time, that is, receivers that are slower than their sender.
pub(super) const MOST_LENT: usize = 128;

/// Empty pipes that one worker keeps.
pub(super) const MOST_KEPT: usize = 16;

/// What one splice is asked to carry. A pipe takes 16 pieces, each at most a socket's page fragment of 32 KiB.
const CHUNK: usize = 512 << 10;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { kept: Vec::new(), lent: 0 }) };
}

struct Pool {
    kept: Vec<Ends>,
    lent: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A borrowed pipe. It goes back when it is dropped empty, and is closed when it is dropped with bytes in it.
pub(super) struct Pipe {
    /// `None` only within `drop`.
    ends: Option<Ends>,
    held: usize,
}

/// An empty pipe; `None`: too many are lent, or the process can have no more.
pub(super) fn lend() -> Option<Pipe> {
    POOL.with_borrow_mut(|pool| {
        if pool.lent >= MOST_LENT {
            return None;
        }
        let ends = match pool.kept.pop() {
            Some(ends) => ends,
            None => {
                let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
                Ends { read, write }
            }
        };
        pool.lent += 1;
        Some(Pipe { ends: Some(ends), held: 0 })
    })
}

impl Pipe {
    /// Takes bytes from `source`, which must be done only while the pipe is empty: a full pipe and an empty source are
    /// the same error. 0: the end of `source`.
    pub(super) fn fill(&mut self, source: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        let Some(ends) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        self.held = splice(source, None, &ends.write, None, CHUNK, flags)?;
        Ok(self.held)
    }

    /// Hands bytes to `sink`, not more than the pipe holds: if more were asked for, the kernel would wait for them
    /// before it sends a short segment.
    pub(super) fn empty_into(&mut self, sink: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let carried = splice(&ends.read, None, sink, None, self.held, flags)?;
        self.held -= carried;
        Ok(carried)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        // At the end of a thread the pool may be gone; then the pipe is closed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.lent -= 1;
            if self.held == 0 && pool.kept.len() < MOST_KEPT {
                pool.kept.push(ends);
            }
        });
    }
}

#[cfg(test)]
pub(super) fn lent() -> usize {
    POOL.with_borrow(|pool| pool.lent)
}
