//! The data plane.

pub mod admission;
pub mod client_address;
pub mod error;
pub mod listener;
pub mod proxy_protocol;
mod seldom;
pub mod tls;
