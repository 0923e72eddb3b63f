//! What counts for the whole process: flags over the keys of the `--configmap` over what ships.
//!
//! Also the defaults of every route, which annotations then change (see `annotations`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::ConfigMap;

use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason, quoted};
use super::reports::Reports;
use super::values;
use crate::snapshot::{Hsts, RoutePolicy, Settings};

/// What a route has unless its Ingress says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Defaults {
    /// Plain http is redirected on hosts that stand in some `tls:`.
    pub ssl_redirect: bool,
    pub policy: Arc<RoutePolicy>,
}

/// Settings and defaults of one moment.
#[derive(Debug)]
pub(super) struct ProcessSettings {
    pub settings: Settings,
    pub defaults: Defaults,
    pub reports: Reports,
}

/// The legible keys of the ConfigMap; `None`: not there, or not legible (then reported).
#[derive(Debug, Default)]
struct Keys {
    use_forwarded_headers: Option<bool>,
    compute_full_forwarded_for: Option<bool>,
    proxy_real_ip_cidr: Option<Vec<IpNet>>,
    use_proxy_protocol: Option<bool>,
    ssl_redirect: Option<bool>,
    hsts: Option<bool>,
    hsts_max_age: Option<u64>,
    hsts_include_subdomains: Option<bool>,
    hsts_preload: Option<bool>,
    proxy_body_size: Option<values::BodySize>,
    proxy_connect_timeout: Option<Duration>,
    proxy_read_timeout: Option<Duration>,
    proxy_send_timeout: Option<Duration>,
}

/// Reads flags and ConfigMap; `config_map` is `None` too if the one that `options` names does not exist.
pub(super) fn read(options: &Options, config_map: Option<&ConfigMap>) -> ProcessSettings {
    let mut reports = Reports::default();
    let mut keys = Keys::default();
    if let Some(reference) = &options.config_map {
        let object = ObjectRef::new(ObjectKind::ConfigMap, reference);
        let problems = match config_map {
            Some(config_map) => keys.read(config_map),
            None => vec![Problem::new(
                "--configmap",
                Reason::Invalid,
                format!("ConfigMap {reference}, which --configmap names, does not exist: defaults are used; create it"),
            )],
        };
        reports.extend(&object, problems);
        reports.extend(&object, keys.everybody_trusted(options));
    }
    let settings = keys.settings(options);
    let defaults = Defaults {
        ssl_redirect: options.ssl_redirect.or(keys.ssl_redirect).unwrap_or(true),
        policy: Arc::new(keys.policy(options)),
    };
    ProcessSettings { settings, defaults, reports }
}

