//! What counts for every request of the process, from flags and the `--configmap`.

use ipnet::IpNet;
use serde::Serialize;

/// Settings of the whole process that may change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Peers whose `X-Forwarded-*` and PROXY protocol header are believed. Empty: nobody.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections start with a PROXY protocol header (v1 or v2); it is believed from trusted peers only.
    pub proxy_protocol: bool,
    /// `X-Forwarded-For` to a backend holds the client's address alone also where a trusted proxy wrote a list; else
    /// the list is kept and appended to.
    pub client_only_forwarded_for: bool,
    /// Sent over https for hosts with a certificate. `None`: not sent.
    pub hsts: Option<Hsts>,
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hsts {
    /// Seconds.
    pub max_age: u64,
    pub include_subdomains: bool,
    pub preload: bool,
}

impl Default for Hsts {
    fn default() -> Self {
        Hsts { max_age: 31_536_000, include_subdomains: true, preload: false }
    }
}

impl Hsts {
    /// The value of the header field.
    pub fn header_value(&self) -> String {
        let mut value = format!("max-age={}", self.max_age);
        if self.include_subdomains {
            value.push_str("; includeSubDomains");
        }
        if self.preload {
            value.push_str("; preload");
        }
        value
    }
}
