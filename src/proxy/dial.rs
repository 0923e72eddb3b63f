//! Answers a CONNECT: a TCP connection to an endpoint of the backend, one endpoint after the other as for requests, and the
//! tunnel to it. What the client names has chosen the route, and nobody resolves or dials it. What goes through the tunnel
//! is between the client and the endpoint, so the backend's protocol and TLS mean nothing here.

use std::rc::Rc;

use http::Response;
use http::request::Parts;
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend_sockets::Place;
use super::body::ResponseBody;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::replay::Retries;
use super::{connect, failure, upgrade};
use crate::snapshot::RoutePolicy;
use crate::tables::{Lease, LiveBackend};

/// Answers once an endpoint has taken the connection. The exchange ends with the tunnel.
pub(super) async fn tunnel(
    exchange: &Rc<Exchange>,
    backend: &LiveBackend,
    policy: &RoutePolicy,
    mut head: Parts,
) -> Result<Response<ResponseBody>, ProxyError> {
    let client = head.extensions.remove::<OnUpgrade>().ok_or(ProxyError::NotImplemented)?;
    let (stream, place, lease) = open(exchange, backend, policy).await?;
    Ok(upgrade::accept(exchange, client, stream, (lease, place)))
}

async fn open(
    exchange: &Exchange,
    backend: &LiveBackend,
    policy: &RoutePolicy,
) -> Result<(TcpStream, Place, Lease), ProxyError> {
    let worker = &exchange.connection.worker;
    let limit = backend.connect_timeout(policy);
    let pick = |tried: &[u64]| backend.pick(exchange.client.get(), worker.random(), tried);
    let mut retries = Retries::of_tunnel(exchange, backend);
    let mut tried = SmallVec::<[u64; 4]>::new();
    let mut lease = pick(&tried)?;
    exchange.trying(lease.endpoint().address);
    loop {
        tried.push(lease.endpoint().id);
        let connecting = timeout(limit, connect::tcp(worker, lease.endpoint().address));
        let failure = match exchange.unless_failed(connecting).await? {
            Ok(Ok((stream, place))) => {
                backend.opened(lease.endpoint());
                return Ok((stream, place, lease));
            }
            Ok(Err(error)) => failure::of_connecting(&error, lease.endpoint().address),
            Err(_) => ProxyError::ConnectTimeout,
        };
        exchange.backend_failed(failure);
        if failure.ejects() {
            backend.not_opened(lease.endpoint().id);
        }
        lease = retries.after_connecting(|| pick(&tried)).ok_or(failure)?;
        exchange.retries(lease.endpoint().address);
    }
}
