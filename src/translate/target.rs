//! Reads the backend of a path: which Service port, or why none.

use k8s_openapi::api::networking::v1::{IngressBackend, ServiceBackendPort};

use super::problem::{Problem, Reason, quoted};
use crate::snapshot::{Action, BackendId, Reference, ServicePort};

/// What is done with the requests for `backend`. What an API server would refuse is reported and denied.
pub(super) fn action(owner: &Reference, backend: &IngressBackend, field: &str, problems: &mut Vec<Problem>) -> Action {
    match read(owner, backend, field) {
        Ok(id) => Action::Forward(id),
        Err(problem) => {
            let reason = problem.message.clone();
            problems.push(problem);
            Action::Deny(reason)
        }
    }
}

fn read(owner: &Reference, backend: &IngressBackend, field: &str) -> Result<BackendId, Problem> {
    let invalid = |part: &str, what: &str, way_out: &str| {
        Problem::new(format!("{field}{part}"), Reason::Invalid, format!("{what}: 503 is answered; {way_out}"))
    };
    let service = match (&backend.service, &backend.resource) {
        (Some(service), None) => service,
        (Some(_), Some(_)) => {
            return Err(invalid("", "both a service and a resource are named", "remove the resource"));
        }
        (None, None) => return Err(invalid("", "no backend is named", "name a service and its port")),
        (None, Some(resource)) => {
            let message = format!(
                "a resource ({} {}) cannot be a backend: 503 is answered; name a service",
                quoted(&resource.kind),
                quoted(&resource.name)
            );
            return Err(Problem::new(format!("{field}.resource"), Reason::Unsupported, message));
        }
    };
    if service.name.is_empty() {
        return Err(invalid(".service.name", "the service has no name", "name one"));
    }
    let port = port(service.port.as_ref()).map_err(|(what, way_out)| invalid(".service.port", what, way_out))?;
    Ok(BackendId { namespace: owner.namespace.clone(), service: service.name.clone(), port })
}

/// By number or by name; a number of 0 and an empty name are absent, as for the API server.
fn port(port: Option<&ServiceBackendPort>) -> Result<ServicePort, (&'static str, &'static str)> {
    let name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
    let number = port.and_then(|port| port.number).filter(|number| *number != 0);
    match (name, number) {
        (Some(_), Some(_)) => Err(("the port has both a name and a number", "remove one")),
        (None, None) => Err(("the port has neither a name nor a number", "add one")),
        (Some(name), None) => Ok(ServicePort::Name(name.to_owned())),
        (None, Some(number)) => u16::try_from(number)
            .map(ServicePort::Number)
            .map_err(|_| ("the port is not a number from 1 to 65535", "correct it")),
    }
}
