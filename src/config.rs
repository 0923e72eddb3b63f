//! What the process was asked to do: the arguments as typed ([`Args`]) and as resolved ([`Config`]).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::{LogFormat, access_log};
use crate::translate::Options;

/// Everything `serve` needs, resolved and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--dir`: a folder or one file.
    pub dir: PathBuf,
    /// `--bind-address`; `[::]` falls back to `0.0.0.0` where IPv6 is off.
    pub bind_address: IpAddr,
    pub http_port: u16,
    pub https_port: u16,
    pub healthz_port: u16,
    /// Number of data plane threads.
    pub workers: usize,
    /// `--https-redirect-port`: put into redirects if given.
    pub https_redirect_port: Option<u16>,
    /// `--server-header`; empty: none is sent.
    pub server_header: String,
    pub debug_remote: bool,
    pub shutdown_grace_period: Duration,
    pub drain_timeout: Duration,
    pub access_log: access_log::Target,
    pub access_log_format: access_log::Format,
    /// `--log-level`.
    pub log_filter: String,
    pub log_format: LogFormat,
    pub limits: Limits,
    pub translate: Options,
}

/// Bounds on what a client or a backend may take. Each is a flag; [`Default`] is what ships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request head to its end.
    pub header_timeout: Duration,
    /// Bytes of a request head.
    pub max_header_size: usize,
    pub max_header_fields: usize,
    /// Longest silence within an HTTP/1.1 request body.
    pub body_idle_timeout: Duration,
    /// Bytes per second that an HTTP/1.1 request body must reach after its first 10 s.
    pub min_body_rate: u64,
    /// Longest time a client may take nothing of what is ready to be written.
    pub write_timeout: Duration,
    /// Longest time between two requests of a connection, and before the first.
    pub keep_alive_timeout: Duration,
    /// A connection older than this (± 10 %) is closed after a response.
    pub max_connection_age: Duration,
    pub tls_handshake_timeout: Duration,
    pub http2_max_concurrent_streams: u32,
    /// Bytes of a header list, as HTTP/2 counts them.
    pub http2_max_header_list_size: u32,
    /// Resets per connection and direction within 30 s.
    pub http2_max_resets: u32,
    pub http2_ping_interval: Duration,
    pub http2_ping_timeout: Duration,
    /// Of the process.
    pub max_connections: usize,
    /// 0: no limit.
    pub max_connections_per_address: usize,
    /// How long an idle pooled connection to an endpoint is kept.
    pub upstream_idle_timeout: Duration,
    /// Silence both ways after which a tunnel is closed.
    pub tunnel_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Limits {
            header_timeout: seconds(10),
            max_header_size: 64 << 10,
            max_header_fields: 100,
            body_idle_timeout: seconds(30),
            min_body_rate: 240,
            write_timeout: seconds(30),
            keep_alive_timeout: seconds(60),
            max_connection_age: seconds(3600),
            tls_handshake_timeout: seconds(10),
            http2_max_concurrent_streams: 100,
            http2_max_header_list_size: 16 << 10,
            http2_max_resets: 100,
            http2_ping_interval: seconds(30),
            http2_ping_timeout: seconds(10),
            max_connections: 10_000,
            max_connections_per_address: 2_500,
            upstream_idle_timeout: seconds(4),
            tunnel_idle_timeout: seconds(3600),
        }
    }
}
