//! What a user of the proxy sees on the wire: the real binary, real sockets, one fact a test. One file a topic.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../support/mod.rs"]
mod support;

mod harness;
