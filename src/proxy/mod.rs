//! The data plane.

pub mod admission;
pub mod client_address;
pub mod error;
mod fallback;
pub mod head_check;
pub mod headers;
pub mod listener;
pub mod proxy_protocol;
pub mod respond;
mod seldom;
pub mod tls;

pub use fallback::self_made_certificate;
