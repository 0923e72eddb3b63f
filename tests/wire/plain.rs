//! `serve --config` with `[[backends]]`: each key's effect, at its edges.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use super::connect::Raw;
use crate::support::headgate::Builder;
use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, TestCertificate, get, ports, request, tls};

const SERVER: &str = "[server]\nbind_addr = \"127.0.0.1:0\"\n";

/// A plain proxy in front of these, called `b0`, `b1`, …, with more keys of each and more tables.
pub(super) fn before(backends: &[(SocketAddr, &str)], tables: &str) -> Builder {
    Headgate::plain(&config(backends, tables))
}

pub(super) fn config(backends: &[(SocketAddr, &str)], tables: &str) -> String {
    let entry = |(at, (address, keys)): (usize, &(SocketAddr, &str))| {
        format!("[[backends]]\nname = \"b{at}\"\naddr = \"{address}\"\n{keys}\n")
    };
    let entries: String = backends.iter().enumerate().map(entry).collect();
    format!("{SERVER}{entries}{tables}")
}

/// A plain proxy in front of this one, with more keys of `[server]`.
pub(super) fn with(server: &str, backend: SocketAddr) -> Builder {
    Headgate::plain(&format!("{SERVER}{server}\n[[backends]]\nname = \"a\"\naddr = \"{backend}\""))
}

fn shares(backends: &[Backend]) -> Vec<usize> {
    backends.iter().map(|backend| backend.seen().len()).collect()
}

fn from(last: u8, proxy: &Headgate) -> u16 {
    Client::connect_from(IpAddr::from([127, 0, 0, last]), proxy.http).get("any.example", "/").status
}

/// With the addresses of the test in place of those of the document.
#[test]
fn the_file_in_the_readme_answers_requests() {
    let backends = ["one", "two"].map(Backend::answering);
    let readme = include_str!("../../README.md");
    let sample = readme.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let config = sample
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("127.0.0.1:3001", &backends[0].address.to_string())
        .replace("localhost:3002", &format!("localhost:{}", backends[1].address.port()));
    let certificate = TestCertificate::for_names(&["site.example"]);
    let proxy =
        Headgate::plain(&config).file("cert.pem", &certificate.pem).file("key.pem", &certificate.key_pem).start();
    let mut client = tls::Tls::to("site.example").connect(proxy.https);
    // Where localhost is ::1 too, nobody listens there, and it gives way.
    let answers: Vec<_> = (0..12).map(|at| client.get("site.example", &format!("/{at}")).text()).collect();
    assert!(answers.iter().all(|answer| ["one", "two"].contains(&answer.as_str())), "{answers:?}");
    assert!(["one", "two"].iter().all(|backend| answers.iter().any(|answer| answer == backend)), "{answers:?}");
}

#[test]
fn every_host_and_path_goes_to_the_backends_by_their_weights() {
    for balancer in ["", "[load_balancer]", "[load_balancer]\ntype = \"round_robin\""] {
        let backends = ["a", "b", "c"].map(Backend::answering);
        let [a, b, c] = backends.each_ref().map(|backend| backend.address);
        let entries = [(a, "weight = 9"), (b, ""), (c, "weight = 0")];
        let proxy = before(&entries, balancer).flag("--workers", "4").start();
        for at in 0..100 {
            assert_eq!(get(proxy.http, &format!("host{at}.example"), &format!("/{at}?q")).status, 200);
        }
        assert_eq!(shares(&backends), [90, 10, 0], "{balancer}");
        assert_eq!(backends[0].last().header("x-real-ip").as_deref(), Some("127.0.0.1"));
    }
}

