//! The data plane.

pub mod admission;
pub mod listener;
pub mod proxy_protocol;
mod seldom;
pub mod tls;
