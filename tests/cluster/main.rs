//! A real Kubernetes: API server, controllers, kubelet, kube-proxy and containers, made by `cluster.sh`, with this very
//! binary in its containers. Tests are outside the node, where its users are.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod apart;
mod beside;
mod conformance;
mod controller;
mod crd;
mod dashboard;
mod faults;
mod install;
mod kubernetes;
mod load;
mod manifests;
mod monitoring;
mod named;
mod namespace;
mod node;
mod objects;
mod prometheus;
mod propagation;
mod roles;
mod serving;
mod status;
mod telling;
mod topology;
