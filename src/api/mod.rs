//! `ProxyPolicy`, the one kind of object that is ours: spec and status as the API server stores them, with the schema
//! and the CEL rules that it enforces. `headgate crds` prints it.
//!
//! Types only. What a value means, and whether it is one where no API server looked, is for `translate` to say:
//! durations, sizes and networks are texts here.
#![allow(unreachable_pub, reason = "the schema derive copies each struct into a function")]
#![allow(clippy::duplicated_attributes, reason = "several printer columns have the same type")]

mod backend;
mod client;
mod schema;
mod status;

use kube::{CustomResource, CustomResourceExt, KubeSchema};
use serde::{Deserialize, Serialize};

pub use backend::{
    Algorithm, BackendTls, HealthCheck, LoadBalancer, Outlier, Protocol, Retry, SecretRef, TrafficSplitEntry,
};
pub use client::{Access, ConnectionLimit, KeyType, RateLimit, RateLimitKey, RequestRules, Timeouts};
pub use status::{Ancestor, AncestorRef, ProxyPolicyStatus};

/// How clients of an Ingress are treated, and how the backends behind a Service are talked to.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "headgate.dev",
    version = "v1alpha1",
    kind = "ProxyPolicy",
    plural = "proxypolicies",
    namespaced,
    status = "ProxyPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "pp",
    category = "headgate",
    label("gateway.networking.k8s.io/policy", "Inherited"),
    doc = "ProxyPolicy says how the clients of an Ingress are treated and how the backends behind a Service are talked to.",
    printcolumn(name = "Target", type_ = "string", json_path = ".status.ancestors[0].ancestorRef.name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Programmed\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.ancestors[0].conditions[?(@.type==\"Accepted\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = ("self.targetRefs.all(one, self.targetRefs.exists_one(other, one.group == other.group && \
                   one.kind == other.kind && one.name == other.name && \
                   (has(one.sectionName) ? one.sectionName : '') == (has(other.sectionName) ? other.sectionName : '')))",
                  "targetRefs names the same target twice; remove one of them"),
    validation = ("self.targetRefs.filter(target, target.kind == 'IngressClass').size() <= 1",
                  "targetRefs may name one IngressClass, the one whose parameters name this policy"),
    validation = ("!(has(self.access) || has(self.rateLimit) || has(self.connectionLimit) || has(self.request) || \
                   has(self.timeouts)) || self.targetRefs.exists(target, target.kind != 'Service')",
                  "access, rateLimit, connectionLimit, request and timeouts are about clients: name an Ingress in targetRefs"),
    validation = ("!(has(self.loadBalancer) || has(self.trafficSplit) || has(self.healthCheck) || has(self.outlier) || \
                   has(self.maxConnections) || has(self.protocol) || has(self.backendTLS) || has(self.connectTimeout) || \
                   has(self.retry)) || self.targetRefs.exists(target, target.kind == 'Service')",
                  "loadBalancer, trafficSplit, healthCheck, outlier, maxConnections, protocol, backendTLS, connectTimeout \
                   and retry are about backends: name a Service in targetRefs")
)]
pub struct ProxyPolicySpec {
    /// What the policy is about, in its own namespace. 1 to 16.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub target_refs: Vec<TargetRef>,
    /// On an Ingress: the client addresses that are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// On an Ingress: requests over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// On an Ingress: requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<ConnectionLimit>,
    /// On an Ingress: what a request may and must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestRules>,
    /// On an Ingress: how long a request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// On a Service: how an endpoint is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// On a Service: the Services that stand in for it, by weight. 1 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = ("self.exists(member, member.weight > 0)", "trafficSplit: at least one weight must be above 0"),
        validation = ("self.all(one, self.exists_one(other, one.service == other.service && one.port == other.port))",
                      "trafficSplit names the same service and port twice; add up their weights")
    )]
    pub traffic_split: Option<Vec<TrafficSplitEntry>>,
    /// On a Service: requests that tell whether an endpoint is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// On a Service: when an endpoint that fails requests gets none for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
    /// On a Service: requests in flight at one endpoint; all full: 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: Option<i32>,
    /// On a Service: how its endpoints are talked to; else its appProtocol says so, else HTTP1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// On a Service, with the protocol HTTPS: how its certificate is verified. Without it, it is not.
    #[serde(default, rename = "backendTLS", skip_serializing_if = "Option::is_none")]
    pub backend_tls: Option<BackendTls>,
    /// On a Service: time to open a connection to one endpoint. 1s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub connect_timeout: Option<String>,
    /// On a Service: when a request is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

/// An object that a policy is about, in the policy's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = ("(self.group == 'networking.k8s.io' && self.kind in ['Ingress', 'IngressClass']) || \
                   (self.group == '' && self.kind == 'Service')",
                  "a target is an Ingress or IngressClass of group networking.k8s.io, or a Service of group \"\""),
    validation = ("!has(self.sectionName) || self.kind == 'Service'",
                  "sectionName is the name of a Service's port; remove it or name a Service")
)]
pub struct TargetRef {
    /// networking.k8s.io for an Ingress or IngressClass, "" for a Service.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub group: String,
    /// Ingress, Service or IngressClass.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The name of a port of the Service. Absent: all of its ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub section_name: Option<String>,
}

/// The definition of the kind, as JSON.
pub fn definition() -> serde_json::Result<serde_json::Value> {
    let mut definition = serde_json::to_value(ProxyPolicy::crd())?;
    schema::without_null(&mut definition);
    Ok(definition)
}

#[cfg(test)]
mod tests;
