//! From what is wanted to what is served: translates, publishes, and accounts for both in metrics and the application log.
//! Keeps what one translation hands to the next. When it is done, and with which objects, is `app`'s matter.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::news::News;
use crate::proxy::self_made_certificate;
use crate::snapshot::{Reference, Snapshot};
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
    /// Of the newest translation.
    reports: Arc<[Report]>,
    /// How many hosts and backends were told of.
    told: (usize, usize),
}

/// What a change led to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// All that is wrong with objects now.
    pub(super) reports: Arc<[Report]>,
    pub(super) policies: Arc<[PolicyStatus]>,
    /// The Ingresses that are ours.
    pub(super) served: Arc<BTreeSet<Reference>>,
    /// Host names whose addresses are wanted among the next objects.
    pub(super) names: BTreeSet<String>,
    /// `false`: what is served is the same as before.
    pub(super) published: bool,
}

impl Control {
    /// Nothing is published yet.
    pub(super) fn new(options: Options, metrics: Arc<Metrics>) -> Self {
        let published = Published::new(self_made_certificate(), metrics.clone());
        let (translator, news) = (Translator::default(), News::default());
        Control { options, translator, news, metrics, published, reports: Arc::default(), told: (0, 0) }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    /// `None`: the translator met a bug; what is served is to stay as it is.
    pub(super) fn translate(&mut self, wanted: &Wanted) -> Option<Translation> {
        let translate = AssertUnwindSafe(|| wanted.translate(&mut self.translator, &self.options));
        let translation = timed(&self.metrics, || catch_unwind(translate));
        if translation.is_err() {
            // Its memos may be half-written.
            self.translator = Translator::default();
            tracing::error!("a bug met while translating: this change is not served, what was served before is");
        }
        translation.ok()
    }

    pub(super) fn publish(&mut self, translation: Translation) -> Outcome {
        let Translation { snapshot, reports, policies, served, names_to_resolve: names, .. } = translation;
        let published = self.published.publish(Arc::new(snapshot));
        if published {
            self.account_for_tables();
        }
        self.account_for(reports);
        Outcome { reports: self.reports.clone(), policies, served, names, published }
    }

    fn account_for_tables(&mut self) {
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
        // Endpoints come and go all the time.
        let (hosts, backends) = (hosts.len(), backends.len());
        match std::mem::replace(&mut self.told, (hosts, backends)) == (hosts, backends) {
            true => tracing::debug!(generation, hosts, backends, "published"),
            false => tracing::info!(generation, hosts, backends, "published"),
        }
    }

    /// Those that are as before keep their `Arc`, and cost nothing.
    fn account_for(&mut self, reports: Vec<Report>) {
        if *self.reports == *reports {
            return;
        }
        self.reports = reports.into();
        let problems = self.reports.iter().flat_map(|report| &report.problems);
        self.metrics.control().set_problems(problems.map(|problem| format!("{:?}", problem.reason)));
        self.news.tell(&self.reports);
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

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn reports_that_are_as_before_are_the_same_ones() {
        let mut control = Control::new(Options::default(), Metrics::new(1));
        let mut reports = |objects: &Objects| {
            let translation = control.translate(&Wanted::Objects(objects.clone())).unwrap();
            control.publish(translation).reports
        };
        let mut objects = Objects::default();
        let ingress = json!({"spec": {"defaultBackend": {"service": {"name": "none", "port": {"number": 80}}}}});
        objects.ingresses.insert(Reference::new("n", "i"), Arc::new(from_value(ingress).unwrap()));
        let first = reports(&objects);
        assert_eq!(first.len(), 1);
        let class = json!({"spec": {"controller": "other"}});
        objects.ingress_classes.insert("other".into(), Arc::new(from_value(class).unwrap()));
        assert!(Arc::ptr_eq(&first, &reports(&objects)));
        objects.ingresses.clear();
        assert_eq!(reports(&objects).len(), 0);
    }
}
