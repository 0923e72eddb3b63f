//! The fields that say how backends are talked to: they mean something on a Service.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// How an endpoint is chosen.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    pub algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastConnections,
    IPHash,
}

/// A Service of the same namespace, and its share of the requests.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficSplitEntry {
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// 0 to 1000; 0: no requests.
    #[schemars(range(min = 0, max = 1000))]
    pub weight: i32,
}

/// Requests that tell whether an endpoint is healthy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("!has(self.interval) || !has(self.timeout) || duration(self.timeout) <= duration(self.interval)",
                       "healthCheck: the timeout must not be longer than the interval"))]
#[x_kube(validation = ("!has(self.interval) || duration(self.interval) >= duration('100ms')",
                       "healthCheck: the interval must be at least 100ms"))]
pub struct HealthCheck {
    /// Begins with a slash.
    #[schemars(schema_with = "schema::path")]
    pub path: String,
    /// The value of Host. Absent: service.namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host")]
    pub host: Option<String>,
    /// Absent: the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Between two checks of an endpoint, at least 100ms. 5s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub interval: Option<String>,
    /// 3s if absent, but not longer than the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub timeout: Option<String>,
    /// Successes in a row that make an endpoint healthy. 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: Option<i32>,
    /// Failures in a row that make an endpoint unhealthy. 3 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: Option<i32>,
    /// Statuses and ranges of them, as "200-299". That is what counts if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::statuses")]
    pub expected_statuses: Option<Vec<String>>,
}

/// When an endpoint that fails requests gets none for a while.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outlier {
    /// Failed connections, resets, silence, broken answers and those of 500 and above, in a row. 5 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub consecutive_errors: Option<i32>,
    /// 10s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub ejection_time: Option<String>,
    /// No endpoint is ejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    HTTP1,
    H2C,
    HTTPS,
}

/// How a backend's certificate is verified, and what we show it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// A Secret whose ca.crt holds the authorities, which are the only ones trusted. Absent: the certificate is not
    /// verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretRef>,
    /// The DNS name or address that the certificate has to be for; a name is also asked for (SNI). Absent:
    /// SERVICE.NAMESPACE.svc, of an ExternalName Service its externalName. Never the request's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::server_name")]
    pub server_name: Option<String>,
    /// A Secret of type kubernetes.io/tls, shown to backends that ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_secret: Option<SecretRef>,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
}

/// When a request is tried again, at another endpoint.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Further tries. 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: Option<i32>,
    /// ConnectFailure, Reset, or a status from 400 to 599. ConnectFailure if absent. YAML readers take the word for a
    /// boolean: write "on" with quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::retry_on")]
    pub on: Option<Vec<String>>,
    /// Further tries in percent of the requests, but at least 3 in 10 s. 20 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub budget_percent: Option<i32>,
    /// Also methods that are not idempotent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub non_idempotent: Option<bool>,
}
