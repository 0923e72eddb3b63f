//! What the access log and the application log say.

use serde_json::json;

use crate::support::objects::{self, site};
use crate::support::ports::ClosedPort;
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get, request};

#[test]
fn a_line_has_the_fields_of_the_contract() {
    let backend = Backend::answering("hello");
    let proxy = Headgate::before(&backend);
    request(
        proxy.http,
        "POST /x/y?a=1&b=%20 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test/1\r\nReferer: http://r/\r\nX-Request-ID: id-1\r\nContent-Length: 3\r\n\r\nabc",
    );
    let line = proxy.log_of("/x/y");
    for (field, value) in [
        ("client_ip", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("host", json!("a.example")),
        ("path", json!("/x/y")),
        ("query", json!("a=1&b=%20")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("bytes_sent", json!(5)),
        ("bytes_received", json!(3)),
        ("backend", json!("default-a-80")),
        ("endpoint", json!(backend.address.to_string())),
        ("namespace", json!("default")),
        ("ingress", json!("a")),
        ("service", json!("a")),
        ("request_id", json!("id-1")),
        ("user_agent", json!("test/1")),
        ("referer", json!("http://r/")),
        ("flag", json!("")),
        ("retries", json!(0)),
        ("tls_version", json!("")),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.len() == "2026-01-01T00:00:00.000Z".len() && timestamp.ends_with('Z'), "{timestamp}");
    let duration = line["duration_ms"].as_f64().unwrap();
    assert!(duration > 0.0 && duration < 5000.0, "{duration}");
    assert!((duration * 1000.0).fract().abs() < 1e-6, "to the microsecond: {duration}");
    assert!(line["route"].as_str().unwrap().contains("default/a"), "{line}");
}

#[test]
fn a_duration_lasts_to_the_last_byte() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")?;
        std::thread::sleep(std::time::Duration::from_millis(400));
        exchange.send("lf").map(|()| crate::support::Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    get(proxy.http, "a.example", "/slow");
    assert!(proxy.log_of("/slow")["duration_ms"].as_f64().unwrap() > 390.0);
}

#[test]
fn our_own_answers_are_logged_too() {
    let closed = ClosedPort::new();
    let mut objects = site("a.example", &[closed.address]);
    objects.extend(site("empty.example", &[]));
    let proxy = Headgate::serve(&objects);
    for (host, path, status, flag, backend) in [
        ("unknown.example", "/404", 404, "NR", ""),
        ("a.example", "/502", 502, "UF", "default-a-80"),
        ("empty.example", "/503", 503, "UH", "default-empty-80"),
    ] {
        assert_eq!(get(proxy.http, host, path).status, status);
        let line = proxy.log_of(path);
        assert_eq!(
            (&line["status"], &line["flag"], &line["backend"]),
            (&json!(status), &json!(flag), &json!(backend)),
            "{line}"
        );
    }
}

#[test]
fn tries_that_failed_are_in_the_line() {
    let closed = ClosedPort::new();
    let backend = Backend::answering("ok");
    let proxy = Headgate::serve(&site("a.example", &[closed.address, backend.address]));
    for path in ["/1", "/2"] {
        assert_eq!(get(proxy.http, "a.example", path).status, 200);
    }
    let line = proxy.log_line("a line with a try that failed", |line| line["retries"] == 1);
    assert_eq!(line["endpoint"], backend.address.to_string());
    assert_eq!(line["failed_tries"][0]["endpoint"], closed.address.to_string());
}

#[test]
fn host_and_path_are_those_that_were_served() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let served = request(proxy.http, "GET http://A.example:80/%61dmin?%61 HTTP/1.1\r\nHost: Innocent.example\r\n\r\n");
    assert_eq!((served.status, backend.only().target()), (200, "/admin?%61"));
    let line = proxy.log_of("/admin");
    assert_eq!((&line["host"], &line["query"]), (&json!("a.example"), &json!("%61")), "{line}");
    let refused = request(proxy.http, "GET /%61/../b HTTP/1.1\r\nHost: A.example\r\n\r\n");
    assert_eq!(refused.status, 400);
    assert_eq!(proxy.log_of("/%61/../b")["host"], "A.example", "what has no normal form is shown as sent");
}

#[test]
fn https_requests_say_so() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    Tls::to("a.example").connect(proxy.https).get("a.example", "/tls");
    let line = proxy.log_of("/tls");
    assert_eq!((&line["scheme"], &line["tls_version"]), (&json!("https"), &json!("TLSv1.3")));
}

