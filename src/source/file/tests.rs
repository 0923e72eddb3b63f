use std::io;
use std::path::Path;
use std::time::Duration;

use super::Settings;
use super::read::read;
use crate::snapshot::{Algorithm, LimitKey};
use crate::translate::{Place, Plain};

const BACKEND: &str = "[[backends]]\nname = \"a\"\naddr = \"127.0.0.1:1\"\n";

/// Nothing that it names is there.
fn parsed(text: &str) -> Result<Settings, Vec<(usize, String)>> {
    read(text, &|_: &Path| Err(io::Error::other("no such file")))
}

fn plain(text: &str) -> Plain {
    parsed(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}")).plain.unwrap()
}

#[track_caller]
fn refused(text: &str, expected: &[(usize, &str)]) {
    let wrong = parsed(text).expect_err(text);
    let shown: Vec<_> = wrong.iter().map(|(line, what)| (*line, what.as_str())).collect();
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn what_is_left_out_is_off_or_as_the_documents_say() {
    let plain = plain(BACKEND);
    let [backend] = &plain.backends[..] else { panic!("{plain:?}") };
    assert_eq!((backend.name.as_str(), backend.weight, backend.max_connections), ("a", 1, None));
    let bare = Plain { backends: plain.backends.clone(), ..Plain::default() };
    assert_eq!(plain, bare);
    let check = self::plain(&format!("{BACKEND}[health_check]\npath = \"/\"")).health_check.unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((check.interval, check.timeout), (seconds(5), seconds(3)));
    assert_eq!((check.healthy_threshold, check.unhealthy_threshold, check.host), (2, 3, None));
    let limit = self::plain(&format!("{BACKEND}[rate_limit]\nrequests_per_second = 7")).rate_limit.unwrap();
    assert_eq!((limit.requests, limit.per, limit.burst, limit.key), (7, seconds(1), 7, LimitKey::ClientIp));
    for empty in ["[access]", "[access]\nallow = []\ndeny = []", "[load_balancer]", "[server]"] {
        assert_eq!(self::plain(&format!("{BACKEND}{empty}")), bare, "{empty}");
    }
}

#[test]
fn without_backends_it_is_settings_of_the_process() {
    for text in ["", "[server]", "backends = []", "backends = []\n[server]\nworker_threads = 1"] {
        assert_eq!(parsed(text).unwrap().plain, None, "{text}");
    }
    let server = "[server]\nbind_addr = \"[::1]:0\"\nworker_threads = 1024\nmax_connections = 1\nrequest_timeout = 86400\n\
                  connect_tunnel = true";
    let flags = parsed(server).unwrap().server;
    let shown: Vec<_> = flags.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
    let expected = [
        "bind_address=::1",
        "connect_tunnel=true",
        "http_port=0",
        "max_connections=1",
        "request_timeout=86400s",
        "workers=1024",
    ];
    assert_eq!(shown, expected);
    for table in ["load_balancer", "health_check", "rate_limit", "access", "tls"] {
        let what = format!(
            "[{table}]: without [[backends]] only [server] is allowed; how Ingresses are served, a ProxyPolicy says"
        );
        refused(&format!("[server]\n[{table}]"), &[(2, &what)]);
        refused(&format!("backends = []\n\n[{table}]"), &[(3, &what)]);
    }
}

#[test]
fn backends_are_addresses_and_names() {
    for (text, expected) in [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:65535", "[::1]:65535"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
        ("App.Internal.:80", "app.internal:80"),
        ("localhost:80", "localhost:80"),
        ("x_y:80", "x_y:80"),
    ] {
        let plain = plain(&format!("[[backends]]\nname = \"a\"\naddr = \"{text}\""));
        assert_eq!(plain.backends[0].place.to_string(), expected);
        let is_name = matches!(plain.backends[0].place, Place::Name(..));
        assert_eq!(is_name, !expected.starts_with(['1', '[']), "{text}");
    }
    let allowed =
        "write an address or a host name, and a port, as \"10.0.0.7:3000\", \"[::1]:3000\" or \"app.internal:3000\"";
    for text in [
        "",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:",
        "app",
        "app:0",
        "app:http",
        "app:+1",
        ":80",
        "::1:80",
        "[::1]",
        "300.1.1.1:80",
        "1.2.3:80",
        "a b:80",
        "http://app:80",
        "a..b:80",
        "[x]:80",
        "[fe80::1%2]:80",
    ] {
        let what = format!("[[backends]] addr: {text:?} is not allowed; {allowed}");
        refused(&format!("[[backends]]\nname = \"a\"\naddr = \"{text}\""), &[(3, &what)]);
    }
}

#[test]
fn numbers_are_whole_and_in_their_range() {
    let within = |table: &str, key: &str, least: u64, most: u64| {
        let head = match table {
            // A weight of 0 needs another.
            "[[backends]]" => format!("{}{BACKEND}", BACKEND.replace("\"a\"", "\"b\"").replace(":1", ":2")),
            "[health_check]" => format!("{BACKEND}{table}\npath = \"/\"\n"),
            "[rate_limit]" if key != "requests_per_second" => format!("{BACKEND}{table}\nrequests_per_second = 1\n"),
            "[server]" => format!("{table}\n"),
            _ => format!("{BACKEND}{table}\n"),
        };
        let line = head.lines().count() + 1;
        for value in [least, most] {
            assert!(parsed(&format!("{head}{key} = {value}")).is_ok(), "{table} {key} {value}");
        }
        let allowed = format!("write a whole number from {least} to {most}");
        for value in [most.to_string() + "0", format!("{}", most + 1), (least as i64 - 1).to_string(), "-9".to_owned()]
        {
            let what = format!("{table} {key}: {value} is out of range; {allowed}");
            refused(&format!("{head}{key} = {value}"), &[(line, &what)]);
        }
        for (value, shown) in [
            ("\"1\"", "\"1\" is not allowed"),
            ("1.0", "1.0 is not allowed"),
            ("true", "true is not allowed"),
            ("[1]", "a list is not allowed"),
            ("{}", "a table is not allowed"),
            ("2020-01-01", "2020-01-01 is not allowed"),
        ] {
            let what = format!("{table} {key}: {shown}; {allowed}");
            refused(&format!("{head}{key} = {value}"), &[(line, &what)]);
        }
    };
    within("[server]", "worker_threads", 1, 1024);
    within("[server]", "max_connections", 1, 4_294_967_295);
    within("[server]", "request_timeout", 1, 86_400);
    within("[[backends]]", "weight", 0, 1000);
    within("[[backends]]", "max_connections", 1, 1_000_000);
    within("[health_check]", "interval", 1, 86_400);
    within("[health_check]", "timeout", 1, 86_400);
    within("[health_check]", "healthy_threshold", 1, 100);
    within("[health_check]", "unhealthy_threshold", 1, 100);
    within("[rate_limit]", "requests_per_second", 1, 1_000_000);
    within("[rate_limit]", "burst_size", 1, 1_000_000);
    assert_eq!(plain(&format!("{BACKEND}weight = 0x1f")).backends[0].weight, 31);
}

#[test]
fn texts_are_those_that_are_known() {
    let path = "write a path that begins with / and has other characters as %XX";
    let name = "write a name of its own, of up to 253 characters";
    let list = "write a list of networks, as [\"10.0.0.0/8\", \"2001:db8::1\"]";
    let socket = "write an IP address and a port, as \"0.0.0.0:8080\" or \"[::]:8080\"";
    let kinds = "write \"round_robin\", \"least_connections\" or \"ip_hash\"";
    for (head, key, value, shown, allowed) in [
        ("[server]", "bind_addr", "\"localhost:80\"", "\"localhost:80\"", socket),
        ("[server]", "bind_addr", "\"0.0.0.0\"", "\"0.0.0.0\"", socket),
        ("[server]", "bind_addr", "8080", "8080", socket),
        ("[server]", "bind_addr", "\"[fe80::1%2]:80\"", "\"[fe80::1%2]:80\"", socket),
        ("[server]", "connect_tunnel", "\"true\"", "\"true\"", "write true or false"),
        ("[server]", "connect_tunnel", "1", "1", "write true or false"),
        ("[load_balancer]", "type", "\"random\"", "\"random\"", kinds),
        ("[load_balancer]", "type", "\"RoundRobin\"", "\"RoundRobin\"", kinds),
        ("[health_check]", "path", "\"health\"", "\"health\"", path),
        ("[health_check]", "path", "\"/a b\"", "\"/a b\"", path),
        ("[access]", "allow", "[\"10.0.0.0/33\"]", "\"10.0.0.0/33\"", list),
        ("[access]", "deny", "[7]", "7", list),
        ("[access]", "deny", "\"10.0.0.1\"", "\"10.0.0.1\"", list),
    ] {
        let what = format!("{head} {key}: {shown} is not allowed; {allowed}");
        let line = if head == "[server]" { 2 } else { 5 };
        let before = if head == "[server]" { "" } else { BACKEND };
        refused(&format!("{before}{head}\n{key} = {value}"), &[(line, &what)]);
    }
    for text in [String::new(), "x".repeat(254), "a\u{7}".to_owned()] {
        let text = text.replace('\u{7}', "\\u0007");
        assert!(
            parsed(&format!("[[backends]]\nname = \"{text}\"\naddr = \"a:1\""))
                .is_err_and(|wrong| wrong[0].1.ends_with(name))
        );
    }
    assert_eq!(plain(&format!("[[backends]]\nname = \"{}\"\naddr = \"a:1\"", "x".repeat(253))).backends.len(), 1);
    let kinds = [("least_connections", Algorithm::LeastConnections), ("ip_hash", Algorithm::IpHash)];
    for (kind, algorithm) in kinds {
        assert_eq!(plain(&format!("{BACKEND}[load_balancer]\ntype = \"{kind}\"")).algorithm, algorithm);
    }
}

/// What checks cannot ask for would make every check fail. The rule is that of a ProxyPolicy.
#[test]
fn a_path_of_checks_is_one_that_a_request_line_can_hold() {
    let read = |path: &str| parsed(&format!("{BACKEND}[health_check]\npath = '{path}'"));
    for path in ["/", "/a?b=c&d", "/~!$()*+,;:@[]{}|^%20\\"] {
        assert_eq!(read(path).unwrap().plain.unwrap().health_check.unwrap().path, path);
    }
    for path in ["", "a", "/\"", "/#a", "/<", "/>", "/`", "/ ", "/\u{7f}", "/ä"] {
        let wrong = read(path).expect_err(path);
        assert!(
            wrong[0].1.starts_with("[health_check] path: ") || wrong[0].1.starts_with("it is not TOML"),
            "{wrong:?}"
        );
    }
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert!(read(&long(1024)).is_ok() && read(&long(1025)).is_err());
}

#[test]
fn weights_of_0_alone_are_refused() {
    let backend =
        |name: &str, weight: &str| format!("[[backends]]\nname = \"{name}\"\naddr = \"{name}:1\"\n{weight}\n");
    let what = "[[backends]] weight: it is 0 for all of them, so that none gets requests; write a higher one";
    refused(&backend("a", "weight = 0"), &[(1, what)]);
    refused(&format!("\n{}{}", backend("a", "weight = 0"), backend("b", "weight = 0")), &[(2, what)]);
    for other in ["weight = 1", ""] {
        assert!(parsed(&format!("{}{}", backend("a", "weight = 0"), backend("b", other))).is_ok(), "{other}");
    }
    let broken = parsed(&format!("{}{}", backend("a", "weight = 0"), "[[backends]]\nname = \"b\"")).unwrap_err();
    assert_eq!(broken.len(), 1, "of a backend that could not be read nobody knows: {broken:?}");
}

#[test]
fn what_is_missing_or_too_much_is_told_at_its_table() {
    refused(
        "[[backends]]\naddr = \"a:1\"",
        &[(1, "[[backends]] name: it is missing; write a name of its own, of up to 253 characters")],
    );
    refused(
        "\n[[backends]]\nname = \"a\"",
        &[(
            2,
            "[[backends]] addr: it is missing; write an address or a host name, and a port, as \"10.0.0.7:3000\", \"[::1]:3000\" or \"app.internal:3000\"",
        )],
    );
    refused(
        &format!("{BACKEND}[rate_limit]"),
        &[(4, "[rate_limit] requests_per_second: it is missing; write a whole number from 1 to 1000000")],
    );
    refused(
        &format!("{BACKEND}[health_check]"),
        &[(4, "[health_check] path: it is missing; write a path that begins with / and has other characters as %XX")],
    );
    refused(
        &format!("{BACKEND}[health_check]\npath = \"/\"\ninterval = 2\ntimeout = 3"),
        &[(7, "[health_check] timeout: it is longer than interval; write a shorter one")],
    );
    let check = plain(&format!("{BACKEND}[health_check]\npath = \"/\"\ntimeout = 9")).health_check.unwrap();
    assert_eq!(check.interval, Duration::from_secs(9), "the interval is not shorter where it is left out");
    let check = plain(&format!("{BACKEND}[health_check]\npath = \"/\"\ninterval = 1")).health_check.unwrap();
    assert_eq!(check.timeout, Duration::from_secs(1));
}

#[test]
fn two_backends_have_two_names_and_two_places() {
    refused(
        &format!("{BACKEND}[[backends]]\nname = \"a\"\naddr = \"127.0.0.1:1\""),
        &[
            (
                5,
                "[[backends]] name: another backend is called \"a\" too; write a name of its own, of up to 253 characters",
            ),
            (
                6,
                "[[backends]] addr: \"127.0.0.1:1\" is where a is too, which could have a higher weight; write an address or a \
                 host name, and a port, as \"10.0.0.7:3000\", \"[::1]:3000\" or \"app.internal:3000\"",
            ),
        ],
    );
}

#[test]
fn what_is_unknown_is_told_with_what_is_known() {
    let tables = "allowed are [server], [[backends]], [load_balancer], [health_check], [rate_limit], [access], [tls]";
    for (text, line, what) in [
        ("[limits]".to_owned(), 1, format!("limits: there is no such table; {tables}")),
        (format!("{BACKEND}[backend]\n"), 4, format!("backend: there is no such table; {tables}")),
        ("port = 80".to_owned(), 1, format!("port: there is no such table; {tables}")),
        (
            "[server]\n\nworkers = 4".to_owned(),
            3,
            "[server] workers: there is no such key; allowed are bind_addr, connect_tunnel, max_connections, request_timeout, \
             worker_threads"
                .to_owned(),
        ),
        (
            format!("{BACKEND}port = 1"),
            4,
            "[[backends]] port: there is no such key; allowed are addr, max_connections, name, weight".to_owned(),
        ),
        (format!("{BACKEND}[access]\nallowed = []"), 5, "[access] allowed: there is no such key; allowed are allow, deny".to_owned()),
        (
            "[backends]\nname = \"a\"".to_owned(),
            1,
            "[[backends]]: a table is not allowed; write [[backends]] above the keys of each backend".to_owned(),
        ),
        (
            "backends = [1]".to_owned(),
            1,
            "[[backends]]: 1 is not allowed; write [[backends]] above the keys of each backend".to_owned(),
        ),
        ("[[server]]".to_owned(), 1, "[server]: a list is not allowed; write [server], once, and its keys below".to_owned()),
    ] {
        refused(&text, &[(line, &what)]);
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    for text in
        ["[server]\nworker_threads = ", "[server]\nworker_threads = 1\nworker_threads = 2", "\n[server", "\n\u{0}"]
    {
        let wrong = parsed(text).expect_err(text);
        assert!(wrong[0].0 >= 2 && wrong[0].1.starts_with("it is not TOML: "), "{wrong:?}");
    }
}

#[test]
fn a_certificate_is_a_pair_that_can_be_read() {
    let pair = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["a".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((certificate, key), (_, other)) = (pair(), pair());
    let load = |path: &Path| match path.to_str() {
        Some("cert") => Ok(certificate.clone().into_bytes()),
        Some("key") => Ok(key.clone().into_bytes()),
        Some("other") => Ok(other.clone().into_bytes()),
        Some("empty") => Ok(Vec::new()),
        _ => Err(io::Error::other("no such file")),
    };
    let with = |keys: &str| read(&format!("{BACKEND}[tls]\n{keys}"), &load);
    let plain = with("cert_path = \"cert\"\nkey_path = \"key\"").unwrap().plain.unwrap();
    assert_eq!(plain.certificate.unwrap().names, ["a"]);
    let file = "write the path of a PEM file, from the folder of this one";
    for (keys, line, what) in [
        ("cert_path = \"cert\"", 4, format!("[tls] key_path: it is missing; {file}")),
        ("key_path = \"key\"", 4, format!("[tls] cert_path: it is missing; {file}")),
        (&*format!("cert_path = \"cert\"\nkey_path = '''{key}'''"), 6, format!("[tls] key_path: it is PEM itself; {file}")),
        ("key_path = \"key\"\ncert_path = \"x\"", 6, format!("[tls] cert_path: \"x\" cannot be read: no such file; {file}")),
        (
            "cert_path = \"cert\"\nkey_path = \"other\"",
            5,
            "[tls] cert_path: it holds a key in key_path that is not of the first certificate in cert_path; write a pair".into(),
        ),
        ("cert_path = \"empty\"\nkey_path = \"key\"", 5, "[tls] cert_path: it holds no certificate in cert_path; write a pair".into()),
        ("cert_path = \"cert\"\nkey_path = \"empty\"", 5, "[tls] cert_path: it holds no legible PEM key in key_path; write a pair".into()),
    ] {
        let wrong = with(keys).expect_err(keys);
        assert_eq!(wrong, [(line, what)], "{keys}");
    }
}

/// Between the reading that the command line needs and the watch.
#[tokio::test]
async fn what_changes_before_it_is_watched_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, BACKEND).unwrap();
    let Settings { server, plain } = super::load(&path).unwrap();
    std::fs::write(&path, format!("[server]\nworker_threads = 3\n{BACKEND}weight = 7\n")).unwrap();
    let mut file = super::ConfigFile::open(&path, server, plain.unwrap()).unwrap();
    assert_eq!(file.view().plain.backends[0].weight, 1);
    tokio::time::timeout(Duration::from_secs(10), file.changed()).await.unwrap().unwrap();
    assert_eq!(file.view().plain.backends[0].weight, 7);
    assert!(
        file.view().notes[0].reason.starts_with("[server] worker_threads needs a restart"),
        "{:?}",
        file.view().notes
    );
}
