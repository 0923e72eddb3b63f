//! Which certificate is served for which name, and which hosts stand in some `tls:`.
//!
//! A host whose Secret is missing or unusable keeps standing in `tls:`: it is served, with a certificate that covers it
//! by wildcard, else with the default one. Of several Secrets for one name the oldest Ingress's is served, but one for
//! each type of key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use rustls::SignatureAlgorithm;

use super::ingress::Parsed;
use super::memo::Memo;
use super::options::Options;
use super::problem::{ObjectKind, ObjectRef, Problem, Reason};
use super::reports::Reports;
use super::secret::{Loaded, Pair, load};
use super::tls::{TlsEntry, names_cover};
use crate::snapshot::{Certificate, HostName, HostPattern, Reference};

/// The certificates of one moment.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    pub by_name: Arc<BTreeMap<HostPattern, Vec<Reference>>>,
    pub secrets: Arc<BTreeMap<Reference, Arc<Certificate>>>,
    pub default: Option<Reference>,
    pub tls: TlsHosts,
    /// The Secrets that are asked for, whether or not they exist.
    pub named: Arc<BTreeSet<Reference>>,
    pub reports: Reports,
}

/// The hosts that stand in some `tls:`; never [`HostPattern::Any`].
#[derive(Debug, Default)]
pub(super) struct TlsHosts(BTreeSet<HostPattern>);

/// Secrets as read, remembered from one translation to the next.
pub(super) type SecretMemo = Memo<Reference, Secret, Loaded>;

/// One Secret that an Ingress wants served for a name.
struct Candidate<'a> {
    secret: &'a Reference,
    pair: &'a Pair,
    owner: &'a Reference,
    field: &'a str,
}

impl Certificates {
    /// `served`: the Ingresses that have some `tls:`, oldest first.
    pub(super) fn read<'a>(
        served: impl Iterator<Item = &'a Arc<Parsed>> + Clone,
        secrets: &BTreeMap<Reference, Arc<Secret>>,
        options: &Options,
        memo: &mut SecretMemo,
    ) -> Self {
        let entries = served.clone().flat_map(|parsed| &parsed.tls);
        let named = entries.filter_map(|entry| entry.secret.as_ref()).chain(&options.default_certificate);
        let mut certificates = Certificates { named: Arc::new(named.cloned().collect()), ..Certificates::default() };
        let existing = certificates.named.iter().filter_map(|name| secrets.get_key_value(name));
        memo.update(existing, |_, secret| load(secret));
        let mut candidates: BTreeMap<&HostPattern, Vec<Candidate<'_>>> = BTreeMap::new();
        for parsed in served {
            for entry in &parsed.tls {
                certificates.take(parsed, entry, memo, &mut candidates);
            }
        }
        for (host, candidates) in candidates {
            certificates.choose(host, &candidates);
        }
        if let Some(reference) = &options.default_certificate {
            certificates.take_default(reference, memo);
        }
        certificates
    }

    /// Takes the place of what was before; what is equal keeps its pointer. Gives the hosts that are in `tls:` only before
    /// or only now.
    pub(super) fn replace(&mut self, mut fresh: Certificates) -> Vec<HostPattern> {
        keep(&self.by_name, &mut fresh.by_name);
        keep(&self.secrets, &mut fresh.secrets);
        keep(&self.named, &mut fresh.named);
        let moved = self.tls.differences(&fresh.tls);
        *self = fresh;
        moved
    }

    /// Notes the hosts of one entry and the Secret that it names for each of them.
    fn take<'a>(
        &mut self,
        parsed: &'a Parsed,
        entry: &'a TlsEntry,
        memo: &'a SecretMemo,
        candidates: &mut BTreeMap<&'a HostPattern, Vec<Candidate<'a>>>,
    ) {
        let owner = &parsed.age.owner;
        let pair = match &entry.secret {
            None => None,
            Some(secret) => match find(secret, memo) {
                Ok(pair) => Some((secret, pair)),
                Err((reason, what)) => {
                    let message = format!("{what}: the default certificate is served; correct the Secret");
                    self.report(owner, &format!("{}.secretName", entry.field), reason, message);
                    None
                }
            },
        };
        for host in self.hosts(parsed, entry, pair.map(|(_, pair)| pair)) {
            self.tls.0.insert(host.clone());
            if let Some((secret, pair)) = pair {
                let candidate = Candidate { secret, pair, owner, field: &entry.field };
                candidates.entry(host).or_default().push(candidate);
            }
        }
    }

    /// The hosts of an entry: those listed; if none are, the Ingress's own that the certificate names.
    fn hosts<'a>(&mut self, parsed: &'a Parsed, entry: &'a TlsEntry, pair: Option<&Pair>) -> Vec<&'a HostPattern> {
        let owner = &parsed.age.owner;
        let covers = |host: &HostPattern| pair.is_some_and(|pair| names_cover(&pair.certificate.names, host));
        let Some(listed) = &entry.hosts else {
            let hosts: Vec<_> = parsed.hosts().filter(|host| covers(host)).collect();
            let told = entry.secret.is_some() && pair.is_none();
            if hosts.is_empty() && !told {
                let message = "no hosts are listed, and there is no certificate for a host of the rules: the entry has \
                               no effect; list its hosts";
                self.report(owner, &entry.field, Reason::Invalid, message.to_owned());
            }
            return hosts;
        };
        for (index, host) in listed {
            if let (Some(secret), Some(_), false) = (&entry.secret, pair, covers(host)) {
                let message = format!(
                    "the certificate in Secret {secret} is not for {host}: clients will refuse it; renew it with that name"
                );
                self.report(owner, &format!("{}.hosts[{index}]", entry.field), Reason::InvalidCertificate, message);
            }
        }
        listed.iter().map(|(_, host)| host).collect()
    }

    /// Serves the oldest candidate of each type of key.
    fn choose(&mut self, host: &HostPattern, candidates: &[Candidate<'_>]) {
        let mut chosen: Vec<&Candidate<'_>> = Vec::new();
        for candidate in candidates {
            let rival = chosen.iter().find(|chosen| chosen.key_type() == candidate.key_type());
            match rival {
                None => chosen.push(candidate),
                Some(rival) if rival.pair.certificate == candidate.pair.certificate => {}
                Some(rival) => {
                    let message = format!(
                        "for {host} Secret {} of Ingress {} is served, which comes first and has the same type of \
                         key; remove one of them",
                        rival.secret, rival.owner
                    );
                    let field = format!("{}.secretName", candidate.field);
                    self.report(candidate.owner, &field, Reason::Conflict, message);
                }
            }
        }
        for candidate in &chosen {
            Arc::make_mut(&mut self.secrets).insert(candidate.secret.clone(), candidate.pair.certificate.clone());
        }
        let references = chosen.iter().map(|candidate| candidate.secret.clone()).collect();
        Arc::make_mut(&mut self.by_name).insert(host.clone(), references);
    }

    fn take_default(&mut self, reference: &Reference, memo: &SecretMemo) {
        match find(reference, memo) {
            Ok(pair) => {
                Arc::make_mut(&mut self.secrets).insert(reference.clone(), pair.certificate.clone());
                self.default = Some(reference.clone());
            }
            Err((reason, what)) => {
                let message = format!("{what}: a self-made certificate is the default one; correct the Secret");
                let problem = Problem::new("--default-ssl-certificate", reason, message);
                self.reports.add(ObjectRef::new(ObjectKind::Secret, reference), problem);
            }
        }
    }

    fn report(&mut self, owner: &Reference, field: &str, reason: Reason, message: String) {
        self.reports.add(ObjectRef::new(ObjectKind::Ingress, owner), Problem::new(field, reason, message));
    }
}

