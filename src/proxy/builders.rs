//! hyper's side of client connections, under our limits.

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;

use super::executor::StreamExecutor;
use crate::config::Limits;

/// hyper's HTTP/1 side, under our limits. Its own head timeout would also end idle connections, so ours counts instead.
pub(super) fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    if limits.max_header_fields > HYPERS_FIELDS {
        builder.max_headers(limits.max_header_fields);
    }
    builder
        .header_read_timeout(None)
        .max_header_size(limits.max_header_size)
        // The buffer holds a whole head and is also the most that waits for a slow reader.
        .max_buf_size(limits.max_header_size.max(LEAST_BUFFER));
    builder
}

/// The fields that hyper has room for by itself. It clears any other room anew for each head; that there are not more
/// fields than allowed is `framing`'s to see.
const HYPERS_FIELDS: usize = 100;

/// Below it bodies would pass in small pieces.
const LEAST_BUFFER: usize = 64 << 10;

/// Streams of small messages set this, not the bytes in flight, which the windows of streams bound: h2 ends a connection
/// that has more small frames unread than half of this can be, each counted as 256 bytes. It holds three streams that are
/// full of messages of one byte, as gRPC writes them. Each such frame may keep 8 KiB of what came around it.
const CLIENT_WINDOW: u32 = 16 << 20;

/// h2 counts what it resets or refuses over the life of the connection, and loses all its streams when that is too much; so
/// it is no more than what bounds the resets that wait for the client to take them.
const RESETS_IN_ALL: u32 = 10;

pub(super) fn http2_builder(limits: &Limits) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(StreamExecutor);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(limits.http2_max_concurrent_streams)
        // h2 refuses a list of exactly what it is given.
        .max_header_list_size(limits.http2_max_header_list_size.saturating_add(1))
        .initial_stream_window_size(64 << 10)
        .initial_connection_window_size(CLIENT_WINDOW)
        .max_send_buf_size(64 << 10)
        .max_local_error_reset_streams(limits.http2_max_resets.saturating_mul(RESETS_IN_ALL) as usize)
        .keep_alive_interval(limits.http2_ping_interval)
        .keep_alive_timeout(limits.http2_ping_timeout);
    builder
}
