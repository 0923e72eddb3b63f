//! What the wire tests stand on: the real binary in a process of its own, backends that record every byte that reaches
//! them, and clients that send exactly what a test writes. Nothing here uses the library under test.
//!
//! Reading order: `headgate` (the process), `objects` and `folder` (what it serves), `backend` and `exchange` (who
//! answers), `guardian` (what is said of what they got), `client`, `tls`, `h2_client` (who asks), `frames` (HTTP/2 by
//! hand), `wait` (how a test waits for a fact), `namespace` (a network of a test's own), `tools` (programs that the tests
//! install).
#![allow(dead_code, unused_imports, reason = "each test binary includes this module and uses its own part of it")]
#![allow(unreachable_pub, reason = "a module of test binaries has no outside")]

pub mod backend;
pub mod certificates;
pub mod checks;
pub mod client;
pub mod exchange;
pub mod folder;
pub mod frames;
pub mod guardian;
pub mod h2_backend;
pub mod h2_client;
pub mod headgate;
pub mod metrics;
pub mod namespace;
pub mod objects;
pub mod ports;
pub mod response;
pub mod tls;
pub mod tools;
pub mod wait;

pub use backend::{Backend, Seen};
pub use certificates::{TestAuthority, TestCertificate};
pub use client::{Client, get, request};
pub use exchange::{Exchange, Then};
pub use headgate::Headgate;
pub use objects::{Objects, site};
pub use response::Response;

/// `make hostile` runs tests in their full forms, one at a time.
pub fn in_full() -> bool {
    std::env::var_os("HOSTILE_LONG").is_some()
}