#[test]
fn logs_name_the_backend_and_metrics_have_no_labels() {
    let backend = Backend::answering("a");
    let proxy = before(&[(backend.address, "")], "").start();
    assert_eq!(get(proxy.http, "x.example", "/seen").status, 200);
    let line = proxy.log_of("/seen");
    let shown = |keys: &[&str]| keys.iter().map(|key| line[*key].clone()).collect::<Vec<_>>();
    assert_eq!(shown(&["backend", "endpoint"]), [json!("b0"), json!(backend.address.to_string())]);
    assert_eq!(shown(&["namespace", "ingress", "service", "route"]), [json!(""), json!(""), json!(""), json!("* /")]);
    let labels = [("namespace", ""), ("ingress", ""), ("service", ""), ("method", "GET"), ("status", "200")];
    assert_eq!(proxy.counted("proxy_requests_total", &labels, 1.0), 1.0);
    backend.stop();
    assert_eq!(get(proxy.http, "x.example", "/failed").status, 502);
    assert_eq!(proxy.log_of("/failed")["backend"], "b0");
}

fn holding() -> Backend {
    Backend::scripted(|exchange| match exchange.seen.target() {
        "/hold" => exchange.until_abandoned(),
        _ => exchange.reply("200 OK", "ok"),
    })
}

fn hold(proxy: &Headgate, backends: &[Backend], all: usize) -> Client {
    let mut client = Client::connect(proxy.http);
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    let held = || backends.iter().flat_map(|backend| backend.seen()).filter(|seen| seen.target() == "/hold").count();
    until("the request that is held", || (held() == all).then_some(()));
    client
}

#[test]
fn a_full_backend_gives_way_to_the_next_and_all_full_is_503() {
    let backends = [holding(), holding()];
    let entries = [(backends[0].address, "max_connections = 1"), (backends[1].address, "max_connections = 2")];
    let proxy = before(&entries, "").flag("--workers", "2").start();
    let held: Vec<_> = (1..=3).map(|all| hold(&proxy, &backends, all)).collect();
    let holds = backends.each_ref().map(|backend| backend.seen().len());
    assert_eq!(holds, [1, 2]);
    let (refused, took) = timed(|| get(proxy.http, "a", "/full"));
    assert_eq!(refused.status, 503);
    assert!(took < Duration::from_secs(1), "after {took:?}");
    let line = proxy.log_of("/full");
    assert_eq!((&line["flag"], &line["backend"]), (&json!("UO"), &json!("")));
    drop(held);
    until("room", || (get(proxy.http, "a", "/").status == 200).then_some(()));
}

#[test]
fn least_connections_passes_over_the_one_that_is_busy() {
    let backends = [holding(), holding()];
    let entries = [(backends[0].address, ""), (backends[1].address, "")];
    let proxy = before(&entries, "[load_balancer]\ntype = \"least_connections\"").flag("--workers", "2").start();
    let _held = hold(&proxy, &backends, 1);
    let busy = backends.iter().position(|backend| backend.seen().len() == 1).unwrap();
    for _ in 0..10 {
        assert_eq!(get(proxy.http, "a", "/").status, 200);
    }
    assert_eq!((backends[busy].seen().len(), backends[1 - busy].seen().len()), (1, 10));
}

#[test]
fn ip_hash_keeps_a_client_at_its_backend() {
    let backends = ["a", "b"].map(Backend::answering);
    let entries = [(backends[0].address, ""), (backends[1].address, "")];
    let proxy = before(&entries, "[load_balancer]\ntype = \"ip_hash\"").start();
    for last in 1..=20 {
        let before = shares(&backends);
        (0..4).for_each(|_| assert_eq!(from(last, &proxy), 200));
        let gained: Vec<_> = shares(&backends).iter().zip(before).map(|(now, before)| now - before).collect();
        assert!(gained.contains(&4), "{last}: {gained:?}");
    }
    assert!(shares(&backends).iter().all(|share| *share > 0));
}

/// Of many requests so many pass at once, and then no more than the time that they took gives, however long that is.
#[track_caller]
fn assert_burst_and_rate(proxy: &Headgate, burst: usize, per_second: f64) {
    let (statuses, took) = timed(|| (0..50).map(|_| from(1, proxy)).collect::<Vec<_>>());
    let passed = statuses.iter().filter(|status| **status == 200).count();
    let most = burst + ((took.as_secs_f64() + 0.01) * per_second) as usize;
    assert!(statuses[..burst].iter().all(|status| *status == 200), "{statuses:?}");
    assert!(passed <= most, "{passed} in {took:?}: {statuses:?}");
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
}

