//! curl: the client that everyone tries first.

use std::process::Command;

use crate::support::{Backend, Headgate};

#[test]
fn curl_gets_a_page() {
    let backend = Backend::answering("hello");
    let headgate = Headgate::before(&backend);
    let resolve = format!("a.example:{}:127.0.0.1", headgate.http.port());
    let url = format!("http://a.example:{}/", headgate.http.port());
    let output = Command::new("curl").args(["-sS", "--resolve", &resolve, &url]).output().unwrap();
    assert_eq!(output.stdout, b"hello");
}
