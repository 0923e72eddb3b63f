//! The thread that writes the access log, its queue, and what happens when either cannot keep up.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::CHUNK_BYTES;

/// Chunks that may wait for the writer: 8 MiB of ordinary lines.
const QUEUE: usize = 256;

/// Empty chunks kept for the workers.
const SPARE: usize = 32;

/// Between two complaints in the application log.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Between two tries where a thread has to wait for a descriptor or a queue that cannot wake it.
const PAUSE: Duration = Duration::from_millis(5);

/// Whole lines.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

#[derive(Debug)]
pub(super) enum Message {
    Lines(Chunk),
    /// Look at the flags.
    Wake,
    /// Write nothing more, and say so.
    Close(SyncSender<()>),
}

/// What the log, its buffers and its thread have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Lines that were not written.
    pub(super) dropped: AtomicU64,
    /// Set by `reopen`, cleared by the thread.
    pub(super) reopen: AtomicBool,
    /// Buffers that were written, empty, for the next chunks.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Where the lines go.
#[derive(Debug)]
struct Output {
    file: File,
    /// `None`: stdout.
    path: Option<PathBuf>,
    /// A failed write left part of a line behind.
    torn: bool,
}

/// What was last said about dropped lines.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<Instant>,
    told: u64,
    error: Option<io::Error>,
}

/// Opens `path`, or stdout, and starts the thread.
pub(super) fn start(path: Option<PathBuf>, shared: &Arc<Shared>) -> io::Result<SyncSender<Message>> {
    let file = match &path {
        Some(path) => append(path)?,
        None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
    };
    let (sender, receiver) = sync_channel(QUEUE);
    let shared = shared.clone();
    let output = Output { file, path, torn: false };
    thread::Builder::new().name("access-log".into()).spawn(move || run(output, &receiver, &shared))?;
    Ok(sender)
}

/// Waits for the thread to write what is queued.
pub(super) fn close(sender: &SyncSender<Message>, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    let (done, written) = sync_channel(1);
    let mut message = Message::Close(done);
    loop {
        match sender.try_send(message) {
            Ok(()) => break,
            Err(TrySendError::Disconnected(_)) => return true,
            Err(TrySendError::Full(_)) if Instant::now() >= deadline => return false,
            Err(TrySendError::Full(refused)) => message = refused,
        }
        // The queue wakes nobody when it has room. Only the end of the process waits here.
        thread::sleep(PAUSE);
    }
    // No answer at all means that the thread has ended.
    written.recv_timeout(deadline.saturating_duration_since(Instant::now())) != Err(RecvTimeoutError::Timeout)
}

impl Shared {
    pub(super) fn empty_chunk(&self) -> Chunk {
        // A worker waits for nobody: while another one is here, it makes a new buffer.
        let spare = self.spare.try_lock().ok().and_then(|mut spare| spare.pop());
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
        Chunk { bytes, lines: 0 }
    }

    /// Counts what the queue did not take.
    pub(super) fn refused(&self, error: TrySendError<Message>) {
        let (TrySendError::Full(message) | TrySendError::Disconnected(message)) = error;
        if let Message::Lines(chunk) = message {
            self.dropped.fetch_add(chunk.lines, Ordering::Relaxed);
            self.recycle(chunk);
        }
    }

    fn recycle(&self, mut chunk: Chunk) {
        // Unusually long lines do not stay in memory.
        if chunk.bytes.capacity() > 2 * CHUNK_BYTES {
            return;
        }
        chunk.bytes.clear();
        if let Ok(mut spare) = self.spare.try_lock()
            && spare.len() < SPARE
        {
            spare.push(chunk.bytes);
        }
    }
}

/// Ends when all senders are gone.
fn run(mut output: Output, receiver: &Receiver<Message>, shared: &Shared) {
    let mut complaint = Complaint::default();
    let mut closed = false;
    while let Ok(message) = receiver.recv() {
        if shared.reopen.swap(false, Ordering::Acquire) {
            output.reopen();
        }
        match message {
            Message::Lines(chunk) if closed => {
                shared.dropped.fetch_add(chunk.lines, Ordering::Relaxed);
            }
            Message::Lines(chunk) => {
                if let Err((lost, error)) = output.write(&chunk) {
                    shared.dropped.fetch_add(lost, Ordering::Relaxed);
                    complaint.error = Some(error);
                }
                shared.recycle(chunk);
                complaint.tell(shared.dropped.load(Ordering::Relaxed));
            }
            Message::Wake => {}
            Message::Close(done) => {
                closed = true;
                // Fails if nobody waits any more.
                let _ = done.send(());
            }
        }
    }
}

impl Output {
    /// Writes all of `chunk`, or tells how many of its lines are not whole in the output.
    fn write(&mut self, chunk: &Chunk) -> Result<(), (u64, io::Error)> {
        if self.torn {
            write_some(&mut self.file, b"\n").map_err(|(_, error)| (chunk.lines, error))?;
            self.torn = false;
        }
        write_some(&mut self.file, &chunk.bytes).map_err(|(written, error)| {
            let done = &chunk.bytes[..written];
            self.torn = done.last().is_some_and(|byte| *byte != b'\n');
            (chunk.lines.saturating_sub(memchr::memchr_iter(b'\n', done).count() as u64), error)
        })
    }

    /// Keeps the file it has if the path cannot be opened.
    fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => (self.file, self.torn) = (file, false),
            Err(error) => tracing::error!(%error, "the access log cannot be opened again"),
        }
    }
}

impl Complaint {
    /// At most one line per interval, with what was lost since the one before.
    fn tell(&mut self, dropped: u64) {
        if dropped == self.told || self.last.is_some_and(|last| last.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        let reason = self.error.take().map_or_else(|| "the queue was full".to_owned(), |error| error.to_string());
        tracing::error!(lines = dropped - self.told, reason, "access log lines were dropped");
        (self.last, self.told) = (Some(Instant::now()), dropped);
    }
}

/// Writes all of `bytes`, or tells how much of it was written.
fn write_some(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // stdout may be shared with a process that made it non-blocking. This thread has nothing else to do.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    OpenOptions::new().append(true).create(true).mode(0o644).open(path).map_err(named)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_line_torn_by_a_failed_write_does_not_spoil_the_next() {
        let (mut reader, writer) = pipe().unwrap();
        let mut output = Output { file: OwnedFd::from(writer).into(), path: None, torn: false };
        // More than the pipe takes, so that the writer is in the middle of it when the reader goes away.
        let chunk = Chunk { bytes: b"0123456\n".repeat(1 << 15), lines: 1 << 15 };
        let reading = thread::spawn(move || reader.read_exact(&mut [0; 4096]));
        let (lost, error) = output.write(&chunk).unwrap_err();
        reading.join().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!((1..=chunk.lines - 512).contains(&lost), "{lost}");

        let (mut reader, writer) = pipe().unwrap();
        (output.file, output.torn) = (OwnedFd::from(writer).into(), true);
        output.write(&Chunk { bytes: b"{}\n".to_vec(), lines: 1 }).unwrap();
        output.write(&Chunk { bytes: b"{}\n".to_vec(), lines: 1 }).unwrap();
        drop(output);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n{}\n{}\n");
    }
}
