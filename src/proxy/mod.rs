//! The data plane.

pub mod admission;
pub mod client_address;
pub mod error;
mod fallback;
pub mod listener;
pub mod proxy_protocol;
mod seldom;
pub mod tls;

pub use fallback::self_made_certificate;
