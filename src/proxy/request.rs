//! The order in which a request is treated.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response, header};
use http_body::Body;
use hyper::body::Incoming;

use super::admit::admit;
use super::body::ResponseBody;
use super::connection::Connection;
use super::decide::{self, Asked, Next};
use super::error::ProxyError;
use super::exchange::{Exchange, Head};
use super::head_check::{self, Connect};
use super::{dial, forward, headers, message, respond};
use crate::tables::Tables;

/// Answers one request. Never fails: what goes wrong is an answer of our own, or a response that breaks off.
pub(super) async fn serve(
    request: Request<Incoming>,
    connection: Rc<Connection>,
) -> Result<Response<ResponseBody>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let tables = connection.worker.reader.current();
    let request_id = headers::request_id(&head.headers, fastrand::u128(..));
    let exchange = Exchange::start(&connection, &tables, Head::of(&head), request_id);
    let expects = !body.is_end_stream() && head.headers.contains_key(header::EXPECT);
    exchange.hold_body(body, expects);
    let mut pending = Pending { exchange: &exchange, answered: false };
    let answer = AssertUnwindSafe(treat(&exchange, &tables, head)).catch_unwind().await;
    pending.answered = true;
    let answer = answer.unwrap_or(Err(ProxyError::Panic));
    Ok(answer.unwrap_or_else(|error| refuse(&exchange, error)))
}

/// The order of a request: who is refused before a step costs nothing of it.
async fn treat(exchange: &Rc<Exchange>, tables: &Tables, head: Parts) -> Result<Response<ResponseBody>, ProxyError> {
    #[cfg(test)]
    super::faults::arm(&head.headers);
    let shared = &exchange.connection.worker.shared;
    if let Some(error) = exchange.connection.refused() {
        return Err(error);
    }
    if shared.memory.is_full() {
        exchange.connection.worker.shard().request_shed();
        return Err(ProxyError::MemoryScarce);
    }
    let client = exchange.resolve_client(tables, &head.headers);
    let checked = head_check::check(&head, exchange.is_tls(), shared.limits.max_header_fields)?;
    let target = exchange.target.get_or_init(|| checked);
    let route = decide::route(&tables.routes, target, &head.uri);
    let route = route.inspect_err(|_| exchange.host_is_certified.set(tables.routes.has_tls(target.host())))?;
    exchange.enter(route);
    let asked = Asked { head: &head, target, tls: exchange.is_tls(), client };
    if decide::next(route, asked, || exchange.body.least_size())? == Next::Redirect {
        let port = shared.https_redirect_port;
        let answer = respond::redirect(target.host(), port, &head.uri, exchange.head.asker, exchange.marks())?;
        return Ok(message::own(exchange, answer));
    }
    admit(exchange, route, target.host(), client, &head)?;
    let backend = exchange.choose_backend(tables, route)?;
    if target.connect == Some(Connect::Tunnel) {
        return dial::tunnel(exchange, backend, &route.policy, head).await;
    }
    let outgoing = message::outgoing(exchange, &tables.settings, head, target, client, backend.protocol)?;
    let (response, connected) = forward::forward(exchange, backend, &route.policy, outgoing.request).await?;
    message::incoming(exchange, response, connected, outgoing.upgrade)
        .inspect_err(|error| exchange.backend_failed(*error))
}

/// Ends the exchange if the client goes away before the response head: hyper then drops the request's future.
struct Pending<'a> {
    exchange: &'a Rc<Exchange>,
    answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.exchange.finish(false);
        }
    }
}

fn refuse(exchange: &Rc<Exchange>, error: ProxyError) -> Response<ResponseBody> {
    exchange.fail(error);
    // A client that broke off its body may still listen; 499 is for the log alone.
    let told = if error == ProxyError::ClientGone { ProxyError::BadRequest("the body broke off") } else { error };
    let allow = exchange.route().map(|route| &route.allow);
    let answer = message::own(exchange, respond::refuse(&told, exchange.head.asker, allow, exchange.marks()));
    exchange.responds(error.status());
    answer
}
