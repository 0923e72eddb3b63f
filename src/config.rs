//! What the process was asked to do: the flags as typed ([`Args`]) and as resolved ([`Config`]).
//!
//! `cli` parses [`Args`], [`Config::resolve`] settles what only several flags together tell, `app` and the data plane
//! read [`Config`]. What of it bears on translation is handed on as [`Options`].

mod args;
pub mod duration;
mod foreign;
mod limits;
pub mod number;
pub mod size;
mod values;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, Command};
use http::Uri;

use crate::snapshot::Reference;
use crate::telemetry::{LogFormat, access_log, metrics};
use crate::translate::Options;

pub use args::{
    Args, ClusterArgs, ListenArgs, LogArgs, ObjectArgs, Origin, SourceArgs, TrafficArgs, for_every_flag, variable,
};
pub use limits::Limits;

/// Everything `serve` needs, resolved and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub source: Source,
    /// `--bind-address`; `[::]` falls back to `0.0.0.0` where IPv6 is off.
    pub bind_address: IpAddr,
    /// What set it, for messages: the flag or the key of the file.
    pub bind_address_by: &'static str,
    /// `None`: no port speaks plain HTTP.
    pub http_port: Option<u16>,
    /// `None`: no port speaks TLS.
    pub https_port: Option<u16>,
    /// What set the port of HTTP, or the one of a plain proxy, whatever it speaks.
    pub http_port_by: &'static str,
    pub healthz_port: u16,
    /// `--healthz-host`; else `bind_address`.
    pub healthz_host: IpAddr,
    /// What set it, for messages.
    pub healthz_host_by: &'static str,
    /// `--health-check-path`.
    pub health_check_path: String,
    /// Number of data plane threads.
    pub workers: usize,
    /// `--memory-limit`; `None`: that of the control group.
    pub memory_limit: Option<u64>,
    /// `--https-redirect-port`: put into redirects if given.
    pub https_redirect_port: Option<u16>,
    /// `--server-header`; empty: none is sent.
    pub server_header: String,
    pub debug_remote: bool,
    pub shutdown_grace_period: Duration,
    pub drain_timeout: Duration,
    pub access_log: access_log::Target,
    pub access_log_format: access_log::Format,
    /// `--log-level`.
    pub log_filter: String,
    pub log_format: LogFormat,
    pub metrics: metrics::Settings,
    pub limits: Limits,
    /// Connections to backends that the process holds at most; set by `app` from the limit of open files.
    pub backend_connections: usize,
    pub translate: Options,
    /// Flags that were given and mean nothing for a plain proxy, if this is one.
    pub meaningless: Vec<String>,
    /// What flags of ingress-nginx ask for in vain.
    pub warnings: Vec<String>,
}

/// Where it comes from what is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `--dir`: a folder or one file of objects.
    Folder(PathBuf),
    /// `--config`: a file with `[[backends]]`.
    File(PathBuf),
    /// The API server of a cluster.
    Cluster(Box<Cluster>),
}

/// Which cluster, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `--kubeconfig`; `None`: the one that this process is a pod of.
    pub kubeconfig: Option<PathBuf>,
    /// `--apiserver-host`.
    pub server: Option<Uri>,
    /// `--certificate-authority`.
    pub authority: Option<PathBuf>,
    /// `--watch-namespace`.
    pub namespace: Option<String>,
    /// `--watch-namespace-selector`.
    pub namespace_selector: Option<String>,
    /// `--mass-delete-hold`.
    pub mass_delete_hold: Duration,
    /// `--publish-service`.
    pub publish_service: Option<Reference>,
    /// `--publish-status-address`.
    pub publish_addresses: Vec<String>,
    /// `--report-node-internal-ip-address`.
    pub publish_nodes: bool,
    pub update_status: bool,
    pub update_status_on_shutdown: bool,
    /// `--election-id`; `None`: no election.
    pub election_id: Option<String>,
    pub election_ttl: Duration,
}

/// What the port of a plain proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainPort {
    Http,
    Https,
}

impl fmt::Display for PlainPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PlainPort::Http => "http",
            PlainPort::Https => "https",
        })
    }
}

