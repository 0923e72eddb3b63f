//! What a user of the proxy sees on the wire: the real binary, real sockets, one fact a test. One file a topic.

#[path = "../support/mod.rs"]
mod support;
