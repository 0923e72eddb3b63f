//! From what is wanted to what is served: translates, publishes, and accounts for both in metrics and the application log.
//! Keeps what one translation hands to the next. When it is done, and with which objects, is `app`'s matter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::news::News;
use crate::proxy::self_made_certificate;
use crate::snapshot::Snapshot;
use crate::tables::Published;
use crate::telemetry::Metrics;
use crate::translate::{Objects, Options, Plain, PolicyStatus, Report, Translation, Translator};

/// What a source asks for, of whichever kind it is.
pub(super) enum Wanted {
    Objects(Objects),
    /// With the addresses of its host names.
    Plain(Arc<Plain>, BTreeMap<String, Arc<[IpAddr]>>),
}

/// The control side's state between two changes.
pub(super) struct Control {
    options: Options,
    translator: Translator,
    news: News,
    metrics: Arc<Metrics>,
    published: Arc<Published>,
}

/// What a change led to.
#[derive(Debug)]
pub(super) struct Outcome {
    /// All that is wrong with objects now.
    pub(super) reports: Arc<[Report]>,
    pub(super) policies: Arc<[PolicyStatus]>,
    /// Host names whose addresses are wanted among the next objects.
    pub(super) names: BTreeSet<String>,
    /// `false`: what is served is the same as before.
    pub(super) published: bool,
}

impl Control {
    /// Translates for the first time, so that there is something to serve before anybody can ask.
    pub(super) fn start(options: Options, wanted: &Wanted, metrics: Arc<Metrics>) -> (Self, Outcome) {
        let mut translator = Translator::default();
        let translation = timed(&metrics, || wanted.translate(&mut translator, &options));
        let Translation { snapshot, reports, policies, names_to_resolve: names, .. } = translation;
        let published = Published::new(Arc::new(snapshot), self_made_certificate(), metrics.clone());
        let mut control = Control { options, translator, news: News::default(), metrics, published };
        control.account_for_tables();
        control.account_for(&reports);
        (control, Outcome { reports: reports.into(), policies, names, published: true })
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    /// Translates and publishes. `None`: the translator met a bug; what is served stays as it is.
    pub(super) fn apply(&mut self, wanted: &Wanted) -> Option<Outcome> {
        let translate = AssertUnwindSafe(|| wanted.translate(&mut self.translator, &self.options));
        let Ok(translation) = timed(&self.metrics, || catch_unwind(translate)) else {
            // Its memos may be half-written.
            self.translator = Translator::default();
            tracing::error!("a bug met while translating: this change is not served, what was served before is");
            return None;
        };
        let Translation { snapshot, reports, policies, names_to_resolve: names, .. } = translation;
        let published = self.published.publish(Arc::new(snapshot));
        if published {
            self.account_for_tables();
        }
        self.account_for(&reports);
        Some(Outcome { reports: reports.into(), policies, names, published })
    }

    fn account_for_tables(&self) {
        let tables = self.published.load();
        let Snapshot { hosts, backends, secrets, settings, .. } = &*tables.snapshot;
        let generation = tables.generation;
        if settings.proxy_protocol && settings.trusted_proxies.is_empty() {
            tracing::warn!(
                "the PROXY protocol is on, but no peer is trusted to speak it: name them with --trusted-proxies CIDR,... \
                 or proxy-real-ip-cidr"
            );
        }
        let control = self.metrics.control();
        control.published(generation);
        control.set_certificates(
            secrets
                .iter()
                .map(|(secret, certificate)| (secret.namespace.clone(), secret.name.clone(), certificate.not_after)),
        );
        tracing::info!(generation, hosts = hosts.len(), backends = backends.len(), "published");
    }

    fn account_for(&mut self, reports: &[Report]) {
        let problems = reports.iter().flat_map(|report| &report.problems);
        self.metrics.control().set_problems(problems.map(|problem| format!("{:?}", problem.reason)));
        self.news.tell(reports);
    }
}

impl Wanted {
    fn translate(&self, translator: &mut Translator, options: &Options) -> Translation {
        match self {
            Wanted::Objects(objects) => translator.translate(objects, options),
            Wanted::Plain(plain, addresses) => plain.translate(addresses, options),
        }
    }
}

fn timed<T>(metrics: &Metrics, translate: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let translated = translate();
    metrics.control().translated(started.elapsed());
    translated
}
