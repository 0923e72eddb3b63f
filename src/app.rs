//! Wiring: start order, the loop that applies what changes, the order of the end.
//!
//! Everything here runs on the control side's runtime; requests are served by the workers of [`Proxy`]. A change goes
//! from the source through `control` to the published tables, when `pace` says so.

mod control;
pub mod descriptors;
mod found;
mod lookups;
mod memory;
mod news;
mod pace;
mod signals;
mod source;
mod tasks;

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tracing::field::display;

use crate::admin::{self, Pending, Readiness};
use crate::config::Config;
use crate::explain::Site;
use crate::health::Watch;
use crate::proxy::Proxy;
use crate::proxy::listener::{self, ChangedBy};
use crate::source::file::Settings;
use crate::source::kubernetes::Findings;
use crate::source::resolve::Resolver;
use crate::telemetry::{AccessLog, Metrics, init_application_log};
use crate::translate::Translation;
use control::{Control, Outcome};
use lookups::Lookups;
use pace::Pace;
use signals::{Asked, Signals};
use source::Source;
pub use source::{client, report_settings, scope};
use tasks::Tasks;

/// How long the last lines of the access log may take to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// How long after all else it may take to stop telling the cluster.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until told to end. `file`: what that of `--config` says.
pub fn serve(mut config: Config, file: Option<Settings>) -> anyhow::Result<()> {
    init_application_log(&config.log_filter, config.log_format).map_err(anyhow::Error::msg)?;
    if !config.meaningless.is_empty() {
        tracing::warn!("{}: passed over, since they mean nothing for a plain proxy", config.meaningless.join(", "));
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    descriptors::fit(&mut config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let outcome = runtime.block_on(async { Process::start(config, file).await?.run().await });
    runtime.shutdown_background();
    outcome
}

/// The running process.
struct Process {
    config: Config,
    signals: Signals,
    source: Source,
    resolver: Resolver,
    control: Control,
    pace: Pace,
    metrics: Arc<Metrics>,
    access_log: Arc<AccessLog>,
    /// `None`: nothing was published yet.
    proxy: Option<Proxy>,
    tasks: Tasks,
    admin: Arc<admin::State>,
    readiness: Arc<Readiness>,
    /// What readiness waits for, as long as it does.
    pending: Vec<Pending>,
    admin_address: SocketAddr,
    lookups: Lookups,
    phase: Phase,
}

/// Where in its life the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Not ready any more, but still taking connections until then.
    Leaving(Instant),
    Draining,
}

impl Process {
    /// Everything up to "ready", where all that is to be served can be read at once; else the ports for traffic are opened
    /// when it was. Must be called within the control runtime.
    async fn start(config: Config, file: Option<Settings>) -> anyhow::Result<Self> {
        // First, so that a signal that comes during the start is not lost.
        let signals = Signals::install().context("cannot take signals")?;
        let metrics = Metrics::with(config.workers, config.metrics.clone());
        for name in metrics.excluded_in_vain() {
            tracing::warn!("--exclude-metrics {name}: there is no metric of that name");
        }
        let access_log = AccessLog::open(config.access_log.clone(), config.access_log_format).map_err(no_access_log)?;
        metrics.watch_access_log(access_log.clone());
        let source = Source::open(&config, file).await?;
        source.show_in(&metrics);
        let control = Control::new(config.translate.clone(), metrics.clone());

        let mut tasks = Tasks::default();
        tasks.spawn("the watch over endpoints", Watch::new(control.published(), metrics.clone()).run());

        let readiness = Readiness::new();
        let pending = vec![readiness.wait_for("the objects to serve"), readiness.wait_for("the listeners")];
        let site = Site::new(&config.limits, config.https_redirect_port, config.plain_port());
        let admin = admin::State::new(
            control.published(),
            metrics.clone(),
            readiness.clone(),
            config.debug_remote,
            config.health_check_path.clone(),
            site,
        );
        let (admin_address, admin_listener) = bind_admin(&config)?;
        tasks.spawn("the admin port", admin::serve(admin_listener, admin.clone()));
        if !source.missing().is_empty() {
            tracing::info!(admin = %admin_address, "the ports for traffic are opened once the cluster was read");
        }
        let mut process = Process {
            config,
            signals,
            source,
            resolver: Resolver::start(),
            control,
            metrics,
            access_log,
            proxy: None,
            tasks,
            admin,
            readiness,
            pending,
            admin_address,
            lookups: Lookups::default(),
            pace: Pace::default(),
            phase: Phase::Serving,
        };
        process.account_for_source();
        process.apply()?;
        Ok(process)
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let outcome = self.until_the_end().await;
        self.source.leave();
        if tokio::time::timeout(LEAVE_PATIENCE, self.source.left()).await.is_err() {
            tracing::warn!("the Lease could not be given up in time");
        }
        if !self.access_log.close(LOG_PATIENCE) {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
        outcome
    }

    /// Applies what changes and does what signals ask.
    async fn until_the_end(&mut self) -> anyhow::Result<()> {
        loop {
            let leave = match self.phase {
                Phase::Leaving(until) => Some(until),
                Phase::Serving | Phase::Draining => None,
            };
            tokio::select! {
                asked = self.signals.next() => if self.obey(asked).is_break() { return self.cut().await },
                ended = ended(&mut self.proxy) => return ended,
                error = self.tasks.ended() => return Err(error),
                changed = self.source.changed() => {
                    changed?;
                    self.account_for_source();
                    self.pace.notice(Instant::now());
                }
                () = self.resolver.changed() => self.pace.notice(Instant::now()),
                () = at(self.pace.due()) => self.apply()?,
                () = at(self.lookups.until()) => self.apply()?,
                () = at(leave) => if self.drain().is_break() { return Ok(()) },
            }
        }
    }

    /// Ends what is in flight. What was cut is still said in the access log.
    async fn cut(&mut self) -> anyhow::Result<()> {
        let Some(proxy) = &mut self.proxy else { return Ok(()) };
        proxy.drain(Duration::ZERO);
        tokio::time::timeout(LOG_PATIENCE, proxy.ended()).await.unwrap_or(Ok(()))
    }

    /// Translates and publishes what is to be served, once that is known whole.
    fn apply(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let Some(translation) = self.translate(started) else {
            self.pace.postponed(started, Instant::now());
            return Ok(());
        };
        let outcome = self.control.publish(translation);
        let noticed = self.pace.applied(started, Instant::now());
        self.adopt(&outcome);
        if self.proxy.is_none() {
            self.open(&outcome)?;
        }
        if let Some(noticed) = noticed.filter(|_| outcome.published) {
            self.metrics.control().applied(noticed.elapsed());
        }
        Ok(())
    }

    /// What is to be served. `None`: that is not known yet, and it will be noticed when it is.
    fn translate(&mut self, now: Instant) -> Option<Translation> {
        let missing = self.source.missing();
        if !missing.is_empty() {
            self.wait_for_objects(&missing.join(", "));
            return None;
        }
        self.lookups.pass(now);
        let is_known = self.source.knowledge();
        let translation = self.control.translate(&self.source.wanted(self.resolver.addresses()))?;
        self.source.want_secrets(&translation.secrets);
        let are_known = is_known(&translation.secrets);
        if !are_known {
            self.wait_for_objects("Secret");
        }
        let may_wait = self.lookups.may_wait(&translation.secrets, are_known, now);
        (are_known || self.proxy.is_some() && !may_wait).then_some(translation)
    }

    /// Lets `/readyz` say so.
    fn wait_for_objects(&self, kinds: &str) {
        if let Some(objects) = self.pending.first() {
            objects.is_for(format!("the objects to serve (not listed yet: {kinds})"));
        }
    }

    /// Opens the ports for traffic: something is published.
    fn open(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        let published = self.control.published();
        let proxy = Proxy::start(&self.config, published.clone(), self.metrics.clone(), self.access_log.clone())?;
        let (http, https) = (proxy.http_address().map(display), proxy.https_address().map(display));
        tracing::info!(http, https, admin = %self.admin_address, "listening");
        if let Some(limit) = memory::Limit::of(self.config.memory_limit) {
            let watch = limit.watch(proxy.memory(), self.metrics.clone());
            self.tasks.spawn("the watch over memory", watch);
        }
        self.proxy = Some(proxy);
        self.source.tell(&self.config.source, &outcome.reports, published.load().snapshot.hosts.len());
        self.pending.drain(..).for_each(Pending::done);
        Ok(())
    }

    fn adopt(&self, outcome: &Outcome) {
        self.resolver.want(&outcome.names);
        self.admin.set_reports(outcome.reports.clone());
        self.admin.set_policies(outcome.policies.clone());
        let Outcome { reports, policies, served, .. } = outcome.clone();
        self.source.report(Findings { reports, policies, served });
    }

    fn account_for_source(&self) {
        let (problems, of_writing) = (self.source.problems(), self.source.problems_of_writing());
        let control = self.metrics.control();
        control.set_source_errors(problems.len());
        control.set_write_errors(of_writing.len());
        if problems.is_empty() {
            control.source_succeeded(SystemTime::now());
        }
        let told: Vec<_> = problems.iter().chain(of_writing).chain(self.source.notes()).collect();
        self.admin.set_source_problems(serde_json::json!(told));
    }

    /// Breaks when the process is to end now.
    fn obey(&mut self, asked: Asked) -> ControlFlow<()> {
        match asked {
            Asked::Reload => self.source.reload(),
            Asked::ReopenAccessLog => self.access_log.reopen(),
            Asked::Leave | Asked::LeaveAtOnce if self.phase != Phase::Serving => {
                tracing::warn!("asked again to end: what is in flight is cut");
                return ControlFlow::Break(());
            }
            Asked::Leave => self.leave(self.config.shutdown_grace_period),
            Asked::LeaveAtOnce => self.leave(Duration::ZERO),
        }
        ControlFlow::Continue(())
    }

    fn leave(&mut self, grace: Duration) {
        self.readiness.leave();
        self.source.leave();
        tracing::info!(?grace, "not ready any more; draining begins after the grace period");
        self.phase = Phase::Leaving(Instant::now() + grace);
    }

    /// Breaks when there is nothing to drain.
    fn drain(&mut self) -> ControlFlow<()> {
        let deadline = self.config.drain_timeout;
        let Some(proxy) = &mut self.proxy else { return ControlFlow::Break(()) };
        tracing::info!(?deadline, "no new connections; what is in flight may end, unless a second signal cuts it");
        proxy.drain(deadline);
        self.phase = Phase::Draining;
        ControlFlow::Continue(())
    }
}

fn no_access_log(error: io::Error) -> anyhow::Error {
    anyhow!("--access-log cannot write to {error}; give a file in a folder that is there and can be written, or stdout")
}

fn bind_admin(config: &Config) -> anyhow::Result<(SocketAddr, TcpListener)> {
    let by = ChangedBy { address: config.healthz_host_by, port: "--healthz-port" };
    let (address, listeners) = listener::bind(config.healthz_host, config.healthz_port, 1, by)?;
    let listener = listeners.into_iter().next().expect("one was asked for");
    Ok((address, TcpListener::from_std(listener)?))
}

/// Waits for the end of a proxy that may not be there yet.
async fn ended(proxy: &mut Option<Proxy>) -> anyhow::Result<()> {
    match proxy {
        Some(proxy) => proxy.ended().await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment that may never come.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
