//! Metrics of endpoints: which of them get requests, and how often one was ejected. Written by the control side.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::encode::{counter, family, gauge};

/// An endpoint as labels name it: namespace, Service, address.
pub type EndpointLabels = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct EndpointMetrics {
    /// Whether it gets requests. Replaced whole.
    healthy: BTreeMap<EndpointLabels, bool>,
    /// By namespace and Service. Those of a Service that is gone stay: there are few.
    ejections: BTreeMap<(String, String), u64>,
}

impl EndpointMetrics {
    /// Ports of a Service that have an endpoint in common count as one; it is healthy if it is for all of them.
    pub(super) fn set(&mut self, endpoints: impl IntoIterator<Item = (EndpointLabels, bool)>) {
        self.healthy.clear();
        for (labels, healthy) in endpoints {
            *self.healthy.entry(labels).or_insert(true) &= healthy;
        }
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
        let healthy: Vec<Metric> = self.healthy.iter().map(healthy).collect();
        let ejections: Vec<Metric> = self.ejections.iter().map(ejections).collect();
        [
            family("proxy_endpoint_healthy", "1: the endpoint gets requests.", MetricType::GAUGE, healthy),
            family("proxy_ejections_total", "Endpoints ejected after failures.", MetricType::COUNTER, ejections),
        ]
    }
}
