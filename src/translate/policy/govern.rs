//! Makes policies the way in which a backend is talked to.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rustls_pki_types::ServerName;

use super::super::problem::{ObjectKind, ObjectRef, Problem, Reason, quoted};
use super::super::secret;
use super::read::{BackendWishes, Policy, Wish};
use super::shown;
use super::values::Flaw;
use crate::snapshot::{Backend, BackendTls, Protocol, Reference, SetBy, SplitMember};

/// What the policies of a Service port make of its backend.
#[derive(Debug, Default)]
pub(in crate::translate) struct Governed {
    /// Why the backend cannot be used.
    pub refused: Option<(Reason, String)>,
    /// What is wrong with policies once their Secrets are looked at.
    pub problems: Vec<(ObjectRef, Problem)>,
    /// The certificate is verified, or the protocol is a policy's: what appProtocol alone means is not told.
    pub protocol_told: bool,
}

type Secrets = BTreeMap<Reference, Arc<Secret>>;

/// The first that was understood; a field that was not is as good as absent.
fn first<T>(policies: &[Arc<Policy>], field: fn(&BackendWishes) -> &Wish<T>) -> Option<(&Policy, &T)> {
    policies.iter().find_map(|policy| match field(&policy.backend) {
        Some(Ok(value)) => Some((&**policy, value)),
        _ => None,
    })
}

/// Notes whose values are taken.
struct Named<'a> {
    policies: &'a [Arc<Policy>],
    set_by: &'a mut SetBy,
}

impl Named<'_> {
    fn first<T: Clone>(&mut self, value: &'static str, field: fn(&BackendWishes) -> &Wish<T>) -> Option<T> {
        let (by, wish) = first(self.policies, field)?;
        self.set_by.add(value, &by.age.owner);
        Some(wish.clone())
    }
}

/// The backends that stand in for one that has these policies.
pub(in crate::translate) fn split_of(policies: &[Arc<Policy>]) -> Option<(&Policy, &[SplitMember])> {
    first(policies, |wishes| &wishes.traffic_split).map(|(policy, members)| (policy, members.as_slice()))
}

/// Applies `policies` (those that count first in front) to `backend`, whose certificate is for `name` unless they name
/// another.
pub(in crate::translate) fn govern(
    backend: &mut Backend,
    policies: &[Arc<Policy>],
    secrets: &Secrets,
    name: &str,
) -> Governed {
    let mut governed = Governed::default();
    let policy = &mut backend.policy;
    let mut named = Named { policies, set_by: &mut backend.set_by };
    if let Some(algorithm) = named.first("algorithm", |wishes| &wishes.algorithm) {
        policy.algorithm = algorithm;
    }
    if let Some(outlier) = named.first("outlier", |wishes| &wishes.outlier) {
        policy.outlier = outlier;
    }
    if let Some(retry) = named.first("retry", |wishes| &wishes.retry) {
        policy.retry = retry;
    }
    policy.max_connections = named.first("max_connections", |wishes| &wishes.max_connections);
    policy.connect_timeout = named.first("connect_timeout", |wishes| &wishes.connect_timeout);
    policy.health_check = named.first("health_check", |wishes| &wishes.health_check);
    if let Some((by, members)) = split_of(policies) {
        backend.split = members.to_vec();
        backend.split_by = Some(by.age.owner.clone());
    }
    governed.encryption(backend, policies, secrets, name);
    governed.understanding(policies);
    governed
}

impl Governed {
    fn understanding(&mut self, policies: &[Arc<Policy>]) {
        let blind = policies.iter().find_map(|policy| Some((policy, policy.blind.as_ref()?)));
        if let Some((policy, Flaw { field, what, .. })) = blind {
            let why = format!("has {} that cannot be understood ({field}: {what})", shown(policy));
            self.refused = Some((Reason::Invalid, why));
        }
    }

