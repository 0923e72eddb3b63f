//! The fields that say how clients are treated: they mean something on an Ingress.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Client addresses that are served; 403 for others. Each entry is an address or a network, as 10.0.0.0/8.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.allow) || has(self.deny)", "access needs allow or deny"))]
pub struct Access {
    /// If present, no other address is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub allow: Option<Vec<String>>,
    /// Not served, also where allow has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::networks")]
    pub deny: Option<Vec<String>>,
}

/// Requests over time; beyond them the status is answered.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i32,
    /// The time in which that many requests are admitted, as 1s or 1m.
    #[schemars(schema_with = "schema::duration")]
    pub per: String,
    /// Requests that a new key may make at once. Absent: as many as `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
    /// What is counted apart. Absent: the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<RateLimitKey>,
    /// 429 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 400, max = 599))]
    pub status: Option<i32>,
    /// The fields RateLimit and RateLimit-Policy go with admitted answers too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<bool>,
}

/// What a rate limit counts apart.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = ("(self.type == 'Header') == has(self.name)",
                  "key.name is the field that is counted by: it goes with the type Header, and only with that")
)]
pub struct RateLimitKey {
    pub r#type: KeyType,
    /// The name of a header field; where a request has none, the client's address counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::field_name")]
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyType {
    #[default]
    ClientIP,
    Header,
    Route,
}

/// Requests of one client in flight; 429 beyond.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionLimit {
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_client: i32,
}

/// What a request may and must have.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.maxBodySize) || has(self.methods) || has(self.requiredHeaders)",
                       "request needs maxBodySize, methods or requiredHeaders"))]
pub struct RequestRules {
    /// Bytes, as "512", 64Ki or 8Mi; 413 beyond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::size")]
    pub max_body_size: Option<String>,
    /// 405 for others; HEAD is one of its own. CONNECT is served if it is listed, or without a list where the process
    /// says so: clients may then open TCP tunnels to the endpoints of the path /, whatever their protocol and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::methods")]
    pub methods: Option<Vec<String>>,
    /// 400 for requests without one of these header fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::field_names")]
    pub required_headers: Option<Vec<String>>,
}

/// How long a request may take; 504 beyond.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.request) || has(self.idle)", "timeouts needs request or idle"))]
pub struct Timeouts {
    /// From the request's head to the last byte of the answer. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub request: Option<String>,
    /// Longest silence of the backend. 60s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub idle: Option<String>,
}
