//! The flags of `serve` as typed. Each is also read from the environment, as `HEADGATE_` and its
//! name; each value is checked here, and what only several flags together can tell, by [`super::Config`].

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use http::Uri;
use ipnet::IpNet;

use super::foreign::Foreign;
use super::{Limits, duration, number, size, values};
use crate::snapshot::Reference;
use crate::telemetry::{LogFormat, TimeBuckets, access_log};

/// The value name by which [`for_every_flag`] knows a boolean.
pub(super) const BOOLEAN: &str = "BOOL";

/// Flags of `serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub objects: ObjectArgs,
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub traffic: TrafficArgs,
    #[command(flatten)]
    pub logs: LogArgs,
    #[command(flatten)]
    pub metrics: MetricsArgs,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub foreign: Foreign,
    /// Written by `cli`.
    #[arg(skip)]
    pub origin: Origin,
}

/// Where the values of flags come from, by the ids of their arguments.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Typed, or in the environment.
    pub given: BTreeSet<String>,
    /// From `[server]` of the file of `--config`.
    pub of_file: BTreeSet<&'static str>,
}

/// Gives every flag of `command` what holds for all of them: its environment variable, and for booleans Go's ways to
/// write them (`--hsts`, `--hsts=false`).
pub fn for_every_flag(command: Command) -> Command {
    let about_variables = "Every flag can also be given in the environment: --http-port as HEADGATE_HTTP_PORT.";
    command.after_help(about_variables).args_override_self(true).mut_args(|arg| {
        let Some(flag) = arg.get_long() else { return arg };
        let variable = variable(flag);
        let is_boolean = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == BOOLEAN));
        let arg = arg.env(variable).hide_env(true);
        if is_boolean { as_go_writes_booleans(arg) } else { arg }
    })
}

/// The environment variable of the flag of that name.
pub fn variable(flag: &str) -> String {
    format!("HEADGATE_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

fn as_go_writes_booleans(arg: Arg) -> Arg {
    arg.num_args(0..=1).require_equals(true).default_missing_value("true")
}

/// Where it comes from what is served.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Serve the objects in this folder, or in this one file, of YAML and JSON; changes are picked up
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// Read settings of the process from this file (TOML) and, if it has [[backends]], be a plain proxy in front of them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Serve the objects of the cluster whose API server this file names; within a pod it is found without
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The address of the API server (PROTOCOL://ADDRESS:PORT), in place of what the file or the pod says
    #[arg(long, value_name = "URL", value_parser = values::api_server)]
    pub apiserver_host: Option<Uri>,

    /// The authorities that the certificate of --apiserver-host is verified by (PEM)
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// What of a cluster counts.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Serve the Ingresses of this namespace only, and ask for nothing of another [default: all]
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "watch_namespace_selector")]
    pub watch_namespace: Option<String>,

    /// Serve the Ingresses of namespaces with these labels only
    #[arg(long, value_name = "SELECTOR")]
    pub watch_namespace_selector: Option<String>,

    /// Serve Ingresses that name no class [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub watch_ingress_without_class: Option<bool>,

    /// Serve the class of --ingress-class also if its IngressClass names another controller, or none is there [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub ingress_class_by_name: Option<bool>,

    /// Forward to the endpoints that hints of EndpointSlices give to the node or zone of this pod [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub enable_topology_aware_routing: Option<bool>,

    /// If a list of the API server suddenly lacks what most routes hang on: how long that is kept; 0s: not at all
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    pub mass_delete_hold: Duration,

    /// The Service whose addresses go into the status of Ingresses
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::reference)]
    pub publish_service: Option<Reference>,

    /// The addresses and host names that go into the status of Ingresses, in place of those of a Service
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', value_parser = values::status_address)]
    pub publish_status_address: Vec<String>,

    /// Without --publish-service and --publish-status-address: the InternalIPs of the nodes with a pod like this one go into
    /// the status of Ingresses [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub report_node_internal_ip_address: Option<bool>,

    /// Write the status of Ingresses [default: true]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub update_status: Option<bool>,

    /// Take the addresses out of the status of Ingresses when the last pod ends, which --publish-service or
    /// --report-node-internal-ip-address tells [default: true]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub update_status_on_shutdown: Option<bool>,

    /// The Lease whose holder writes status and Events, in the namespace of this pod
    #[arg(long, value_name = "NAME", default_value = "headgate-leader")]
    pub election_id: String,

    /// How long a holder of the Lease counts that does not show itself, in whole seconds
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::election_ttl)]
    pub election_ttl: Duration,

    /// Write status and Events without an election, for one replica; addresses that change while it does not run are not
    /// taken back [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub disable_leader_election: Option<bool>,
}

/// Which objects count.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Objects")]
pub struct ObjectArgs {
    /// The name of the IngressClass that is served
    #[arg(long, value_name = "NAME", default_value = "headgate")]
    pub ingress_class: String,

    /// Serve every IngressClass that names this controller, whatever the class is called
    #[arg(long, value_name = "NAME", default_value = "headgate.dev/ingress-controller")]
    pub controller_class: String,

    /// The Secret whose certificate serves clients that no other is for [default: a self-made one]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::reference)]
    pub default_ssl_certificate: Option<Reference>,