    fn encryption(&mut self, backend: &mut Backend, policies: &[Arc<Policy>], secrets: &Secrets, name: &str) {
        let chosen = first(policies, |wishes| &wishes.protocol);
        if let Some((by, protocol)) = chosen {
            backend.protocol = *protocol;
            backend.set_by.add("protocol", &by.age.owner);
            self.protocol_told = true;
        }
        let https = backend.protocol == Protocol::Https;
        let wish = policies.iter().find_map(|policy| policy.backend.tls.as_ref().map(|wish| (policy, wish)));
        let Some((policy, wish)) = wish else {
            if let Some((policy, _)) = chosen.filter(|_| https) {
                self.unverified(policy, "spec.protocol");
            }
            return;
        };
        if !https {
            let unread = policies.iter().any(|policy| matches!(policy.backend.protocol, Some(Err(_))));
            return self.unencrypted(policy, chosen.is_none() && unread);
        }
        self.protocol_told = true;
        let tls = match wish {
            Ok(tls) => tls,
            Err(flaw) => {
                let what = format!("({}: {})", flaw.field, flaw.what);
                return self.refuse(policy, Reason::Invalid, &what);
            }
        };
        if tls.ca.is_none() {
            self.unverified(policy, "spec.backendTLS");
        }
        let Some(server_name) = tls.server_name.clone().or_else(|| ServerName::try_from(name.to_owned()).ok()) else {
            let what = format!("{} is no name that a certificate can have", quoted(name));
            return self.broken(policy, "spec.backendTLS", Reason::Invalid, &what, "write serverName");
        };
        const WAY_OUT: &str = "correct it or name another";
        let authorities = tls.ca.as_ref().map_or(Ok(Vec::new()), |name| load(name, secrets, secret::authorities));
        let client = tls.client.as_ref().map(|name| load(name, secrets, secret::load)).transpose();
        match (authorities, client) {
            (Ok(authorities), Ok(client)) => {
                let client = client.map(|pair| pair.certificate);
                backend.policy.tls = Some(BackendTls { authorities, server_name, client });
                backend.set_by.add("tls", &policy.age.owner);
            }
            (Err((reason, what)), _) => self.broken(policy, "spec.backendTLS.caSecret", reason, &what, WAY_OUT),
            (_, Err((reason, what))) => self.broken(policy, "spec.backendTLS.clientCertSecret", reason, &what, WAY_OUT),
        }
    }

    /// What the policy says of TLS, where the protocol is not HTTPS or, if `unread`, nobody can say what it is.
    fn unencrypted(&mut self, policy: &Policy, unread: bool) {
        let field = "spec.backendTLS";
        if unread {
            // What is to be encrypted is not sent in the clear.
            let what = "the protocol beside backendTLS cannot be read";
            return self.broken(policy, field, Reason::Invalid, what, "correct the protocol");
        }
        let message = "backendTLS has no effect here: the protocol is not HTTPS; write protocol: HTTPS, or remove it";
        self.tell(policy, field, Reason::Unsupported, message.into());
    }

    fn broken(&mut self, policy: &Policy, field: &str, reason: Reason, what: &str, way_out: &str) {
        self.tell(policy, field, reason, format!("{what}: 503 is answered; {way_out}"));
        self.refuse(policy, reason, &format!("({what})"));
    }

    fn unverified(&mut self, policy: &Policy, field: &str) {
        let message = "the connection is encrypted, but the backend's certificate is not verified; name the Secret of its \
                       authority in backendTLS.caSecret";
        self.tell(policy, field, Reason::Insecure, message.into());
    }

    fn refuse(&mut self, policy: &Policy, reason: Reason, what: &str) {
        self.refused = Some((reason, format!("has a backendTLS in {} that cannot be honoured {what}", shown(policy))));
    }

    fn tell(&mut self, policy: &Policy, field: &str, reason: Reason, message: String) {
        let object = ObjectRef::new(ObjectKind::ProxyPolicy, &policy.age.owner);
        self.problems.push((object, Problem::new(field, reason, message)));
    }
}

fn load<T>(name: &Reference, secrets: &Secrets, read: fn(&Secret) -> Result<T, String>) -> Result<T, (Reason, String)> {
    let secret = secrets.get(name).ok_or_else(|| (Reason::SecretNotFound, format!("Secret {name} does not exist")))?;
    read(secret).map_err(|what| (Reason::InvalidCertificate, format!("Secret {name} {what}")))
}

/// The Secrets that these policies may look at.
pub(in crate::translate) fn secrets(policies: &[Arc<Policy>]) -> impl Iterator<Item = &Reference> {
    policies
        .iter()
        .filter_map(|policy| policy.backend.tls.as_ref()?.as_ref().ok())
        .flat_map(|tls| [&tls.ca, &tls.client])
        .flatten()
}
