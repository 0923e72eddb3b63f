//! What the process was told that bears on translation.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::snapshot::Reference;

/// Settings of the translator. `None` in a field that the `--configmap` also has: not given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `--ingress-class`: the class name that is ours.
    pub ingress_class: String,
    /// `--controller-class`: an IngressClass whose `spec.controller` is this is ours, whatever its name.
    pub controller_class: String,
    /// Serve an Ingress that names no class: in a folder always, in a cluster by `--watch-ingress-without-class`.
    pub ingress_without_class: bool,
    /// `--ingress-class` counts whatever the IngressClass of that name says, and if there is none: in a folder always, in
    /// a cluster by `--ingress-class-by-name`.
    pub class_by_name: bool,
    /// Endpoints that are loopback or link-local are refused (in a cluster; in a folder they are fine).
    pub refuse_local_endpoints: bool,
    /// Where this process is reached itself, which would be an endless circle as an endpoint.
    pub own_endpoints: Vec<SocketAddr>,
    /// `--publish-service`: the Service that leads here.
    pub own_service: Option<Reference>,
    /// `--watch-namespace`: what is elsewhere is not among the objects.
    pub watch_namespace: Option<String>,
    /// `--enable-topology-aware-routing`: the node that this process runs on.
    pub node: Option<String>,
    /// `--enable-svc-external-name`.
    pub external_name: bool,
    /// `--disable-catch-all`: an Ingress that has a default backend is not served.
    pub no_catch_all: bool,
    /// `--annotations-prefix`, without the slash.
    pub annotations_prefix: String,
    /// `--default-ssl-certificate`.
    pub default_certificate: Option<Reference>,
    /// `--default-backend-service`.
    pub default_backend: Option<Reference>,
    /// `--configmap`.
    pub config_map: Option<Reference>,
    /// `--ssl-redirect`.
    pub ssl_redirect: Option<bool>,
    /// `--hsts`.
    pub hsts: Option<bool>,
    /// `--trusted-proxies`.
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// `--use-proxy-protocol`.
    pub proxy_protocol: Option<bool>,
    /// `--request-timeout`.
    pub request_timeout: Option<Duration>,
    /// `--connect-tunnel`.
    pub connect_tunnel: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            ingress_class: "headgate".into(),
            controller_class: "headgate.dev/ingress-controller".into(),
            ingress_without_class: true,
            class_by_name: true,
            refuse_local_endpoints: false,
            own_endpoints: Vec::new(),
            own_service: None,
            watch_namespace: None,
            node: None,
            external_name: false,
            no_catch_all: false,
            annotations_prefix: "nginx.ingress.kubernetes.io".into(),
            default_certificate: None,
            default_backend: None,
            config_map: None,
            ssl_redirect: None,
            hsts: None,
            trusted_proxies: None,
            proxy_protocol: None,
            request_timeout: None,
            connect_tunnel: false,
        }
    }
}
