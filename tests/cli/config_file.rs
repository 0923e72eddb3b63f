//! `--config`: what a `config.toml` asks for, and what is wrong with it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use super::{failure, folder, json, one_line, outcome};

/// A `config.toml` with this text.
fn config(name: &str, text: &str) -> PathBuf {
    let file = folder(name, "").join("config.toml");
    std::fs::write(&file, text).unwrap();
    file
}

const BACKENDS: &str = "[[backends]]\nname = \"one\"\naddr = \"127.0.0.1:3001\"\nweight = 9\nmax_connections = 5\n\
                        [rate_limit]\nrequests_per_second = 7\n";

#[test]
fn a_broken_configuration_file_ends_each_command_with_all_that_is_wrong_with_it() {
    let file =
        config("broken-config", "[server]\nworkers = 1\n[[backends]]\nname = \"a\"\naddr = \"b:1\"\nweight = 1001\n");
    let file = file.display();
    let expected = format!(
        "{file}:2: [server] workers: there is no such key; allowed are bind_addr, connect_tunnel, max_connections, \
         request_timeout, worker_threads\n\
         {file}:6: [[backends]] weight: 1001 is out of range; write a whole number from 0 to 1000\n"
    );
    for command in ["serve", "", "routes", "explain http://a/"] {
        assert_eq!(failure(&format!("{command} --config {file}"), 1), format!("error: {expected}"), "{command}");
    }
    let (code, text) = outcome(&format!("check {file}"));
    assert_eq!((code, text.as_str()), (1, format!("{expected}2 problems\n").as_str()));
    assert!(failure("serve --config deploy/none.toml", 1).starts_with("error: deploy/none.toml: it cannot be read: "));
}

#[test]
fn backends_and_a_folder_or_nothing_at_all_are_usage_errors() {
    let plain = config("plain-config", BACKENDS);
    let settings = config("settings-config", "backends = []\n[server]\nworker_threads = 1\n");
    for command in ["serve", "routes", "explain http://a/"] {
        let both = failure(&format!("{command} --dir deploy/demo --config {}", plain.display()), 2);
        one_line(&both, &["--dir deploy/demo", "[[backends]]", "plain-config"]);
        one_line(&failure(&format!("{command} --config {}", settings.display()), 2), &["--dir", "[[backends]]"]);
    }
    let (code, text) = outcome(&format!("routes --dir deploy/demo --config {}", settings.display()));
    assert!(code == 0 && text.contains("demo.localhost"), "{text}");
}

#[test]
fn what_a_configuration_file_asks_for_is_checked_listed_and_explained() {
    let file = config("asked-config", &format!("[server]\nrequest_timeout = 9\nconnect_tunnel = true\n{BACKENDS}"));
    let file = file.display();
    assert_eq!(outcome(&format!("check {file}")), (0, "nothing wrong\n".to_owned()));
    let (code, text) = outcome(&format!("routes --config {file}"));
    assert_eq!(code, 0);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1..], [["*", "/", "Prefix", "backends", "1"]]);
    let (code, text) = outcome(&format!("explain --config {file} http://any.example/x"));
    let expected = "GET http://any.example/x
  listener   http
  client     127.0.0.1
  host       any.example, which the rules of * serve
  path       /x
  rule       / (Prefix)
  methods    all but TRACE
  rate       7 per 1s, burst 7, by client, else 429: [rate_limit] of the configuration file
  body       of any size
  timeouts   idle 60s, send 60s, whole request 9s
  backend    backends over Http1, to connect within 1s
  endpoint   one at 127.0.0.1:3001 usable, weight 9, 0 of 5 in flight
  answer     the backend's, if limits let the request pass
";
    assert_eq!((code, text.as_str()), (0, expected));
    let (_, text) = outcome(&format!("explain --request-timeout 5s --config {file} http://any.example/x"));
    assert!(text.contains("whole request 5s"), "{text}");
}

