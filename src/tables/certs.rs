//! Finds the certificate for a client hello: exact name, one-label wildcard, default.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Tables;
use crate::snapshot::{Certificate, HostPattern, Reference, Snapshot, host};

/// All certificates of one generation.
pub struct Certs {
    exact: HashMap<Box<str>, Candidates, RandomState>,
    /// By what follows the first label.
    wildcard: HashMap<Box<str>, Candidates, RandomState>,
    /// For names that are nowhere above, and for clients that send none.
    default: Candidates,
    /// Every certificate in use: reading a key costs, so the next generation takes it from here.
    keys: BTreeMap<Reference, Key>,
}

/// What may serve a name, best first; never empty.
type Candidates = Box<[Arc<CertifiedKey>]>;

struct Key {
    /// What it was made of.
    certificate: Arc<Certificate>,
    /// `None`: the key is of a kind that cannot sign, and the certificate counts as missing.
    certified: Option<Arc<CertifiedKey>>,
}

impl Certs {
    /// The first certificate of the best matching name whose key type the client can verify; if it can verify none,
    /// the first.
    pub fn resolve(&self, server_name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let candidates = server_name.map_or(&self.default, |name| self.candidates(name));
        let suits = |candidate: &&Arc<CertifiedKey>| candidate.key.choose_scheme(schemes).is_some();
        match &**candidates {
            [only] => only.clone(),
            several => several.iter().find(suits).unwrap_or(&several[0]).clone(),
        }
    }

    /// The certificates of `snapshot`; those that did not change are taken from `previous`.
    pub(super) fn compile(snapshot: &Snapshot, previous: Option<&Tables>, fallback: &Arc<CertifiedKey>) -> Arc<Certs> {
        if let Some(previous) = previous
            && previous.snapshot.certificates == snapshot.certificates
            && previous.snapshot.secrets == snapshot.secrets
            && previous.snapshot.default_certificate == snapshot.default_certificate
        {
            return previous.certs.clone();
        }
        let keys = read_keys(snapshot, previous);
        Arc::new(Certs::new(snapshot, keys, fallback))
    }

    fn new(snapshot: &Snapshot, keys: BTreeMap<Reference, Key>, fallback: &Arc<CertifiedKey>) -> Self {
        let certified = |secret| keys.get(secret).and_then(|key: &Key| key.certified.clone());
        let default = snapshot.default_certificate.as_ref().and_then(certified).unwrap_or_else(|| fallback.clone());
        let (mut exact, mut wildcard) = (HashMap::default(), HashMap::default());
        let mut any = Box::from([default.clone()]);
        for (pattern, secrets) in &*snapshot.certificates {
            let mut candidates: Candidates = secrets.iter().filter_map(certified).collect();
            if candidates.is_empty() {
                candidates = Box::from([default.clone()]);
            }
            match pattern {
                HostPattern::Exact(name) => drop(exact.insert(name.as_str().into(), candidates)),
                HostPattern::Wildcard(suffix) => drop(wildcard.insert(suffix.as_str().into(), candidates)),
                HostPattern::Any => any = candidates,
            }
        }
        Certs { exact, wildcard, default: any, keys }
    }

    fn candidates(&self, server_name: &str) -> &Candidates {
        let Ok(name) = host::normalize(server_name) else { return &self.default };
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&*name).or_else(wildcard).unwrap_or(&self.default)
    }
}

fn read_keys(snapshot: &Snapshot, previous: Option<&Tables>) -> BTreeMap<Reference, Key> {
    let read = |(secret, certificate): (&Reference, &Arc<Certificate>)| {
        let certified = match previous.and_then(|previous| previous.certs.keys.get(secret)) {
            Some(key) if key.certificate == *certificate => key.certified.clone(),
            _ => certify(certificate).map(Arc::new),
        };
        (secret.clone(), Key { certificate: certificate.clone(), certified })
    };
    snapshot.secrets.iter().map(read).collect()
}

pub(super) fn certify(certificate: &Certificate) -> Option<CertifiedKey> {
    let key = any_supported_type(&PrivateKeyDer::try_from(certificate.key.der()).ok()?).ok()?;
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    Some(CertifiedKey::new(chain, key))
}

/// Names only: keys are never shown.
impl fmt::Debug for Certs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.exact.keys()).entries(self.wildcard.keys()).finish()
    }
}
