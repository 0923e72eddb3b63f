//! One line per request, formatted into the worker's own buffer and written by a thread of its own. A full queue drops
//! lines and counts them; a request never waits for the disk.
//!
//! `app` opens and closes the log, each worker has a [`Buffer`]. Whatever a client sends is escaped: a line is always
//! one line, and always valid in its format. A field of more than 8 KiB is cut and ends in `...`.

mod clock;
mod digits;
mod json;
#[cfg(test)]
mod tests;
mod upstreaminfo;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, SystemTime};

use clock::Clock;
use writer::{Chunk, Message, Shared};

/// `--access-log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Off,
    Stdout,
    File(PathBuf),
}

/// `--access-log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Json,
    Upstreaminfo,
}

/// The process's access log: one writer thread, one bounded queue.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    /// `None`: the log is off and there is no thread. The thread ends when all senders are gone.
    sender: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
}

/// One worker's buffer. Handed to the writer thread when it is large enough, by [`Buffer::flush`] and when dropped.
#[derive(Debug)]
pub struct Buffer {
    format: Format,
    sender: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
    chunk: Chunk,
    clock: Clock,
}

/// What is known of one finished request. Byte strings are as the client sent them, of any content; the log escapes.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When the head was read.
    pub start: SystemTime,
    pub duration: Duration,
    pub client: IpAddr,
    pub peer: SocketAddr,
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    pub host: &'a [u8],
    /// Without the query.
    pub path: &'a [u8],
    /// Without the `?`; empty if none.
    pub query: &'a [u8],
    /// `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// 499 if the client went away before a response head.
    pub status: u16,
    /// Body bytes, each way.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub referer: &'a [u8],
    pub user_agent: &'a [u8],
    pub request_id: &'a str,
    pub namespace: &'a str,
    pub ingress: &'a str,
    pub service: &'a str,
    /// `LiveRoute::label`, empty if none.
    pub route: &'a str,
    /// `namespace-service-port`, empty if none.
    pub backend: &'a str,
    /// Tries in order; the last one answered, if any did.
    pub tries: &'a [Try],
    /// Short response flag, empty if all went well (table in ARCHITECTURE.md).
    pub flag: &'static str,
    pub tls_version: &'static str,
}

/// One try at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    pub endpoint: SocketAddr,
    /// Until the response head; for the last try until the end of the response.
    pub duration: Duration,
    /// 0 if no response head came.
    pub status: u16,
    pub response_bytes: u64,
}

/// A buffer of this size goes to the writer thread: some hundred lines for one system call.
const CHUNK_BYTES: usize = 64 << 10;

/// Longest piece of one field that is written, before escaping.
const FIELD_BYTES: usize = 8 << 10;

impl AccessLog {
    /// Opens `target`; a file is appended to, and made with mode 0644. The error names the file.
    pub fn open(target: Target, format: Format) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let sender = match target {
            Target::Off => None,
            Target::Stdout => Some(writer::start(None, &shared)?),
            Target::File(path) => Some(writer::start(Some(path), &shared)?),
        };
        Ok(Arc::new(AccessLog { format, sender, shared }))
    }

    pub fn buffer(self: &Arc<Self>) -> Buffer {
        Buffer {
            format: self.format,
            sender: self.sender.clone(),
            shared: self.shared.clone(),
            chunk: Chunk::default(),
            clock: Clock::default(),
        }
    }

    /// Lines dropped because the queue was full or the write failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file by its name again, for whoever has renamed it. Does nothing to stdout.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        if let Some(sender) = &self.sender {
            // A full queue needs no wake-up: the thread looks at the flag before each chunk.
            let _ = sender.try_send(Message::Wake);
        }
    }

    /// Waits until everything that was flushed before is written, at most for `timeout`; `false`: it took longer. Lines
    /// flushed afterwards are dropped. Blocks its thread.
    pub fn close(&self, timeout: Duration) -> bool {
        self.sender.as_ref().is_none_or(|sender| writer::close(sender, timeout))
    }
}

impl Buffer {
    /// `false`: lines go nowhere, so the caller may skip gathering an [`Entry`].
    pub fn is_on(&self) -> bool {
        self.sender.is_some()
    }

    pub fn record(&mut self, entry: &Entry<'_>) {
        if self.sender.is_none() {
            return;
        }
        match self.format {
            Format::Json => json::line(&mut self.chunk.bytes, &mut self.clock, entry),
            Format::Upstreaminfo => upstreaminfo::line(&mut self.chunk.bytes, &mut self.clock, entry),
        }
        self.chunk.lines += 1;
        if self.chunk.bytes.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    /// Hands what is buffered to the writer thread; called by the worker's tick.
    pub fn flush(&mut self) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.chunk.lines > 0) else { return };
        let chunk = std::mem::replace(&mut self.chunk, self.shared.empty_chunk());
        if let Err(refused) = sender.try_send(Message::Lines(chunk)) {
            self.shared.refused(refused);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The piece of a client's field that is written, and whether that is not all of it.
fn capped(field: &[u8]) -> (&[u8], bool) {
    (&field[..field.len().min(FIELD_BYTES)], field.len() > FIELD_BYTES)
}