#[test]
fn check_tells_of_backends_that_would_get_no_requests() {
    let backend = |name: &str, address: &str| format!("[[backends]]\nname = \"{name}\"\naddr = \"{address}\"\n");
    let file = config(
        "lost-backends",
        &[
            backend("any", "0.0.0.0:80"),
            backend("gone", "nowhere.invalid:80"),
            backend("one", "127.0.0.1:3001"),
            backend("two", "localhost:3001"),
        ]
        .concat(),
    );
    let (code, text) = outcome(&format!("check {}", file.display()));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines.len()), (1, 4), "{text}");
    for (line, what) in lines.iter().zip([
        "Backend any: addr: Invalid: 0.0.0.0:80 is not the address of one host",
        "Backend gone: addr: NoEndpoints: nowhere.invalid:80 does not resolve",
        "Backend two: addr: Conflict: 127.0.0.1:3001 is also one",
    ]) {
        assert!(line.starts_with(&format!("{}: {what}", file.display())), "{line}");
    }
    assert_eq!(lines[3], "3 problems");
}

#[test]
fn each_finding_of_several_files_has_its_file() {
    let broken = |name: &str| config(name, "[[backends]]\nname = \"any\"\naddr = \"0.0.0.0:80\"\n");
    let files = ["one-of-two", "other-of-two"].map(|name| broken(name).display().to_string());
    let (code, text) = outcome(&format!("check {}", files.join(" ")));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines.len()), (1, 3), "{text}");
    let (_, told) = outcome(&format!("check -o json {}", files.join(" ")));
    for (at, file) in files.iter().enumerate() {
        assert!(lines[at].starts_with(&format!("{file}: Backend any: addr: Invalid: 0.0.0.0:80 is not")), "{text}");
        let finding = &json(&told)["objects"][at];
        assert_eq!((&finding["file"], &finding["object"]), (&file.as_str().into(), &"Backend any".into()));
    }
}

#[test]
fn a_configuration_file_may_be_a_pipe_and_what_has_no_end_is_not_read_to_it() {
    let file = config("piped-config", BACKENDS);
    let piped = |command: &str| {
        let line = format!("cat {} | {} {command}", file.display(), env!("CARGO_BIN_EXE_headgate"));
        Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    let routes = piped("routes --config /dev/stdin");
    assert!(routes.status.success(), "{routes:?}");
    assert!(
        failure("routes --config /dev/zero", 1).starts_with("error: /dev/zero: it cannot be read: it has more than")
    );
    let tls = "[tls]\ncert_path = \"/dev/zero\"\nkey_path = \"/dev/zero\"\n";
    let file = config("endless-config", &format!("{BACKENDS}{tls}"));
    let (code, text) = outcome(&format!("check {}", file.display()));
    assert_eq!(code, 1);
    for key in ["cert_path", "key_path"] {
        let what = format!("[tls] {key}: \"/dev/zero\" cannot be read: it is not a regular file");
        assert!(text.contains(&what), "{text}");
    }
}

#[test]
fn a_plain_proxy_has_no_answer_on_a_port_that_it_does_not_have() {
    let file = config("one-port", BACKENDS);
    let told = format!("explain --config {} https://any.example/", file.display());
    let (code, text) = outcome(&told);
    let expected = "GET https://any.example/\n  listener   none\n  client     127.0.0.1\n  \
                    answer     none, since the one port speaks http\n";
    assert_eq!((code, text.as_str()), (1, expected));
    assert_eq!(json(&outcome(&format!("{told} -o json")).1)["listener"], serde_json::Value::Null);
}

#[test]
fn a_port_of_the_file_that_cannot_be_had_is_blamed_on_its_key_unless_a_flag_is_given() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = config("taken-port", &format!("[server]\nbind_addr = \"127.0.0.1:{port}\"\n{BACKENDS}"));
    let serve = format!("serve --log-level error --healthz-port 0 --config {}", file.display());
    one_line(&failure(&serve, 1), &["in use", "choose another with [server] bind_addr"]);
    one_line(&failure(&format!("{serve} --http-port {port}"), 1), &["choose another with --http-port"]);
    let both = failure(&format!("{serve} --healthz-port {port}"), 2);
    one_line(&both, &["[server] bind_addr and --healthz-port are both"]);
    std::fs::write(&file, format!("[server]\nbind_addr = \"192.0.2.77:1\"\n{BACKENDS}")).unwrap();
    one_line(&failure(&serve, 1), &["192.0.2.77", "change [server] bind_addr"]);
}