#[test]
fn what_a_client_sends_cannot_break_a_line() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let long = "l".repeat(30_000);
    let mut bytes =
        b"GET /odd?q=%22%0a HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \"quote\\ \xff\xfe\t\xe2\x80\xae\r\nReferer: "
            .to_vec();
    bytes.extend(long.as_bytes());
    bytes.extend(b"\r\n\r\n");
    assert_eq!(request(proxy.http, bytes).status, 200);
    let line = proxy.log_of("/odd");
    assert!(line["user_agent"].as_str().unwrap().starts_with("\"quote\\ "), "{line}");
    assert!(line["referer"].as_str().unwrap().len() < 10_000, "cut");
    for (head, status) in [
        ("GET /escaped/%1b%5b31m%7f?%0d%0a HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), 200),
        ("GET /\x1b[31m HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), 400),
        ("GET /agent HTTP/1.1\r\nHost: a.example\r\nUser-Agent: \x1b[2J\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "p".repeat(1 << 20)), 414),
        (format!("GET /long HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {}\r\n\r\n", "u".repeat(1 << 20)), 431),
    ] {
        let mut client = Client::connect(proxy.http);
        // The peer may close before all is written.
        let _ = std::io::Write::write_all(&mut client.stream, head.as_bytes());
        assert_eq!(client.response().status, status, "{}", &head[..20]);
    }
    until("six lines", || (proxy.log().len() == 6).then_some(()));
    let text = proxy.log_text();
    assert!(!text.contains(|letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}'), "escaped");
    assert!(text.lines().all(|line| line.len() < 20_000), "cut");
}

#[test]
fn the_upstreaminfo_format_is_that_of_ingress_nginx() {
    let backend = Backend::answering("hello");
    let proxy =
        Headgate::with(&site("a.example", &[backend.address])).flag("--access-log-format", "upstreaminfo").start();
    request(proxy.http, "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test/1\r\nX-Request-ID: id-1\r\n\r\n");
    let line = until("a line", || proxy.log_text().lines().next().map(str::to_owned));
    let (start, rest) = line.split_once(" - - [").unwrap();
    assert_eq!(start, "127.0.0.1");
    let (_, rest) = rest.split_once("] ").unwrap();
    let expected = r#""GET /x?y=1 HTTP/1.1" 200 5 "-" "test/1" "#;
    assert!(rest.starts_with(expected), "{line}");
    let endpoint = format!("[default-a-80] [] {} 5 ", backend.address);
    assert!(rest.contains(&endpoint), "{line}");
    assert!(rest.ends_with(" 200 id-1"), "{line}");
}

#[test]
fn the_access_log_can_be_off() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--access-log", "off").start();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert_eq!(proxy.log_text(), "");
}

#[test]
fn every_request_has_its_line() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let address = proxy.http;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for number in 0..250 {
                    client.get("a.example", &format!("/{thread}/{number}"));
                }
            });
        }
    });
    let lines = until("a thousand lines", || Some(proxy.log()).filter(|lines| lines.len() >= 1000));
    let paths: std::collections::BTreeSet<_> = lines.iter().map(|line| line["path"].to_string()).collect();
    assert_eq!((lines.len(), paths.len()), (1000, 1000));
}

#[test]
fn the_application_log_is_json_where_the_flag_says_so() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--log-format", "json").start();
    for line in proxy.stderr().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn the_application_log_has_no_colours_where_there_is_no_terminal() {
    let proxy = Headgate::serve(&[objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "missing")])]);
    assert!(!proxy.stderr().contains('\u{1b}'));
    assert!(proxy.stderr().contains("missing"), "problems are told");
}

#[test]
fn a_log_that_cannot_be_written_delays_nobody_and_counts_what_is_lost() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--access-log", "/dev/full").start();
    let mut client = Client::connect(proxy.http);
    for _ in 0..200 {
        assert_eq!(client.get("a.example", "/").status, 200);
    }
    until("the lost lines", || (proxy.metrics().value("proxy_access_log_dropped_total", &[]) >= 200.0).then_some(()));
}

#[test]
fn a_log_that_nobody_reads_delays_nobody() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--access-log", "stdout").start();
    let mut client = Client::connect(proxy.http);
    for _ in 0..5000 {
        assert_eq!(client.get("a.example", "/a/path/that/makes/the/line/a/little/longer").status, 200);
    }
}

#[test]
fn after_sigusr1_the_log_is_a_new_file() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    get(proxy.http, "a.example", "/before");
    proxy.log_of("/before");
    std::fs::rename(proxy.folder.beside("access.log"), proxy.folder.beside("access.log.1")).unwrap();
    proxy.signal(rustix::process::Signal::USR1);
    until("the new file", || proxy.folder.beside("access.log").exists().then_some(()));
    get(proxy.http, "a.example", "/after");
    proxy.log_of("/after");
    assert_eq!(proxy.log().len(), 1);
}
