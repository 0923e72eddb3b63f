//! Metrics of a watched cluster, looked up when somebody asks; there are none where no cluster is served.

use std::fmt;

use prometheus::proto::{MetricFamily, MetricType};

use super::encode::{counter, family, gauge};

/// How the watch of one kind of object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKind {
    pub kind: &'static str,
    /// It was listed once, and nothing stops it from being read.
    pub synced: bool,
    pub objects: usize,
    /// Lists and watches that the API server did not answer as asked.
    pub errors: u64,
}

/// Gives whether this process holds the Lease, and how the watches stand.
type Ask = dyn Fn() -> (bool, Vec<WatchedKind>) + Send;

#[derive(Default)]
pub(super) struct ClusterMetrics(Option<Box<Ask>>);

impl ClusterMetrics {
    pub(super) fn watch(&mut self, ask: Box<Ask>) {
        self.0 = Some(ask);
    }

    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let Some((leads, kinds)) = self.0.as_ref().map(|ask| ask()) else { return Vec::new() };
        let one = |yes: bool| f64::from(u8::from(yes));
        let synced = kinds.iter().map(|of| gauge(&[("kind", of.kind)], one(of.synced))).collect();
        let objects = kinds.iter().map(|of| gauge(&[("kind", of.kind)], of.objects as f64)).collect();
        let errors = kinds.iter().map(|of| counter(&[("kind", of.kind)], of.errors)).collect();
        vec![
            family(
                "headgate_leader",
                "1: this process writes status and Events.",
                MetricType::GAUGE,
                vec![gauge(&[], one(leads))],
            ),
            family("headgate_source_synced", "1: the kind was listed and can be read.", MetricType::GAUGE, synced),
            family("headgate_source_objects", "Objects of the kind that are kept.", MetricType::GAUGE, objects),
            family(
                "headgate_watch_errors_total",
                "Lists and watches that the API server did not answer as asked.",
                MetricType::COUNTER,
                errors,
            ),
        ]
    }
}

impl fmt::Debug for ClusterMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterMetrics").field(&self.0.is_some()).finish()
    }
}
