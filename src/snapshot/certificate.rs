//! Certificates with their keys. A key is never printed, not even by `Debug`.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// A certificate chain and its key, checked to belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// DER, leaf first.
    pub chain: Arc<[Vec<u8>]>,
    pub key: PrivateKey,
    /// DNS names of the leaf's subject alternative names, lower case, sorted.
    pub names: Vec<String>,
    /// End of validity of the leaf, seconds since the Unix epoch.
    pub not_after: i64,
}

/// A private key, DER (PKCS#8, PKCS#1 or SEC1).
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Arc<[u8]>);

impl PrivateKey {
    pub fn new(der: &[u8]) -> Self {
        PrivateKey(der.into())
    }

    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What may be shown of a certificate: names and end of validity.
impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Certificate", 2)?;
        shown.serialize_field("names", &self.names)?;
        shown.serialize_field("not_after", &self.not_after)?;
        shown.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", PrivateKey::new(b"secret")), "[redacted]");
    }
}