/// Flags that cannot be meant together, or miss one another. The message names them and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl Config {
    /// Settles the flags. `plain`: what the file of `--config` says, if it has `[[backends]]`. `available_cpus` counts
    /// where `--workers` is not given.
    pub fn resolve(args: Args, plain: Option<PlainPort>, available_cpus: usize) -> Result<Config, UsageError> {
        let Args { source, objects, listen, traffic, logs, metrics, limits, foreign, origin } = args;
        let (http_port, https_port) = match plain {
            None => (Some(listen.http_port), Some(listen.https_port)),
            Some(PlainPort::Http) => (Some(listen.http_port), None),
            Some(PlainPort::Https) => (None, Some(listen.http_port)),
        };
        let set_by = |flag, id| if origin.of_file.contains(id) { "[server] bind_addr" } else { flag };
        let http_port_by = set_by("--http-port", "http_port");
        refuse_shared_port(&listen, http_port_by, plain.is_some())?;
        let cluster = source.cluster.clone();
        let source = Source::of(source, plain.is_some())?;
        let mut translate = options(Some(&cluster).filter(|_| source.is_cluster()), &objects, &traffic)?;
        let mut warnings = foreign.warnings;
        if cluster.enable_topology_aware_routing == Some(true) {
            translate.node = own_node().filter(|_| source.is_cluster());
            let why = "--enable-topology-aware-routing has no effect: only a pod with NODE_NAME in its environment knows where it runs";
            warnings.extend(translate.node.is_none().then(|| why.to_owned()));
        }
        if source.is_cluster() {
            translate.own_endpoints =
                own_endpoints(&pod_addresses(), [http_port, https_port, Some(listen.healthz_port)]);
        }
        Ok(Config {
            source,
            bind_address: listen.bind_address,
            bind_address_by: set_by("--bind-address", "bind_address"),
            http_port,
            https_port,
            http_port_by,
            healthz_port: listen.healthz_port,
            healthz_host: listen.healthz_host.unwrap_or(listen.bind_address),
            healthz_host_by: match listen.healthz_host {
                Some(_) => "--healthz-host",
                None => set_by("--bind-address", "bind_address"),
            },
            health_check_path: listen.health_check_path,
            workers: listen.workers.map_or(available_cpus, usize::from),
            memory_limit: listen.memory_limit,
            https_redirect_port: traffic.https_redirect_port,
            server_header: traffic.server_header,
            debug_remote: listen.debug_remote.unwrap_or(false),
            shutdown_grace_period: listen.shutdown_grace_period,
            drain_timeout: listen.drain_timeout,
            access_log: logs.access_log,
            access_log_format: logs.access_log_format,
            log_filter: logs.log_level,
            log_format: logs.log_format,
            metrics: metrics::Settings {
                status_classes: metrics.report_status_classes.unwrap_or(false),
                time_buckets: metrics.time_buckets,
                excluded: metrics.exclude_metrics.into_iter().collect(),
            },
            limits,
            backend_connections: usize::MAX,
            translate,
            meaningless: plain.map(|_| meaningless(&origin.given)).unwrap_or_default(),
            warnings,
        })
    }

    /// What the one port speaks, if this is a plain proxy.
    pub fn plain_port(&self) -> Option<PlainPort> {
        match (self.http_port, self.https_port) {
            (Some(_), None) => Some(PlainPort::Http),
            (None, Some(_)) => Some(PlainPort::Https),
            _ => None,
        }
    }
}

impl Source {
    /// `plain`: the file of `--config` has `[[backends]]`.
    pub fn of(args: SourceArgs, plain: bool) -> Result<Source, UsageError> {
        let SourceArgs { dir, config, kubeconfig, apiserver_host, certificate_authority, cluster } = args;
        let named = [
            dir.as_ref().map(|dir| format!("--dir {}", dir.display())),
            config.as_ref().filter(|_| plain).map(|config| format!("the [[backends]] of {}", config.display())),
            kubeconfig
                .as_ref()
                .map(|kubeconfig| format!("--kubeconfig {}", kubeconfig.display()))
                .or_else(|| apiserver_host.as_ref().map(|server| format!("--apiserver-host {server}"))),
        ];
        if let [one, other, ..] = Vec::from_iter(named.into_iter().flatten()).as_slice() {
            return Err(UsageError(format!("{one} and {other} cannot both be served: leave one of them out")));
        }
        match (dir, config) {
            (Some(dir), _) => Ok(Source::Folder(dir)),
            (None, Some(config)) if plain => Ok(Source::File(config)),
            (None, _) if kubeconfig.is_none() && apiserver_host.is_none() && !is_pod() => Err(UsageError(
                "nothing to serve: name a folder of YAML with --dir PATH, a file that has [[backends]] with --config \
                 FILE, or a cluster with --kubeconfig FILE (this process is not a pod of one)"
                    .into(),
            )),
            (None, _) => Ok(Source::Cluster(Box::new(Cluster {
                kubeconfig,
                server: apiserver_host,
                authority: certificate_authority,
                namespace: cluster.watch_namespace,
                namespace_selector: cluster.watch_namespace_selector,
                mass_delete_hold: cluster.mass_delete_hold,
                publish_service: cluster.publish_service,
                publish_addresses: cluster.publish_status_address,
                publish_nodes: cluster.report_node_internal_ip_address.unwrap_or(false),
                update_status: cluster.update_status.unwrap_or(true),
                update_status_on_shutdown: cluster.update_status_on_shutdown.unwrap_or(true),
                election_id: (!cluster.disable_leader_election.unwrap_or(false)).then_some(cluster.election_id),
                election_ttl: cluster.election_ttl,
            }))),
        }
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self, Source::Cluster(_))
    }
}

