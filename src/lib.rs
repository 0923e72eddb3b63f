//! Headgate: a Kubernetes ingress controller and its proxy in one binary.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod proxy;
pub mod snapshot;
pub mod source;
pub mod tables;
pub mod telemetry;
pub mod translate;
