//! What a user of the proxy sees on the wire: the real binary, real sockets, one fact a test. One file a topic.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../support/mod.rs"]
mod support;

mod backend_tls;
mod backends;
mod chunks;
mod config_map;
mod connect;
mod debug;
mod descriptors;
mod early_answers;
mod explain;
mod failures;
mod folder;
mod forwarded;
mod generations;
mod h2c;
mod harness;
mod headers;
mod health_checks;
mod health_checks_kept;
mod hostile_backend;
mod http1;
mod http2;
mod http2_limits;
mod http2_windows;
mod life;
mod limits;
mod log;
mod metrics;
mod opening;
mod order;
mod pairs;
mod policy_access;
mod policy_backends;
mod policy_files;
mod policy_health;
mod policy_limits;
mod policy_request;
mod policy_retries;
mod policy_timeouts;
mod pool;
mod raw_heads;
mod routing;
mod signals;
mod slow_clients;
mod small_messages;
mod smuggling;
mod streaming;
mod timeouts;
mod tls;
mod tunnels;
mod unread_bodies;
mod upgrade;
