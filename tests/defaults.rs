//! What ships holds: one proxy without a single flag about limits, and every default measured at its edge. Elsewhere the
//! same limits are tested at smaller values. All that only takes time runs at once, so that this lasts little longer than
//! the longest default.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

#[path = "defaults/backend.rs"]
mod backend;
#[path = "defaults/caps.rs"]
mod caps;
#[path = "defaults/client.rs"]
mod client;
#[path = "defaults/http2.rs"]
mod http2;
#[path = "defaults/names.rs"]
mod names;
#[path = "defaults/site.rs"]
mod site;
mod support;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use site::Site;
use support::wait::timed;

/// A measurement at the edge of one default.
struct Edge {
    /// The flag, or what else names the default.
    of: &'static str,
    ships: &'static str,
    what: &'static str,
    measure: fn(&Site),
}

const fn edge(of: &'static str, ships: &'static str, what: &'static str, measure: fn(&Site)) -> Edge {
    Edge { of, ships, what, measure }
}

/// Measured all at once.
const AT_ONCE: &[Edge] = &[
    edge("--header-timeout", "10s", "the first head", client::first_head),
    edge("--header-timeout", "10s", "the first head, as far as HTTP/2's", client::first_head_like_http_2),
    edge("--header-timeout", "10s", "a later head", client::later_head),
    edge("--header-timeout", "10s", "a head over TLS", client::head_over_tls),
    edge("--max-header-size", "64Ki", "one byte below, at and above", client::header_size),
    edge("--max-header-fields", "100", "one below, at and above", client::header_fields),
    edge("--max-header-fields", "100", "the same over HTTP/2", http2::header_fields),
    edge("--body-idle-timeout", "30s", "a body that stops", client::body_idle),
    edge("--min-body-rate", "240", "a fifth below", client::body_below_rate),
    edge("--min-body-rate", "240", "a fifth above", client::body_above_rate),
    edge("--write-timeout", "30s", "a client that does not read", client::write_stall),
    edge("--write-timeout", "30s", "a stream whose window is shut", http2::write_stall),
    edge("--keep-alive-timeout", "60s", "before the first request", client::idle_before_first),
    edge("--keep-alive-timeout", "60s", "after a request", client::idle_after_one),
    edge("--keep-alive-timeout", "60s", "after a request over TLS", client::idle_over_tls),
    edge("--keep-alive-timeout", "60s", "a request just in time", client::not_idle_yet),
    edge("--keep-alive-timeout", "60s", "over HTTP/2", http2::idle),
    edge("--tls-handshake-timeout", "10s", "half a hello", client::half_a_hello),
    edge("--tls-handshake-timeout", "10s", "no hello", client::no_hello),
    edge("--http2-max-concurrent-streams", "100", "as announced, and the 101st", http2::streams),
    edge("--http2-max-header-list-size", "16Ki", "one byte below, at and above", http2::header_list),
    edge("windows", "64Ki/16Mi", "as announced", http2::windows),
    edge("--http2-max-resets", "100", "100, 100 more once 30 s are over, then one more", http2::resets),
    edge("--http2-ping-interval", "30s", "the first ping", http2::ping),
    edge("--http2-ping-timeout", "10s", "a ping without an answer", http2::unanswered_ping),
    edge("--backend-idle-timeout", "4s", "an idle connection to a backend", backend::idle_connection),
    edge("connect timeout", "1s", "an endpoint that does not answer", backend::connect),
    edge("connect timeout", "1s x3", "four of them", backend::connect_thrice),
    edge("idle timeout", "60s", "no response head", backend::no_head),
    edge("idle timeout", "60s", "half a response body", backend::half_a_body),
    edge("host names", "30s", "one that moves", |_| names::moves()),
    edge("host names", "30s", "one that goes", |_| names::goes()),
    edge("send timeout", "60s", "a backend that takes no body", backend::takes_nothing),
];

/// Measured one after the other when the others are done, for they take all connections, or end the process.
const AFTERWARDS: &[&str] = &["--max-connections", "--max-connections-per-address", "--shutdown-grace-period"];

/// An hour is not waited for: tests/wire/timeouts.rs has their edges at smaller values. HTTP/2's send buffer (64Ki) is
/// not seen from outside, behind the buffers of the kernel.
const TOO_LONG: &[&str] = &["--max-connection-age", "--tunnel-idle-timeout"];

/// How much later than at its limit something may happen: the checks tick, and the machine may be busy.
const LATE: Duration = Duration::from_millis(1500);
/// How much earlier: the clock stands between two ticks.
const EARLY: Duration = Duration::from_millis(500);

#[test]
fn every_default_holds_at_its_edge() {
    caps::raise_descriptor_limit();
    let mut site = Site::start();
    let failed = measure_at_once(&site);
    assert!(failed.is_empty(), "{failed:#?}");
    caps::connections(&site);
    site.proxy.signal(Signal::TERM);
    assert!(at(5, || site.proxy.exit_status()).success(), "--shutdown-grace-period, and nothing to drain");
}

fn measure_at_once(site: &Site) -> Vec<String> {
    std::thread::scope(|scope| {
        let run = |edge: &'static Edge| {
            let name = format!("{} {}: {}", edge.of, edge.ships, edge.what);
            let work = move || {
                let (outcome, took) = timed(|| catch_unwind(AssertUnwindSafe(|| (edge.measure)(site))));
                println!("{took:>5.1?} {} {}: {}", edge.of, edge.ships, edge.what);
                outcome.is_err()
            };
            (name.clone(), std::thread::Builder::new().name(name).spawn_scoped(scope, work).unwrap())
        };
        let running: Vec<_> = AT_ONCE.iter().map(run).collect();
        running.into_iter().filter_map(|(name, thread)| thread.join().unwrap().then_some(name)).collect()
    })
}

/// A limit without an edge here is one that nobody has measured.
#[test]
fn every_flag_of_the_limits_has_its_edge() {
    let help = Command::new(env!("CARGO_BIN_EXE_headgate")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, limits) = help.split_once("\nLimits:\n").unwrap();
    let (limits, _) = limits.split_once("\n\n").unwrap();
    let flags = limits.lines().filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next());
    let flags: BTreeSet<String> = flags.map(|flag| format!("--{flag}")).collect();
    let known = AT_ONCE.iter().map(|edge| edge.of).chain(AFTERWARDS.iter().chain(TOO_LONG).copied());
    let known: BTreeSet<&str> = known.collect();
    let missing: Vec<_> = flags.iter().filter(|flag| !known.contains(flag.as_str())).collect();
    assert!(flags.len() > 10 && missing.is_empty(), "{missing:?}");
    for edge in AT_ONCE.iter().filter(|edge| flags.contains(edge.of)) {
        let shown = format!("{} <", edge.of);
        let default = limits.split_once(&shown).unwrap().1.split_once("[default: ").unwrap().1;
        assert!(default.starts_with(&format!("{}]", edge.ships)), "{}", edge.of);
    }
}

/// Panics unless `work` takes `seconds`, within [`EARLY`] and [`LATE`].
#[track_caller]
fn at<T>(seconds: u64, work: impl FnOnce() -> T) -> T {
    let limit = Duration::from_secs(seconds);
    let (value, took) = timed(work);
    assert!(took + EARLY >= limit && took <= limit + LATE, "after {took:?} in place of {limit:?}");
    value
}