/// The addresses of this pod, one of each family, as the downward API gives them.
fn pod_addresses() -> String {
    std::env::var("POD_IPS").or_else(|_| std::env::var("POD_IP")).unwrap_or_default()
}

/// Where this process is reached: by clients, and for its metrics, which a route would show to everybody.
fn own_endpoints(addresses: &str, ports: [Option<u16>; 3]) -> Vec<SocketAddr> {
    let addresses = addresses.split(',').filter_map(|text| text.parse::<IpAddr>().ok());
    addresses.flat_map(|ip| ports.into_iter().flatten().map(move |port| SocketAddr::new(ip, port))).collect()
}

/// The node of a pod that the downward API gives it to.
fn own_node() -> Option<String> {
    std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty())
}

/// Every pod has it from the kubelet.
fn is_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// What the flags say about translation; `cluster`: those about a cluster, if the objects are one's.
pub fn options(
    cluster: Option<&ClusterArgs>,
    objects: &ObjectArgs,
    traffic: &TrafficArgs,
) -> Result<Options, UsageError> {
    let annotations_prefix = objects.annotations_prefix.trim_end_matches('/').to_owned();
    for (flag, value) in [
        ("--ingress-class", &objects.ingress_class),
        ("--controller-class", &objects.controller_class),
        ("--annotations-prefix", &annotations_prefix),
    ] {
        if value.is_empty() {
            return Err(UsageError(format!("{flag} is empty: give a name, or leave the flag out for its default")));
        }
    }
    let disabled = objects.disable_svc_external_name.unwrap_or(true);
    Ok(Options {
        ingress_class: objects.ingress_class.clone(),
        controller_class: objects.controller_class.clone(),
        ingress_without_class: cluster.is_none_or(|cluster| cluster.watch_ingress_without_class.unwrap_or(false)),
        class_by_name: cluster.is_none_or(|cluster| cluster.ingress_class_by_name.unwrap_or(false)),
        refuse_local_endpoints: cluster.is_some(),
        own_endpoints: Vec::new(),
        own_service: cluster.and_then(|cluster| cluster.publish_service.clone()),
        watch_namespace: cluster.and_then(|cluster| cluster.watch_namespace.clone()),
        node: None,
        external_name: objects.enable_svc_external_name.unwrap_or(!disabled),
        no_catch_all: objects.disable_catch_all.unwrap_or(false),
        annotations_prefix,
        default_certificate: objects.default_ssl_certificate.clone(),
        default_backend: objects.default_backend_service.clone(),
        config_map: objects.configmap.clone(),
        ssl_redirect: traffic.ssl_redirect,
        hsts: traffic.hsts,
        trusted_proxies: traffic.trusted_proxies.clone(),
        proxy_protocol: traffic.use_proxy_protocol,
        request_timeout: traffic.request_timeout,
        connect_tunnel: traffic.connect_tunnel.unwrap_or(false),
    })
}

/// Those of the flags that are about objects, about redirects to HTTPS or about a second port.
fn meaningless(given: &BTreeSet<String>) -> Vec<String> {
    let objects = ObjectArgs::augment_args(Command::new("objects"));
    let about_objects = objects.get_arguments().map(|arg| arg.get_id().as_str());
    let flags = about_objects.chain(["https_port", "ssl_redirect", "https_redirect_port"]);
    flags.filter(|id| given.contains(*id)).map(|id| format!("--{}", id.replace('_', "-"))).collect()
}

/// Two listeners cannot have one port; better told here than as "in use" by ourselves.
fn refuse_shared_port(listen: &ListenArgs, http_port_by: &str, plain: bool) -> Result<(), UsageError> {
    let https_port = if plain { 0 } else { listen.https_port };
    let ports =
        [(http_port_by, listen.http_port), ("--https-port", https_port), ("--healthz-port", listen.healthz_port)];
    for (index, (flag, port)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..index].iter().find(|(_, taken)| taken == port && *port != 0) {
            return Err(UsageError(format!(
                "{other} and {flag} are both {port}: give each its own port, or 0 for any"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
