//! One line per request, formatted into the worker's own buffer and written by a thread of its own. A full queue drops
//! lines and counts them; a request never waits for the disk.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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
pub struct AccessLog {}

/// One worker's buffer. Handed to the writer thread when it is large enough, and by [`Buffer::flush`].
#[derive(Debug)]
pub struct Buffer {}

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

impl AccessLog {
    pub fn open(target: Target, format: Format) -> std::io::Result<Arc<Self>> {
        todo!("{target:?} {format:?}")
    }

    pub fn buffer(self: &Arc<Self>) -> Buffer {
        todo!()
    }

    /// Lines dropped because the queue was full or the write failed.
    pub fn dropped(&self) -> u64 {
        todo!()
    }
}

impl Buffer {
    /// `false`: lines go nowhere, so the caller may skip gathering an [`Entry`].
    pub fn is_on(&self) -> bool {
        todo!()
    }

    pub fn record(&mut self, entry: &Entry<'_>) {
        todo!("{entry:?}")
    }

    /// Hands what is buffered to the writer thread; called by the worker's tick.
    pub fn flush(&mut self) {
        todo!()
    }
}
