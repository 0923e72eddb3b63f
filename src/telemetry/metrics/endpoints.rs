//! Metrics of endpoints: which of them get requests, which is looked up when somebody asks, and how often one was ejected.

use std::collections::BTreeMap;
use std::fmt;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::encode::{counter, family, gauge};

/// An endpoint as labels name it: namespace, Service, address.
pub type EndpointLabels = (String, String, String);

/// Gives all endpoints, and whether they get requests.
type All = dyn Fn() -> Vec<(EndpointLabels, bool)> + Send;

#[derive(Default)]
pub(super) struct EndpointMetrics {
    all: Option<Box<All>>,
    /// By namespace and Service. Those of a Service that is gone stay: there are few.
    ejections: BTreeMap<(String, String), u64>,
}

impl EndpointMetrics {
    pub(super) fn watch(&mut self, all: Box<All>) {
        self.all = Some(all);
    }

    pub(super) fn ejected(&mut self, namespace: &str, service: &str) {
        *self.ejections.entry((namespace.to_owned(), service.to_owned())).or_default() += 1;
    }

    pub(super) fn families(&self) -> [MetricFamily; 2] {
        let healthy = |((namespace, service, endpoint), healthy): (&EndpointLabels, &bool)| {
            let labels = [("namespace", &**namespace), ("ingress", ""), ("service", service), ("endpoint", endpoint)];
            gauge(&labels, f64::from(u8::from(*healthy)))
        };
        let ejections = |((namespace, service), count): (&(String, String), &u64)| {
            counter(&[("namespace", namespace), ("ingress", ""), ("service", service)], *count)
        };
        let healthy: Vec<Metric> = self.healthy().iter().map(healthy).collect();
        let ejections: Vec<Metric> = self.ejections.iter().map(ejections).collect();
        [
            family("proxy_endpoint_healthy", "1: the endpoint gets requests.", MetricType::GAUGE, healthy),
            family("proxy_ejections_total", "Endpoints ejected after failures.", MetricType::COUNTER, ejections),
        ]
    }

    /// Ports of a Service that have an endpoint in common count as one; it is healthy if it is for all of them.
    fn healthy(&self) -> BTreeMap<EndpointLabels, bool> {
        let mut endpoints = BTreeMap::new();
        for (labels, healthy) in self.all.iter().flat_map(|all| all()) {
            *endpoints.entry(labels).or_insert(true) &= healthy;
        }
        endpoints
    }
}

impl fmt::Debug for EndpointMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointMetrics").field("ejections", &self.ejections).finish_non_exhaustive()
    }
}