impl Keys {
    fn read(&mut self, config_map: &ConfigMap) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in config_map.data.iter().flatten() {
            self.take(key, value, &mut problems);
        }
        for key in config_map.binary_data.iter().flatten().map(|(key, _)| key) {
            problems.push(Problem::new(
                format!("binaryData[{key}]"),
                Reason::Unsupported,
                format!("{key} stands in binaryData, which is not read; put it into data"),
            ));
        }
        problems
    }

    fn take(&mut self, key: &str, value: &str, problems: &mut Vec<Problem>) {
        let taken = match key {
            "use-forwarded-headers" => set(&mut self.use_forwarded_headers, values::boolean(value)),
            "compute-full-forwarded-for" => set(&mut self.compute_full_forwarded_for, values::boolean(value)),
            "use-proxy-protocol" => set(&mut self.use_proxy_protocol, values::boolean(value)),
            "ssl-redirect" => set(&mut self.ssl_redirect, values::boolean(value)),
            "hsts" => set(&mut self.hsts, values::boolean(value)),
            "hsts-include-subdomains" => set(&mut self.hsts_include_subdomains, values::boolean(value)),
            "hsts-preload" => set(&mut self.hsts_preload, values::boolean(value)),
            "hsts-max-age" => set(&mut self.hsts_max_age, value.parse().ok()),
            "proxy-connect-timeout" => set(&mut self.proxy_connect_timeout, values::seconds(value)),
            "proxy-read-timeout" => set(&mut self.proxy_read_timeout, values::seconds(value)),
            "proxy-send-timeout" => set(&mut self.proxy_send_timeout, values::seconds(value)),
            "proxy-body-size" => return self.take_body_size(value, problems),
            "proxy-real-ip-cidr" => return self.take_networks(value, problems),
            _ => {
                let message = format!("the key {key} is not honoured: its default counts; remove it");
                return problems.push(Problem::new(field(key), Reason::Unsupported, message));
            }
        };
        if !taken {
            let message =
                format!("{} is not a value of {key}: its default counts; correct or remove it", quoted(value));
            problems.push(Problem::new(field(key), Reason::Invalid, message));
        }
    }

    /// A limit that cannot be read is the one ingress-nginx ships, never none.
    fn take_body_size(&mut self, value: &str, problems: &mut Vec<Problem>) {
        let standard = values::BodySize { limit: Some(values::STANDARD_BODY_SIZE), unit_ignored: true };
        let size = values::body_size(value).unwrap_or(standard);
        if size.unit_ignored {
            let message = format!("{} is not a size: 1m counts; write digits with k, m, g or no unit", quoted(value));
            problems.push(Problem::new(field("proxy-body-size"), Reason::Invalid, message));
        }
        self.proxy_body_size = Some(size);
    }

    /// Entries that cannot be read are trusted with nothing; the others count.
    fn take_networks(&mut self, value: &str, problems: &mut Vec<Problem>) {
        let mut networks = Vec::new();
        for entry in value.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => problems.push(Problem::new(
                    field("proxy-real-ip-cidr"),
                    Reason::Invalid,
                    format!("{} is not a network: it is not trusted; write it as 10.0.0.0/8", quoted(entry)),
                )),
            }
        }
        self.proxy_real_ip_cidr = Some(networks);
    }

    fn settings(&self, options: &Options) -> Settings {
        let proxy_protocol = options.proxy_protocol.or(self.use_proxy_protocol).unwrap_or(false);
        let standard = Hsts::default();
        let hsts = options.hsts.or(self.hsts).unwrap_or(true).then(|| Hsts {
            max_age: self.hsts_max_age.unwrap_or(standard.max_age),
            include_subdomains: self.hsts_include_subdomains.unwrap_or(standard.include_subdomains),
            preload: self.hsts_preload.unwrap_or(standard.preload),
        });
        Settings {
            trusted_proxies: self.trusted_proxies(options, proxy_protocol),
            proxy_protocol,
            client_only_forwarded_for: self.compute_full_forwarded_for == Some(false),
            hsts,
        }
    }

    /// The flag's list; else the ConfigMap's, which is in force only while something reads it; else nobody, unless
    /// it was the ConfigMap that asked to believe: then everybody, as in ingress-nginx.
    fn trusted_proxies(&self, options: &Options, proxy_protocol: bool) -> Vec<IpNet> {
        if let Some(networks) = &options.trusted_proxies {
            return networks.clone();
        }
        let in_force = proxy_protocol || self.use_forwarded_headers == Some(true);
        match &self.proxy_real_ip_cidr {
            Some(networks) if in_force => networks.clone(),
            None if self.believes(options) => everybody(),
            _ => Vec::new(),
        }
    }

    /// The ConfigMap turns on something that believes peers.
    fn believes(&self, options: &Options) -> bool {
        let proxy_protocol = options.proxy_protocol.is_none() && self.use_proxy_protocol == Some(true);
        proxy_protocol || self.use_forwarded_headers == Some(true)
    }

    fn everybody_trusted(&self, options: &Options) -> Option<Problem> {
        let unbounded = self.proxy_real_ip_cidr.is_none() && options.trusted_proxies.is_none();
        let key = match self.use_forwarded_headers {
            Some(true) => "use-forwarded-headers",
            _ => "use-proxy-protocol",
        };
        (unbounded && self.believes(options)).then(|| {
            let message = format!(
                "{key} is on without proxy-real-ip-cidr: every peer may claim any client address; \
                 set proxy-real-ip-cidr to the addresses of your load balancer"
            );
            Problem::new(field(key), Reason::Insecure, message)
        })
    }

    fn policy(&self, options: &Options) -> RoutePolicy {
        let standard = RoutePolicy::default();
        RoutePolicy {
            max_body_size: self.proxy_body_size.map_or(standard.max_body_size, |size| size.limit),
            connect_timeout: self.proxy_connect_timeout.unwrap_or(standard.connect_timeout),
            idle_timeout: self.proxy_read_timeout.unwrap_or(standard.idle_timeout),
            send_timeout: self.proxy_send_timeout.unwrap_or(standard.send_timeout),
            request_timeout: options.request_timeout,
            connect: options.connect_tunnel,
            ..standard
        }
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    *place = value;
    place.is_some()
}

fn field(key: &str) -> String {
    format!("data[{key}]")
}

fn everybody() -> Vec<IpNet> {
    vec![IpNet::new_assert([0; 4].into(), 0), IpNet::new_assert([0u16; 8].into(), 0)]
}
