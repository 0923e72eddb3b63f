//! h2spec: the letter of RFC 9113 and RFC 7541, case by case.

use super::tools::run;
use crate::support::tools::tool;
use crate::support::{Backend, Headgate, site};

#[test]
fn every_case_of_h2spec_passes() {
    let backend = Backend::answering("hello");
    let headgate = Headgate::serve(&site("", &[backend.address]));
    let program = tool("h2spec").display().to_string();
    let (host, port) = (headgate.https.ip().to_string(), headgate.https.port().to_string());
    let told = run(&program, &["--host", &host, "--port", &port, "--tls", "--insecure", "--strict", "--timeout", "10"]);
    let told = told.text();
    let last = told.trim_end().lines().last().unwrap_or_default();
    assert_eq!(last, "146 tests, 146 passed, 0 skipped, 0 failed", "{told}");
}