#[test]
fn a_client_has_its_burst_and_then_its_rate() {
    let backend = Backend::answering("a");
    let proxy = before(&[(backend.address, "")], "[rate_limit]\nrequests_per_second = 1\nburst_size = 3").start();
    assert_burst_and_rate(&proxy, 3, 1.0);
    assert_eq!(from(2, &proxy), 200, "another client has its own");
    let limited = until("a refusal", || Some(get(proxy.http, "a", "/")).filter(|answer| answer.status == 429));
    assert_eq!(limited.header("ratelimit-policy"), Some("\"rate_limit\";q=1;w=1"));
    until("the rate", || (from(1, &proxy) == 200).then_some(()));
}

#[test]
fn the_burst_is_the_rate_if_it_is_not_given_and_may_be_less() {
    let backend = Backend::answering("a");
    for (keys, burst, per_second) in
        [("requests_per_second = 2", 2, 2.0), ("requests_per_second = 20\nburst_size = 1", 1, 20.0)]
    {
        let proxy = before(&[(backend.address, "")], &format!("[rate_limit]\n{keys}")).start();
        assert_burst_and_rate(&proxy, burst, per_second);
    }
}

#[test]
fn access_lists_are_about_the_client_and_deny_wins() {
    let backend = Backend::answering("a");
    for (lists, expected) in [
        ("allow = [\"127.0.0.0/29\"]\ndeny = [\"127.0.0.3\"]", [200, 403, 200, 403]),
        ("allow = [\"::ffff:127.0.0.0/125\"]", [200, 200, 200, 403]),
        ("allow = [\"127.0.0.3\", \"127.0.0.8/32\"]\ndeny = []", [403, 200, 403, 200]),
        ("allow = []\ndeny = [\"127.0.0.3/32\"]", [200, 403, 200, 200]),
        ("deny = [\"::/0\"]", [200; 4]),
        ("allow = []\ndeny = []", [200; 4]),
    ] {
        let proxy = before(&[(backend.address, "")], &format!("[access]\n{lists}")).start();
        assert_eq!([1, 3, 7, 8].map(|last| from(last, &proxy)), expected, "{lists}");
    }
}

#[test]
fn a_request_may_take_the_request_timeout() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/slow" => exchange.until_abandoned(),
        _ => {
            std::thread::sleep(Duration::from_millis(500));
            exchange.reply("200 OK", "in time")
        }
    });
    let proxy = with("request_timeout = 1", backend.address).start();
    assert_eq!(get(proxy.http, "a", "/").text(), "in time");
    let (answer, took) = timed(|| get(proxy.http, "a", "/slow"));
    assert_eq!(answer.status, 504);
    assert!((Duration::from_millis(950)..Duration::from_secs(4)).contains(&took), "after {took:?}");
    assert_eq!(proxy.log_of("/slow")["flag"], "UT");
}

#[test]
fn the_request_timeout_is_30_seconds_unless_something_is_said() {
    let backend = Backend::answering("a");
    let proxy = before(&[(backend.address, "")], "").start();
    let told = get(proxy.admin, "admin", "/debug/explain?url=http%3A%2F%2Fa%2F").json();
    assert_eq!(told["rules"]["request_timeout"], "30s");
}