    /// The Service that takes requests which no rule matches, in place of a 404
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::reference)]
    pub default_backend_service: Option<Reference>,

    /// The ConfigMap with settings of the whole process; a flag wins over its key
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = values::reference)]
    pub configmap: Option<Reference>,

    /// Serve no Ingress that has a defaultBackend [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub disable_catch_all: Option<bool>,

    /// The prefix of the annotations that are read
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    pub annotations_prefix: String,

    /// Forward to Services of type ExternalName [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub enable_svc_external_name: Option<bool>,

    /// The opposite of --enable-svc-external-name, under the name that ingress-nginx gave it
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean, conflicts_with = "enable_svc_external_name")]
    pub disable_svc_external_name: Option<bool>,
}

/// Where clients and probes connect, and how the process starts and ends.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Process")]
pub struct ListenArgs {
    /// The address of all ports; `[::]` takes IPv4 too, and falls back to 0.0.0.0 where IPv6 is off
    #[arg(long, value_name = "IP", default_value = "[::]", value_parser = values::bind_address)]
    pub bind_address: IpAddr,

    /// Port of HTTP; 0: any free one
    #[arg(long, value_name = "PORT", default_value = "8080", value_parser = number::port)]
    pub http_port: u16,

    /// Port of HTTPS; 0: any free one
    #[arg(long, value_name = "PORT", default_value = "8443", value_parser = number::port)]
    pub https_port: u16,

    /// Port of /healthz, /readyz, /metrics and /debug/; 0: any free one
    #[arg(long, value_name = "PORT", default_value = "10254", value_parser = number::port)]
    pub healthz_port: u16,

    /// The address of that port, in place of --bind-address
    #[arg(long, value_name = "IP", value_parser = values::bind_address)]
    pub healthz_host: Option<IpAddr>,

    /// One more path of that port that answers as /healthz does
    #[arg(long, value_name = "PATH", default_value = "/healthz", value_parser = values::health_check_path)]
    pub health_check_path: String,

    /// Answer /debug/ to all peers, not to loopback only [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub debug_remote: Option<bool>,

    /// Threads that serve requests [default: the CPUs the process may use]
    #[arg(long, value_name = "NUMBER", value_parser = number::within::<u16>(1..=1024))]
    pub workers: Option<u16>,

    /// Memory that the process may take: at 92 % of it connections are not kept, at 95 % requests are refused; 0: any
    /// [default: that of its control group, cgroup v2]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub memory_limit: Option<u64>,

    /// After SIGTERM: how long new connections are still taken while /readyz already fails; a bare number: seconds
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse_or_seconds)]
    pub shutdown_grace_period: Duration,

    /// After that: how long requests and tunnels in flight may take to end
    #[arg(long, value_name = "DURATION", default_value = "240s", value_parser = duration::parse)]
    pub drain_timeout: Duration,
}

/// How requests are treated.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub struct TrafficArgs {
    /// Redirect HTTP to HTTPS for hosts that stand in some tls: section [default: true]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub ssl_redirect: Option<bool>,

    /// The port that redirects to HTTPS name [default: none, which means 443]
    #[arg(long, value_name = "PORT", value_parser = number::within::<u16>(1..=65535))]
    pub https_redirect_port: Option<u16>,

    /// Send Strict-Transport-Security over HTTPS for hosts that have a certificate [default: true]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub hsts: Option<bool>,

    /// The Server field of every response; "": none
    #[arg(long, value_name = "TEXT", default_value = "headgate", value_parser = values::header_value)]
    pub server_header: String,

    /// Peers whose X-Forwarded-* fields and PROXY protocol headers are believed [default: none]
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',', value_parser = values::network)]
    pub trusted_proxies: Option<Vec<IpNet>>,

    /// Connections start with a PROXY protocol header (version 1 or 2) [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub use_proxy_protocol: Option<bool>,

    /// Longest time from the head of a request to the end of its answer [default: none; 30s with [[backends]]]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_bound)]
    pub request_timeout: Option<Duration>,

    /// CONNECT opens a TCP tunnel to an endpoint of the backend, also where no policy lists methods [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub connect_tunnel: Option<bool>,
}

/// What is written where.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// One line per request: stdout, off, or the path of a file (reopened on SIGUSR1)
    #[arg(long, value_name = "stdout|off|PATH", default_value = "stdout", value_parser = values::access_log)]
    pub access_log: access_log::Target,

    /// The form of those lines
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub access_log_format: access_log::Format,

    /// What the application log on stderr holds: a level, or a list of target=level
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = values::log_filter)]
    pub log_level: String,

    /// The form of the application log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// What `/metrics` holds.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Count requests by the class of their status (2xx), not by the status [default: false]
    #[arg(long, value_name = BOOLEAN, value_parser = values::boolean)]
    pub report_status_classes: Option<bool>,

    /// Upper bounds of the histogram of request durations, in seconds, ascending
    #[arg(long, value_name = "SECONDS,...", default_value = "0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5,10", value_parser = values::time_buckets)]
    pub time_buckets: TimeBuckets,

    /// Metrics that are left out, by their whole names
    #[arg(long, visible_alias = "exclude-socket-metrics", value_name = "NAME,...", value_delimiter = ',', value_parser = values::metric_name)]
    pub exclude_metrics: Vec<String>,
}
