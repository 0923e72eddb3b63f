//! The chart and what is rendered from it: with real Helm, against the definitions of a real Kubernetes and of the Prometheus
//! Operator, and against the binary that it starts. What becomes of it in a cluster, `tests/cluster` shows.
//!
//! `kubernetes` knows which fields objects may have, `rendered` renders and finds objects, the others hold tests.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod documents;
mod flags;
mod golden;
mod kubernetes;
mod metrics;
mod objects;
mod rendered;
mod roles;
mod targets;
mod values;

#[path = "../support/mod.rs"]
mod support;