impl Candidate<'_> {
    fn key_type(&self) -> SignatureAlgorithm {
        self.pair.key_type
    }
}

impl TlsHosts {
    /// `host` stands in some `tls:`, itself or by a wildcard.
    pub(super) fn covers(&self, host: &HostPattern) -> bool {
        self.0.contains(host) || wildcard_of(host).is_some_and(|wildcard| self.0.contains(&wildcard))
    }

    /// `host` stands in some `tls:` by this very name.
    pub(super) fn contains(&self, host: &HostPattern) -> bool {
        self.0.contains(host)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HostPattern> {
        self.0.iter()
    }

    /// Those that stand in one of the two only.
    pub(super) fn differences(&self, other: &TlsHosts) -> Vec<HostPattern> {
        self.0.symmetric_difference(&other.0).cloned().collect()
    }
}

/// The wildcard that covers an exact host.
pub(super) fn wildcard_of(host: &HostPattern) -> Option<HostPattern> {
    let HostPattern::Exact(name) = host else { return None };
    let (_, suffix) = name.as_str().split_once('.')?;
    HostName::parse(suffix).ok().map(HostPattern::Wildcard)
}

fn keep<T: PartialEq>(known: &Arc<T>, fresh: &mut Arc<T>) {
    if known == fresh {
        fresh.clone_from(known);
    }
}

fn find<'a>(secret: &Reference, memo: &'a SecretMemo) -> Result<&'a Pair, (Reason, String)> {
    match memo.find(secret).map(|loaded| loaded.as_ref()) {
        Some(Ok(pair)) => Ok(pair),
        Some(Err(what)) => Err((Reason::InvalidCertificate, format!("Secret {secret} {what}"))),
        None => Err((Reason::SecretNotFound, format!("Secret {secret} does not exist"))),
    }
}
