//! The end of an exchange: what it counts for, and what the access log says of it.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode, Version};

use super::Exchange;
use crate::proxy::error::ProxyError;
use crate::telemetry::access_log::Entry;

impl Exchange {
    /// The exchange is over; counted and logged once. `complete`: the whole response was handed over.
    pub(in crate::proxy) fn finish(&self, complete: bool) {
        if self.finished.replace(true) {
            return;
        }
        let worker = &self.connection.worker;
        if !complete && self.failure.get().is_none() {
            self.failure.set(Some(match () {
                // Dropped in its midst: a panic in a body or a tunnel, where nobody can answer for it any more.
                () if std::thread::panicking() => ProxyError::Panic,
                () if worker.cuts.get() => ProxyError::Draining,
                () => ProxyError::ClientGone,
            }));
        }
        if self.failure.get() == Some(ProxyError::Panic) {
            worker.shard().panicked();
        }
        if self.status.get() == 0 {
            self.status
                .set(self.failure.get().map_or(StatusCode::INTERNAL_SERVER_ERROR, |error| error.status()).as_u16());
        }
        self.counted.borrow_mut().clear();
        self.end_try();
        let duration = self.start.elapsed();
        let metrics = match self.route.get() {
            Some(route) => &route.metrics,
            None => {
                let unrouted = worker.shared.metrics.unrouted();
                self.shard_of(unrouted).started();
                unrouted
            }
        };
        let (received, sent) = (self.received.get(), self.sent.get());
        self.shard_of(metrics).finished(&self.head.method, self.status.get(), duration, received, sent);
        if worker.log.borrow().is_on() {
            self.log(duration);
        }
        // Its request body may have told of the client's leaving before.
        self.connection.ended(self, self.failure.get() == Some(ProxyError::ClientGone));
    }

    fn log(&self, duration: Duration) {
        let connection = &self.connection;
        let route = self.route.get();
        let labels = route.map(|route| route.metrics.labels());
        let tries = self.tries.borrow();
        let tables = self.tables.borrow();
        let backend = tables.as_ref().map(|tables| self.name_in(tables));
        let (host, path) = self.asked_for();
        connection.worker.log.borrow_mut().record(&Entry {
            start: SystemTime::now() - duration,
            duration,
            client: self.client.get(),
            peer: connection.facts.peer,
            method: self.head.method.as_str(),
            scheme: if connection.facts.tls_version.is_some() { "https" } else { "http" },
            host,
            path: path.as_bytes(),
            query: self.head.uri.query().unwrap_or("").as_bytes(),
            protocol: protocol(self.head.version),
            status: self.status.get(),
            bytes_sent: self.sent.get(),
            bytes_received: self.received.get(),
            referer: bytes_of(&self.head.referer),
            user_agent: bytes_of(&self.head.user_agent),
            request_id: self.request_id.to_str().unwrap_or(""),
            namespace: labels.map_or("", |labels| &labels.namespace),
            ingress: labels.map_or("", |labels| &labels.ingress),
            service: labels.map_or("", |labels| &labels.service),
            route: route.map_or("", |route| &route.label),
            backend: backend.or(self.backend_name.get().map(|name| &**name)).unwrap_or(""),
            tries: &tries,
            flag: self.failure.get().map_or("", |error| error.flag()),
            tls_version: connection.facts.tls_version.unwrap_or(""),
        });
    }

    /// Host and path as they were matched and forwarded; as sent, if the head was refused before.
    fn asked_for(&self) -> (&[u8], &str) {
        let uri = &self.head.uri;
        if let Some(target) = self.target.get() {
            return (target.authority().as_bytes(), target.path(uri));
        }
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        (self.head.host.as_ref().map(HeaderValue::as_bytes).or(authority).unwrap_or(b""), uri.path())
    }
}

fn bytes_of(field: &Option<HeaderValue>) -> &[u8] {
    field.as_ref().map_or(b"", |value| value.as_bytes())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