#[test]
fn with_tls_the_one_port_speaks_nothing_else() {
    let backend = Backend::answering("safe");
    let certificate = TestCertificate::for_names(&["site.example"]);
    let proxy = before(&[(backend.address, "")], "[tls]\ncert_path = \"cert.pem\"\nkey_path = \"key.pem\"")
        .file("cert.pem", &certificate.pem)
        .file("key.pem", &certificate.key_pem)
        .start();
    for client in [tls::Tls::to("site.example"), tls::Tls::to("other.example"), tls::Tls::without_name()] {
        let mut client = client.connect(proxy.https);
        let answer = client.get("any.example", "/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "safe"));
        assert_eq!(answer.header("strict-transport-security"), None, "nobody asked for it");
    }
    let mut plain = Client::connect(proxy.http);
    plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.try_response().is_err());
    assert!(!proxy.stderr().contains(" http="), "{}", proxy.stderr());
    let told = |scheme: &str| get(proxy.admin, "admin", &format!("/debug/explain?url={scheme}%3A%2F%2Fa%2F")).json();
    assert_eq!((&told("http")["listener"], &told("https")["listener"]), (&Value::Null, &json!("https")));
    assert_eq!(backend.last().header("x-forwarded-proto").as_deref(), Some("https"));
}

#[test]
fn without_tls_there_is_no_other_port_either() {
    let backend = Backend::answering("a");
    let proxy = before(&[(backend.address, "")], "").start();
    assert!(!proxy.stderr().contains(" https="), "{}", proxy.stderr());
}

#[test]
fn host_names_are_resolved_and_one_that_is_nowhere_leaves_the_rest() {
    let backend = Backend::answering("here");
    let config = format!(
        "{SERVER}[[backends]]\nname = \"local\"\naddr = \"LocalHost:{}\"\n[[backends]]\nname = \"gone\"\naddr = \"nowhere.invalid:80\"",
        backend.address.port()
    );
    let proxy = Headgate::plain(&config).start();
    for at in 0..10 {
        assert_eq!(get(proxy.http, "a", &format!("/{at}")).text(), "here");
    }
    assert_eq!(proxy.log_of("/9")["backend"], "local");
    let told = get(proxy.admin, "admin", "/debug/problems").text();
    for place in [told, proxy.stderr()] {
        assert!(place.contains("Backend gone") && place.contains("nowhere.invalid:80 does not resolve"), "{place}");
    }
}

#[test]
fn a_backend_that_refuses_costs_no_request() {
    let backend = Backend::answering("here");
    let closed = ports::ClosedPort::new();
    let proxy = before(&[(closed.address, "weight = 5"), (backend.address, "")], "").start();
    for _ in 0..20 {
        assert_eq!(
            request(proxy.http, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").status,
            200
        );
    }
    let ejected =
        until("the ejection", || proxy.stderr().lines().find(|line| line.contains("ejected")).map(str::to_owned));
    assert!(ejected.contains("b0"), "{ejected}");
}

/// The authority is not where it leads.
#[test]
fn connect_opens_a_tunnel_to_a_backend_only_if_that_is_on() {
    let echo = Raw::echo();
    let connect = "CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n";
    let on = with("connect_tunnel = true", echo.address).start();
    let mut client = Client::connect(on.http);
    client.send(connect);
    assert_eq!(client.head().status, 200);
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
    for server in ["connect_tunnel = false", ""] {
        let off = with(server, echo.address).start();
        assert_eq!(request(off.http, connect).status, 405, "{server}");
    }
    assert_eq!(echo.accepted(), 1);
}

#[test]
fn backends_are_shown_by_name() {
    let backend = Backend::answering("a");
    let proxy = before(&[(backend.address, "max_connections = 7")], "").start();
    let told = get(proxy.admin, "admin", "/debug/explain?url=http%3A%2F%2Fa%2F").json();
    let endpoint: &Value = &told["backends"][0]["endpoints"][0];
    assert_eq!((&endpoint["name"], &endpoint["max_connections"]), (&json!("b0"), &json!(7)));
    let shown = get(proxy.admin, "admin", "/debug/backends").json();
    assert_eq!(shown["backends"][0]["endpoints"][0]["name"], "b0");
}

#[test]
fn more_connections_than_the_process_may_hold_are_closed() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = with("max_connections = 1", backend.address).start();
    let mut first = Client::connect(proxy.http);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backend.wait_for(1);
    Client::connect(proxy.http).expect_close();
    assert_eq!(backend.open(), 1, "who has a request in flight stays");
}
