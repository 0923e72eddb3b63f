//! The data plane: accepts connections, treats requests, forwards them. Knows the live tables, nothing of Kubernetes.
//!
//! [`Proxy::start`] runs N workers (`worker`), each a thread with its own listeners, connections and pools. A socket goes
//! through `accept` to a `connection`; each request through `request`, which shows the whole order on one screen, and
//! from there to `forward`.

mod accept;
mod activity;
pub mod admission;
mod admit;
mod backend_http1;
mod backend_sockets;
mod body;
mod builders;
pub mod client_address;
mod clock;
mod connect;
mod connection;
pub mod decide;
mod dial;
pub mod error;
mod exchange;
mod executor;
mod failure;
#[cfg(test)]
mod faults;
mod forward;
pub mod frames;
pub mod framing;
pub mod head_check;
pub mod headers;
mod inlet;
mod io;
pub mod listener;
pub mod memory;
mod message;
mod metered;
mod opening;
mod pool;
pub mod proxy_protocol;
mod replay;
mod request;
mod request_body;
pub mod respond;
mod room;
mod rounds;
mod self_made;
mod source;
mod start;
pub mod tls;
pub mod tunnel;
mod turns;
mod unacknowledged;
mod upgrade;
mod worker;

pub use self_made::self_made_certificate;
pub use start::Proxy;
