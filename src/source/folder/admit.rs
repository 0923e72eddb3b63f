//! What the API server does with an object before it is stored, where it matters here: names, namespace, required
//! fields, defaults. Values that the API server would refuse beyond that are left to the translator, which keeps the
//! routes around them.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::{ByteString, Metadata};

/// The field that stops an object, and why.
pub(super) type Refused = (String, String);

/// A kind that is read.
pub(super) trait Admit: Metadata<Ty = ObjectMeta> {
    const NAMESPACED: bool = true;

    /// Whether names of this kind are one DNS label rather than a DNS name.
    const NAME_IS_LABEL: bool = false;

    /// Fills defaults and checks what is required.
    fn complete(&mut self) -> Result<(), Refused> {
        Ok(())
    }
}

pub(super) fn admit<T: Admit>(object: &mut T) -> Result<(), Refused> {
    identify(object.metadata_mut(), T::NAMESPACED, T::NAME_IS_LABEL)?;
    object.complete()
}

/// Checks the name, and completes the namespace.
pub(super) fn identify(metadata: &mut ObjectMeta, namespaced: bool, name_is_label: bool) -> Result<(), Refused> {
    metadata.managed_fields = None;
    let name = metadata.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        let generated = metadata.generate_name.is_some();
        return refuse(
            "metadata.name",
            if generated { "is required; in a file nothing is generated" } else { REQUIRED },
        );
    }
    let valid = if name_is_label { is_label(name) } else { is_subdomain(name) };
    if !valid {
        let form = if name_is_label { LABEL } else { SUBDOMAIN };
        return refuse("metadata.name", format!("{name:?} is not a name: {form}"));
    }
    if !namespaced {
        metadata.namespace = None;
        return Ok(());
    }
    let namespace = metadata.namespace.take().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".into());
    if !is_label(&namespace) {
        return refuse("metadata.namespace", format!("{namespace:?} is not a name: {LABEL}"));
    }
    metadata.namespace = Some(namespace);
    Ok(())
}

const REQUIRED: &str = "is required";
const LABEL: &str = "up to 63 lower case letters, digits and `-`, beginning and ending with a letter or digit";
const SUBDOMAIN: &str =
    "up to 253 lower case letters, digits, `-` and `.`, beginning and ending with a letter or digit";

fn refuse<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Refused> {
    Err((field.into(), reason.into()))
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_element(name)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_element)
}

fn is_element(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
}

impl Admit for Ingress {
    fn complete(&mut self) -> Result<(), Refused> {
        let Some(spec) = &self.spec else { return refuse("spec", REQUIRED) };
        if let Some(backend) = &spec.default_backend {
            require_backend("spec.defaultBackend", backend)?;
        }
        for (r, rule) in spec.rules.iter().flatten().enumerate() {
            let Some(http) = &rule.http else { continue };
            for (p, path) in http.paths.iter().enumerate() {
                let field = format!("spec.rules[{r}].http.paths[{p}]");
                if path.path_type.is_empty() {
                    return refuse(format!("{field}.pathType"), "is required: Exact, Prefix or ImplementationSpecific");
                }
                require_backend(&format!("{field}.backend"), &path.backend)?;
            }
        }
        Ok(())
    }
}

fn require_backend(field: &str, backend: &IngressBackend) -> Result<(), Refused> {
    let Some(service) = &backend.service else {
        return if backend.resource.is_some() { Ok(()) } else { refuse(field, "needs a service or a resource") };
    };
    if service.name.is_empty() {
        return refuse(format!("{field}.service.name"), REQUIRED);
    }
    let port = service.port.as_ref();
    let named = port.and_then(|port| port.name.as_deref()).is_some_and(|name| !name.is_empty());
    let numbered = port.and_then(|port| port.number).is_some_and(|number| number != 0);
    if named || numbered { Ok(()) } else { refuse(format!("{field}.service.port"), "needs a name or a number") }
}

impl Admit for IngressClass {
    const NAMESPACED: bool = false;
}

impl Admit for Service {
    const NAME_IS_LABEL: bool = true;

    fn complete(&mut self) -> Result<(), Refused> {
        let Some(spec) = &mut self.spec else { return refuse("spec", REQUIRED) };
        spec.type_.get_or_insert_with(|| "ClusterIP".into());
        let ports = spec.ports.as_deref_mut().unwrap_or_default();
        let several = ports.len() > 1;
        for (index, port) in ports.iter_mut().enumerate() {
            if port.port == 0 {
                return refuse(format!("spec.ports[{index}].port"), REQUIRED);
            }
            if several && port.name.as_deref().unwrap_or_default().is_empty() {
                return refuse(format!("spec.ports[{index}].name"), "is required where a Service has several ports");
            }
            port.protocol.get_or_insert_with(|| "TCP".into());
            port.target_port.get_or_insert(IntOrString::Int(port.port));
        }
        Ok(())
    }
}

impl Admit for EndpointSlice {
    fn complete(&mut self) -> Result<(), Refused> {
        if self.address_type.is_empty() {
            return refuse("addressType", "is required: IPv4, IPv6 or FQDN");
        }
        for (index, endpoint) in self.endpoints.iter().flatten().enumerate() {
            if endpoint.addresses.is_empty() {
                return refuse(format!("endpoints[{index}].addresses"), "needs at least one address");
            }
        }
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".into());
        }
        Ok(())
    }
}

impl Admit for Secret {
    fn complete(&mut self) -> Result<(), Refused> {
        self.type_.get_or_insert_with(|| "Opaque".into());
        for (key, text) in self.string_data.take().into_iter().flatten() {
            self.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
        }
        Ok(())
    }
}

impl Admit for ConfigMap {}
