//! nghttp and h2load: the clients of another HTTP/2 library than ours, and many requests at once.

use super::tools::run;
use crate::support::{Backend, Headgate, site};

/// A proxy for any host, since these tools ask for the address they connect to.
fn before(backend: &Backend) -> Headgate {
    Headgate::serve(&site("", &[backend.address]))
}

#[test]
fn nghttp_gets_a_page_over_both_kinds_of_http2() {
    let backend = Backend::answering("hello");
    let headgate = before(&backend);
    for url in [format!("http://{}/", headgate.http), format!("https://{}/", headgate.https)] {
        assert_eq!(run("nghttp", &["--no-verify-peer", &url]).text(), "hello", "{url}");
    }
}

#[test]
fn a_head_in_padded_continuation_frames_is_understood() {
    let backend = Backend::answering("hello");
    // `--continuation` adds six fields of 4 KiB, more than is allowed by default.
    let objects = site("", &[backend.address]);
    let headgate = Headgate::with(&objects).flag("--http2-max-header-list-size", "64Ki").start();
    let url = format!("http://{}/", headgate.http);
    assert_eq!(run("nghttp", &["--continuation", "--padding=100", "-H", "x-own: 1", &url]).text(), "hello");
    let seen = backend.only();
    assert_eq!(seen.header("x-own").as_deref(), Some("1"));
    assert_eq!(seen.header("continuation-test-6").map(|value| value.len()), Some(4096));
}

#[test]
fn a_body_without_length_and_with_trailers_reaches_an_http1_backend() {
    let backend = Backend::answering("stored");
    let headgate = before(&backend);
    let file = headgate.folder.beside("upload");
    std::fs::write(&file, "x".repeat(100_000)).unwrap();
    let data = format!("--data={}", file.display());
    let url = format!("http://{}/", headgate.http);
    let answer = run("nghttp", &["--no-content-length", "--trailer", "x-sum: 1", "--padding=200", &data, &url]);
    assert_eq!(answer.text(), "stored");
    assert_eq!(backend.only().body.len(), 100_000);
}

#[test]
fn nghttp_multiplies_one_url() {
    let backend = Backend::answering("hello");
    let headgate = before(&backend);
    let url = format!("https://{}/", headgate.https);
    let answer = run("nghttp", &["--no-verify-peer", "--multiply=50", "--window-bits=10", &url]);
    assert_eq!(answer.text(), "hello".repeat(50));
}

#[test]
fn none_of_two_thousand_requests_fails_over_h2c() {
    let backend = Backend::answering("hello");
    let headgate = before(&backend);
    all_succeed(&["-n", "2000", "-c", "10", "-m", "20", &format!("http://{}/", headgate.http)]);
}

#[test]
fn none_of_two_thousand_requests_fails_over_tls() {
    let backend = Backend::answering("hello");
    let headgate = before(&backend);
    all_succeed(&["-n", "2000", "-c", "10", "-m", "20", &format!("https://{}/", headgate.https)]);
}

#[test]
fn none_of_two_thousand_pipelined_requests_fails_over_http1() {
    let backend = Backend::answering("hello");
    let headgate = before(&backend);
    all_succeed(&["-n", "2000", "-c", "10", "-m", "20", "--h1", &format!("http://{}/", headgate.http)]);
}

#[test]
fn none_of_many_large_answers_fails_under_small_windows() {
    let backend = Backend::answering(&"x".repeat(100_000));
    let headgate = before(&backend);
    let url = format!("https://{}/", headgate.https);
    all_succeed(&["-n", "200", "-c", "5", "-m", "10", "--window-bits=12", "--connection-window-bits=16", &url]);
}

/// Runs h2load; every one of its `-n` requests must have been answered with 2xx.
#[track_caller]
fn all_succeed(arguments: &[&str]) {
    let report = run("h2load", arguments).text();
    let n = arguments[1];
    let expected = [
        format!("requests: {n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("status codes: {n} 2xx, 0 3xx, 0 4xx, 0 5xx"),
    ];
    assert!(expected.iter().all(|line| report.contains(line)), "{report}");
}
