//! Starts and ends the data plane as a whole.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::admission::Admission;
use super::backend_sockets::BackendSockets;
use super::listener::ChangedBy;
use super::memory::Memory;
use super::worker::{self, Drain, Listeners, Shared};
use super::{listener, tls};
use crate::config::Config;
use crate::tables::Published;
use crate::telemetry::{AccessLog, Metrics};

/// The running data plane. Dropping it does not end the workers; [`Proxy::drain`] does.
#[derive(Debug)]
pub struct Proxy {
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    workers: usize,
    memory: Arc<Memory>,
    drain: watch::Sender<Option<Drain>>,
    /// One message per worker that ended.
    ended: mpsc::UnboundedReceiver<anyhow::Result<()>>,
}

impl Proxy {
    /// Binds the ports and starts the workers.
    pub fn start(
        config: &Config,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        access_log: Arc<AccessLog>,
    ) -> anyhow::Result<Proxy> {
        let bind = |number: Option<u16>, port| {
            let by = ChangedBy { address: config.bind_address_by, port };
            number.map(|number| listener::bind(config.bind_address, number, config.workers, by)).transpose()
        };
        let https_port_by = if config.http_port.is_some() { "--https-port" } else { config.http_port_by };
        let (http, http_listeners) = bind(config.http_port, config.http_port_by)?.unzip();
        let (https, https_listeners) = bind(config.https_port, https_port_by)?.unzip();
        let mut http_listeners = http_listeners.unwrap_or_default().into_iter();
        let mut https_listeners = https_listeners.unwrap_or_default().into_iter();
        let shared = Arc::new(shared(config, published, metrics, access_log)?);
        let memory = shared.memory.clone();
        let (drain, draining) = watch::channel(None);
        let (report, ended) = mpsc::unbounded_channel();
        for index in 0..config.workers {
            let (shared, draining, report) = (shared.clone(), draining.clone(), report.clone());
            let listeners = Listeners { http: http_listeners.next(), https: https_listeners.next() };
            let work = move || {
                let run = || worker::run(index, shared, listeners, draining);
                let result = catch_unwind(AssertUnwindSafe(run));
                // Nobody listens any more only when the process is ending.
                drop(report.send(outcome(index, result)));
            };
            std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(work)
                .context("starting a worker thread")?;
        }
        Ok(Proxy { http, https, workers: config.workers, memory, drain, ended })
    }

    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https
    }

    /// How scarce memory is, as workers are to see it.
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.clone()
    }

    /// Takes no new connections, lets those that are open finish what is in flight, and cuts the rest at `deadline`.
    /// Called again, it moves the deadline.
    pub fn drain(&self, deadline: Duration) {
        self.drain.send_replace(Some(Drain { deadline: Instant::now() + deadline }));
    }

    /// Until all workers have drained. An error as soon as one of them has died.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        while self.workers > 0 {
            self.ended.recv().await.unwrap_or(Ok(()))?;
            self.workers -= 1;
        }
        Ok(())
    }
}

fn shared(
    config: &Config,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
) -> anyhow::Result<Shared> {
    let limits = config.limits.clone();
    let server_header = Some(config.server_header.as_str()).filter(|name| !name.is_empty());
    Ok(Shared {
        admission: Admission::new(limits.max_connections, limits.max_connections_per_address),
        backend_sockets: BackendSockets::new(config.backend_connections),
        memory: Arc::default(),
        client_tls: tls::server_config(published.clone()).into(),
        server_header: server_header.map(HeaderValue::from_str).transpose().context("--server-header")?,
        https_redirect_port: config.https_redirect_port,
        origin: std::time::Instant::now(),
        limits,
        published,
        metrics,
        access_log,
    })
}

fn outcome(index: usize, result: std::thread::Result<std::io::Result<()>>) -> anyhow::Result<()> {
    match result {
        Ok(result) => result.with_context(|| format!("worker {index}")),
        Err(panic) => {
            let reason = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(anyhow!("worker {index} panicked: {}", reason.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests;
