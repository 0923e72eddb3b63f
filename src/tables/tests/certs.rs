use rcgen::{PKCS_RSA_SHA256, RsaKeySize};
use rustls::SignatureScheme::{self, ECDSA_NISTP256_SHA256, ED25519, RSA_PKCS1_SHA256, RSA_PSS_SHA256};

use super::*;

const BOTH: &[SignatureScheme] = &[ED25519, ECDSA_NISTP256_SHA256, RSA_PSS_SHA256, RSA_PKCS1_SHA256];
const ECDSA: &[SignatureScheme] = &[ECDSA_NISTP256_SHA256];
const RSA: &[SignatureScheme] = &[RSA_PSS_SHA256, RSA_PKCS1_SHA256];

fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn rsa() -> &'static KeyPair {
    static RSA: OnceLock<KeyPair> = OnceLock::new();
    RSA.get_or_init(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

/// Each name with the Secrets that serve it; every Secret holds an ECDSA certificate of its own name, but for those
/// called `rsa…` (RSA), `missing` and `broken`.
fn wanted(names: &[(&str, &[&str])]) -> Snapshot {
    let pattern = |name: &str| HostPattern::parse(name).unwrap();
    let references = |secrets: &[&str]| secrets.iter().map(|secret| Reference::new("ns", *secret)).collect();
    let secrets = names.iter().flat_map(|(_, secrets)| secrets.iter().copied()).filter(|secret| *secret != "missing");
    Snapshot {
        certificates: Arc::new(names.iter().map(|(name, secrets)| (pattern(name), references(secrets))).collect()),
        secrets: Arc::new(secrets.map(|secret| (Reference::new("ns", secret), held(secret))).collect()),
        ..Snapshot::default()
    }
}

fn held(secret: &str) -> Arc<Certificate> {
    match secret {
        "broken" => Arc::new(Certificate { key: PrivateKey::new(b"none"), ..Certificate::clone(&held("x")) }),
        secret if secret.starts_with("rsa") => certificate(secret, rsa()),
        secret => certificate(secret, &ecdsa()),
    }
}

/// The Secret whose certificate a client gets.
fn served(tables: &Tables, server_name: Option<&str>, schemes: &[SignatureScheme]) -> String {
    let served = tables.certs.resolve(server_name, schemes);
    assert!(served.keys_match().is_ok());
    let (_, leaf) = x509_parser::parse_x509_certificate(&served.cert[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let [x509_parser::extensions::GeneralName::DNSName(name)] = &*names.value.general_names else { panic!() };
    (*name).to_owned()
}

#[test]
fn exact_name_beats_wildcard_beats_default() {
    let tables =
        build(wanted(&[("a.x.com", &["exact"]), ("*.x.com", &["wildcard"]), ("*.y.x.com", &["deeper"])]), None);
    for (name, secret) in [
        ("a.x.com", "exact"),
        ("A.X.Com", "exact"),
        ("a.x.com.", "exact"),
        ("b.x.com", "wildcard"),
        ("B.X.COM.", "wildcard"),
        ("y.x.com", "wildcard"),
        ("a.y.x.com", "deeper"),
        ("x.com", "fallback"),
        ("b.a.x.com", "fallback"),
        ("com", "fallback"),
        ("", "fallback"),
        ("no host", "fallback"),
    ] {
        assert_eq!(served(&tables, Some(name), BOTH), secret, "{name}");
    }
    assert_eq!(served(&tables, None, BOTH), "fallback");
}

#[test]
fn a_client_gets_the_first_certificate_that_it_can_verify() {
    let tables = build(
        wanted(&[
            ("a", &["rsa", "ecdsa"]),
            ("b", &["ecdsa", "rsa"]),
            ("c", &["rsa"]),
            ("d", &["missing", "rsa", "ecdsa"]),
        ]),
        None,
    );
    for (name, schemes, secret) in [
        ("a", BOTH, "rsa"),
        ("a", ECDSA, "ecdsa"),
        ("a", RSA, "rsa"),
        ("b", BOTH, "ecdsa"),
        ("b", RSA, "rsa"),
        ("c", ECDSA, "rsa"),
        ("a", &[ED25519], "rsa"),
        ("a", &[], "rsa"),
        ("d", ECDSA, "ecdsa"),
        ("d", BOTH, "rsa"),
    ] {
        assert_eq!(served(&tables, Some(name), schemes), secret, "{name} {schemes:?}");
    }
}

#[test]
fn a_name_without_a_usable_certificate_gets_the_default_and_not_a_wildcards() {
    let names: &[(&str, &[&str])] =
        &[("*.x", &["wildcard"]), ("a.x", &[]), ("b.x", &["missing"]), ("c.x", &["broken"]), ("d", &["own"])];
    let mut wanted = wanted(names);
    let tables = build(wanted.clone(), None);
    for name in ["a.x", "b.x", "c.x"] {
        assert_eq!(served(&tables, Some(name), BOTH), "fallback", "{name}");
    }
    wanted.default_certificate = Some(Reference::new("ns", "own"));
    let tables = build(wanted.clone(), Some(&tables));
    for name in ["a.x", "b.x", "c.x", "unknown"] {
        assert_eq!(served(&tables, Some(name), BOTH), "own", "{name}");
    }
    assert_eq!(served(&tables, Some("e.x"), BOTH), "wildcard");
    assert_eq!(served(&tables, None, BOTH), "own");
    wanted.default_certificate = Some(Reference::new("ns", "missing"));
    assert_eq!(served(&build(wanted, Some(&tables)), None, BOTH), "fallback");
}

#[test]
fn a_certificate_for_any_host_stands_in_for_the_default() {
    let tables = build(wanted(&[("", &["any"]), ("a", &["own"]), ("b", &["missing"])]), None);
    assert_eq!(served(&tables, Some("unknown"), BOTH), "any");
    assert_eq!(served(&tables, None, BOTH), "any");
    assert_eq!(served(&tables, Some("a"), BOTH), "own");
    assert_eq!(served(&tables, Some("b"), BOTH), "fallback");
}

#[test]
fn a_changed_secret_is_read_and_the_others_are_kept() {
    let first = build(wanted(&[("a", &["a"]), ("b", &["b"])]), None);
    let mut wanted = Snapshot::clone(&first.snapshot);
    Arc::make_mut(&mut wanted.secrets).insert(Reference::new("ns", "b"), certificate("renewed", &ecdsa()));
    let second = build(wanted.clone(), Some(&first));
    assert_eq!(served(&second, Some("b"), BOTH), "renewed");
    let key = |tables: &Tables| tables.certs.resolve(Some("a"), BOTH);
    assert!(Arc::ptr_eq(&key(&first), &key(&second)));
    assert!(!Arc::ptr_eq(&first.certs, &second.certs));

    let equal = Arc::new(Certificate::clone(&wanted.secrets[&Reference::new("ns", "a")]));
    Arc::make_mut(&mut wanted.secrets).insert(Reference::new("ns", "a"), equal);
    assert!(Arc::ptr_eq(&second.certs, &build(wanted, Some(&second)).certs));
}

#[test]
fn no_key_is_printed() {
    let tables = build(wanted(&[("a", &["a"]), ("*.b", &["b"])]), None);
    let shown = format!("{:?} {tables:?}", tables.certs);
    assert_eq!(shown, "{\"a\", \"b\"} Tables { generation: 1, .. }");
}
