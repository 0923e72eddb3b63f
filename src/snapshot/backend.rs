//! Backends: one Service port and the addresses behind it.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

/// Names a backend: a port of a Service. Ordered by namespace, name, port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId {
    pub namespace: String,
    pub service: String,
    pub port: ServicePort,
}

/// A Service port as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServicePort {
    Number(u16),
    Name(String),
}

/// The addresses behind a [`BackendId`] and how they are talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backend {
    pub protocol: Protocol,
    /// The addresses that may get new requests, sorted, no duplicates. Empty: requests are answered 503.
    pub endpoints: Vec<SocketAddr>,
    /// Why the reference could not be resolved, if so; `endpoints` is then empty.
    pub unresolved: Option<String>,
}

/// How an endpoint is talked to, from the Service port's `appProtocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge, without TLS (`kubernetes.io/h2c`, `grpc`).
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServicePort::Number(number) => number.fmt(f),
            ServicePort::Name(name) => name.fmt(f),
        }
    }
}

/// `namespace-service-port`, as in logs and metrics.
impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.namespace, self.service, self.port)
    }
}

impl Serialize for BackendId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}:{}", self.namespace, self.service, self.port))
    }
}
