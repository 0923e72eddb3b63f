//! The `tls:` entries of one Ingress, and which of its hosts each names.
//!
//! What becomes of them together with those of other Ingresses is decided in `certificates`.

use k8s_openapi::api::networking::v1::IngressTLS;

use super::names;
use super::problem::{Problem, Reason, quoted};
use crate::snapshot::{HostName, HostPattern, Reference};

/// One entry of `spec.tls`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsEntry {
    /// As `spec.tls[0]`.
    pub field: String,
    /// The legible hosts, each with its place in the list. `None`: none are listed, the certificate's names count.
    pub hosts: Option<Vec<(usize, HostPattern)>>,
    /// `None`: the default certificate.
    pub secret: Option<Reference>,
}

pub(super) fn entries(owner: &Reference, tls: &[IngressTLS], problems: &mut Vec<Problem>) -> Vec<TlsEntry> {
    let mut entries = Vec::new();
    for (index, entry) in tls.iter().enumerate() {
        let field = format!("spec.tls[{index}]");
        let listed = entry.hosts.as_ref().filter(|hosts| !hosts.is_empty());
        let hosts = listed.map(|hosts| hosts_of(hosts, &field, problems));
        let named = entry.secret_name.as_deref().filter(|name| !name.is_empty());
        let secret = named.filter(|name| names::is_dns_subdomain(name));
        if let Some(none) = named.filter(|_| secret.is_none()) {
            let message =
                format!("{} is no name of a Secret: the default certificate is served; correct it", quoted(none));
            problems.push(Problem::new(format!("{field}.secretName"), Reason::Invalid, message));
        }
        let secret = secret.map(|name| Reference::new(&owner.namespace, name));
        entries.push(TlsEntry { field, hosts, secret });
    }
    entries
}

fn hosts_of(listed: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<(usize, HostPattern)> {
    let mut hosts = Vec::new();
    for (index, text) in listed.iter().enumerate() {
        let field = format!("{field}.hosts[{index}]");
        let pattern = HostPattern::parse(text).ok().filter(|pattern| *pattern != HostPattern::Any);
        let complaint = names::host_complaint(text);
        if let Some(complaint) = complaint.or(pattern.is_none().then_some("is not a host")) {
            let message = format!("{} {complaint}: the entry is left out; correct it", quoted(text));
            problems.push(Problem::new(field, Reason::Invalid, message));
        } else if let Some(pattern) = pattern {
            hosts.push((index, pattern));
        }
    }
    hosts
}

/// One of a certificate's `names` is good for every host of `pattern`.
pub(super) fn names_cover(names: &[String], pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Any => false,
        HostPattern::Wildcard(_) => names.contains(&pattern.to_string()),
        HostPattern::Exact(host) => names.iter().any(|name| name == host.as_str() || wildcard_covers(name, host)),
    }
}

fn wildcard_covers(name: &str, host: &HostName) -> bool {
    let suffix = name.strip_prefix("*.");
    suffix.is_some() && suffix == host.as_str().split_once('.').map(|(_, suffix)| suffix)
}
