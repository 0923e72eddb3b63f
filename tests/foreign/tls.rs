//! sslyze and testssl.sh: what they know of wrong with TLS is not here.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tools::run;
use crate::support::{Backend, Headgate, TestCertificate, objects};

fn serve() -> Headgate {
    let backend = Backend::answering("hello");
    Headgate::serve(&objects::tls_site("a.example", &[backend.address], &TestCertificate::for_names(&["a.example"])))
}

#[track_caller]
fn read<T: DeserializeOwned>(file: &Path) -> T {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn sslyze_finds_nothing() {
    let headgate = serve();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin/python").display().to_string();
    let target = headgate.https.to_string();
    let scans = [
        "sslv2",
        "sslv3",
        "tlsv1",
        "tlsv1_1",
        "tlsv1_2",
        "tlsv1_3",
        "compression",
        "early_data",
        "ems",
        "fallback",
        "heartbleed",
        "openssl_ccs",
        "reneg",
        "resum",
        "robot",
    ]
    .map(|scan| format!("--{scan}"));
    let file = headgate.folder.beside("sslyze.json");
    let json = format!("--json_out={}", file.display());
    let fixed = ["-m", "sslyze", &json, "--quiet", "--mozilla_config=disable", "--sni=a.example", &target];
    run(&python, &fixed.into_iter().chain(scans.iter().map(String::as_str)).collect::<Vec<_>>());
    let told: Value = read(&file);
    let found = &told["server_scan_results"][0]["scan_result"];
    let accepted = |version: &str| {
        let suites = found[format!("{version}_cipher_suites")]["result"]["accepted_cipher_suites"].as_array().unwrap();
        suites.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
        assert_eq!(accepted(old), [""; 0], "{old}");
    }
    assert_eq!(accepted("tls_1_3").len(), 3, "{:?}", accepted("tls_1_3"));
    let safe =
        |suite: &String| suite.starts_with("TLS_ECDHE_") && (suite.contains("_GCM_") || suite.contains("CHACHA20"));
    assert!(accepted("tls_1_2").len() == 3 && accepted("tls_1_2").iter().all(safe), "{:?}", accepted("tls_1_2"));
    for (scan, key, expected) in [
        ("heartbleed", "is_vulnerable_to_heartbleed", false),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false),
        ("session_renegotiation", "supports_secure_renegotiation", true),
        ("tls_1_3_early_data", "supports_early_data", false),
        ("tls_compression", "supports_compression", false),
        ("tls_extended_master_secret", "supports_ems_extension", true),
        ("tls_fallback_scsv", "supports_fallback_scsv", true),
    ] {
        assert_eq!(found[scan]["result"][key], expected, "{scan}: {}", found[scan]);
    }
    assert_eq!(found["robot"]["result"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED");
    assert_eq!(found["session_resumption"]["result"]["session_id_resumption_result"], "FULLY_SUPPORTED");
}

#[test]
fn testssl_finds_no_vulnerability() {
    let headgate = serve();
    let file = headgate.folder.beside("testssl.json");
    let (json, target) = (file.display().to_string(), headgate.https.to_string());
    run("testssl", &["--vulnerable", "--quiet", "--warnings=off", "--color=0", "--jsonfile", &json, &target]);
    let found: Vec<Value> = read(&file);
    let rated = |severity: &str| found.iter().filter(|one| one["severity"] == severity).collect::<Vec<_>>();
    assert!(rated("OK").len() >= 15, "{found:#?}");
    for severity in ["LOW", "MEDIUM", "HIGH", "CRITICAL"] {
        assert_eq!(rated(severity), [&Value::Null; 0], "{severity}");
    }
}
