//! Headgate: a Kubernetes ingress controller and its proxy in one binary.
//!
//! ```text
//!  source (I/O)     translate (pure)      snapshot (data)        tables (pure)       proxy (I/O)
//!  folder      ─▶ Objects ─▶ translate ─▶ Snapshot + Reports ─▶ Tables ─▶ workers ─▶ sockets
//!  file        ─▶ Plain   ─┘
//! ```
//!
//! In reading order: [`snapshot`] is the language, complete wanted behaviour as plain data; [`translate`] makes it of
//! Kubernetes objects, and tells what is wrong with them; [`tables`] is its live form, which requests use; [`proxy`]
//! serves them; [`source`] is where objects come from; [`app`] wires all that and runs it; [`config`] and [`cli`] are what
//! a user types; [`health`] watches endpoints, and [`connecting`] says whose fault a missing connection is; [`telemetry`]
//! and [`admin`] are what an operator sees.
//!
//! Words that mean one thing everywhere: to *publish* tables makes them the ones that all new requests use, and each
//! publication is a *generation*; a *backend* is a Service port, an *endpoint* one address behind it, a *lease* one picked
//! endpoint with its in-flight guard; a *problem* is one thing wrong with an object, a *report* all that its owner is
//! told. ARCHITECTURE.md follows one request and one change through the whole.

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod connecting;
pub mod explain;
pub mod health;
pub mod proxy;
pub mod snapshot;
pub mod source;
pub mod tables;
pub mod telemetry;
pub mod translate;
