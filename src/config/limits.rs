//! Bounds on what a client or a backend may take: the flags of the "Limits" heading, with what ships as their defaults.

use std::time::Duration;

use clap::{Args, Command, FromArgMatches};

use super::{duration, number, size};

/// hyper makes room for as many fields as a head may have, and a `HeaderMap` panics that would hold 24,576.
const MOST_FIELDS: u64 = 10_000;

/// Bounds on what a client or a backend may take. Each is a flag; [`Default`] is what ships.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Connections of clients that the process holds at most; lowered where the limit of open files is too small. One more
    /// takes the place of one that never asked for anything, else of the one that is idle longest
    #[arg(long, value_name = "NUMBER", default_value = "10000", value_parser = number::within::<usize>(1..=u64::MAX))]
    pub max_connections: usize,

    /// Connections that one client address (of IPv6: a /64) may hold, and requests in flight on them; 0: no limit
    #[arg(long, value_name = "NUMBER", default_value = "2500", value_parser = number::within::<usize>(0..=u64::MAX))]
    pub max_connections_per_address: usize,

    /// Longest time from the first byte of a request head to its end
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_bound)]
    pub header_timeout: Duration,

    /// Bytes of a request head
    #[arg(long, value_name = "SIZE", default_value = "64Ki", value_parser = parse_header_size)]
    pub max_header_size: usize,

    /// Header fields of a request
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = number::within::<usize>(1..=MOST_FIELDS))]
    pub max_header_fields: usize,

    /// Longest silence within an HTTP/1.1 request body
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_bound)]
    pub body_idle_timeout: Duration,

    /// Bytes per second that an HTTP/1.1 request body must reach after its first 10 s; 0: any
    #[arg(long, value_name = "SIZE", default_value = "240", value_parser = size::parse)]
    pub min_body_rate: u64,

    /// Longest time a client may take nothing of what is ready to be written
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_bound)]
    pub write_timeout: Duration,

    /// Longest time between two requests of a connection, and before the first
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse_bound)]
    pub keep_alive_timeout: Duration,

    /// A connection older than this (± 10 %) is closed after a response
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_bound)]
    pub max_connection_age: Duration,

    /// Longest time a TLS handshake may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_bound)]
    pub tls_handshake_timeout: Duration,

    /// Requests in flight on one HTTP/2 connection
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = number::within::<u32>(1..=u32::MAX.into()))]
    pub http2_max_concurrent_streams: u32,

    /// Bytes of an HTTP/2 header list, as HTTP/2 counts them
    #[arg(long, value_name = "SIZE", default_value = "16Ki", value_parser = size::parse_bound::<u32>)]
    pub http2_max_header_list_size: u32,

    /// Streams of one HTTP/2 connection that its client may reset within 30 s before it is told to end (twice as many: cut),
    /// and that we may have to reset for its errors in all
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = number::within::<u32>(1..=u32::MAX.into()))]
    pub http2_max_resets: u32,

    /// Silence of an HTTP/2 connection after which it is asked for a sign of life
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse_bound)]
    pub http2_ping_interval: Duration,

    /// Longest time for that sign of life to come
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse_bound)]
    pub http2_ping_timeout: Duration,

    /// How long an idle connection to a backend is kept; should be below the backend's own keep-alive
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration::parse_bound)]
    pub backend_idle_timeout: Duration,

    /// Silence both ways after which a tunnel (websocket and other upgrades) is closed
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_bound)]
    pub tunnel_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let nothing_given = Limits::augment_args(Command::new("limits")).get_matches_from([""]);
        Limits::from_arg_matches(&nothing_given).expect("every flag of Limits has a default, which a test reads")
    }
}

/// The HTTP/1.1 reader needs room for a request line before it can refuse one.
fn parse_header_size(text: &str) -> Result<usize, String> {
    match size::parse_bound(text) {
        Ok(bytes) if bytes < 8192 => Err("a request head needs at least 8Ki".into()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_what_the_documents_say() {
        let seconds = Duration::from_secs;
        let documented = Limits {
            max_connections: 10_000,
            max_connections_per_address: 2_500,
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
            backend_idle_timeout: seconds(4),
            tunnel_idle_timeout: seconds(3600),
        };
        assert_eq!(Limits::default(), documented);
    }
}
