//! Clients and servers that others wrote, through the real binary: what they accept is what users will see. One file a
//! tool; `tools` runs them. A tool that is missing fails its tests with one line that says what to do.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../support/mod.rs"]
mod support;

mod curl;
mod grpc;
mod h2spec;
mod http2_websocket;
mod nghttp2;
mod slowhttptest;
mod tls;
mod tools;
mod websocket;
