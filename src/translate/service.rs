//! Reads a Service: which of its ports is meant, and how that port is talked to.

use k8s_openapi::api::core::v1::{Service, ServicePort as Port};

use super::endpoints::is_tcp;
use super::problem::{Problem, Reason, quoted};
use crate::snapshot::{Protocol, ServicePort};

/// A TCP port of the Service, with its place in `spec.ports`.
pub(super) fn find<'a>(service: &'a Service, wanted: &ServicePort) -> Option<(usize, &'a Port)> {
    tcp_ports(service).find(|(_, port)| match wanted {
        ServicePort::Number(number) => port.port == i32::from(*number),
        ServicePort::Name(name) => port.name.as_deref() == Some(name),
    })
}

pub(super) fn tcp_ports(service: &Service) -> impl Iterator<Item = (usize, &Port)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.enumerate().filter(|(_, port)| is_tcp(port.protocol.as_deref()))
}

/// The ports as a message lists them; empty if there are none.
pub(super) fn listed(service: &Service) -> String {
    let ports = tcp_ports(service).map(|(_, port)| match &port.name {
        Some(name) => format!("{} ({name})", port.port),
        None => port.port.to_string(),
    });
    ports.collect::<Vec<String>>().join(", ")
}

/// How the port is talked to, and what its owner should know about that.
pub(super) fn protocol(port: &Port, index: usize) -> (Protocol, Option<Problem>) {
    let Some(given) = port.app_protocol.as_deref().filter(|given| !given.is_empty()) else {
        return (Protocol::Http1, None);
    };
    let problem = |reason, message| Some(Problem::new(format!("spec.ports[{index}].appProtocol"), reason, message));
    match given.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" => (Protocol::Http1, None),
        "kubernetes.io/h2c" | "grpc" => (Protocol::H2c, None),
        "https" | "kubernetes.io/wss" => {
            let message = "the connection is encrypted, but the backend's certificate is not verified; keep it within \
                           a network that you trust"
                .to_owned();
            (Protocol::Https, problem(Reason::Insecure, message))
        }
        _ => {
            let message = format!(
                "{} is not known: HTTP/1.1 is spoken; write http, https, grpc, kubernetes.io/h2c, kubernetes.io/ws or \
                 kubernetes.io/wss",
                quoted(given)
            );
            (Protocol::Http1, problem(Reason::Unsupported, message))
        }
    }
}

/// What the Service asks for that is not honoured.
pub(super) fn unsupported(service: &Service) -> Option<Problem> {
    let affinity = service.spec.as_ref().and_then(|spec| spec.session_affinity.as_deref());
    (affinity == Some("ClientIP")).then(|| {
        let message = "sessionAffinity is not honoured: requests are spread over all endpoints; remove it";
        Problem::new("spec.sessionAffinity", Reason::Unsupported, message)
    })
}
