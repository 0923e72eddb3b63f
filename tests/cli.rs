//! The command line as scripts see it: exit codes, and one clear line that names the flag, the value and the way out.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

fn headgate(flags: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headgate")).args(flags.split_whitespace()).output().unwrap()
}

/// What went to stderr, once the exit code is as expected.
fn failure(flags: &str, code: i32) -> String {
    let output = headgate(flags);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{flags}: {message}");
    assert!(output.stdout.is_empty(), "{flags}");
    message
}

fn answer(flags: &str) -> String {
    let output = headgate(flags);
    assert_eq!(output.status.code(), Some(0), "{flags}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn version_is_that_of_the_package() {
    assert_eq!(answer("--version"), format!("headgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_the_commands_and_their_flags() {
    let help = answer("--help");
    assert!(["serve", "echo", "crds"].iter().all(|command| help.contains(command)), "{help}");
    let help = answer("serve --help");
    for text in ["--dir", "--http-port", "HEADGATE_HTTP_PORT", "8080", "Limits:", "--header-timeout", "64Ki"] {
        assert!(help.contains(text), "no {text} in {help}");
    }
}

/// As `-o text` and the document show it.
#[test]
fn the_explanation_in_the_readme_is_the_one_printed() {
    let command = "explain --dir deploy/demo http://limited.localhost/api/x";
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("headgate {command}\n{}```", answer(command))));
    assert_eq!(headgate("explain --dir deploy/demo http://nowhere.localhost/").status.code(), Some(1));
    one_line(&failure("explain --dir deploy/demo ftp://demo.localhost/", 1), &["neither http nor https"]);
}

/// `make crds` rewrites the file.
#[test]
fn the_printed_definition_is_the_one_in_the_repository() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/proxypolicies.yaml");
    let same = answer("crds") == std::fs::read_to_string(file).unwrap();
    assert!(same, "{file} is not what headgate crds prints; `make crds` writes it");
}

#[test]
fn a_bad_flag_is_a_usage_error() {
    for (flags, named) in [
        ("serve --unheard-of", "--unheard-of"),
        ("serve --dir x --drain-timeout soon", "soon"),
        ("serve --dir x --http-port 9 --https-port 9", "--https-port"),
        ("unheard-of", "unheard-of"),
        ("serve", "--dir"),
        ("", "--dir"),
    ] {
        assert!(failure(flags, 2).contains(named), "{flags}");
    }
}

#[test]
fn the_environment_counts_and_a_flag_wins_over_it() {
    let serve = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_headgate"))
            .args(flags)
            .env("HEADGATE_DRAIN_TIMEOUT", "soon")
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(serve(&["serve"]).contains("'soon'"));
    assert!(serve(&["serve", "--drain-timeout", "1s"]).contains("--dir"));
}

/// One line that holds all of these.
#[track_caller]
fn one_line(message: &str, parts: &[&str]) {
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn a_value_that_cannot_be_meant_is_one_line_with_flag_value_and_way_out() {
    for (flags, parts) in [
        ("--http-port abc", ["--http-port", "'abc'", "from 1 to 65535"]),
        ("--https-port 70000", ["--https-port", "'70000'", "from 1 to 65535"]),
        ("--healthz-port=-1", ["--healthz-port", "'-1'", "from 1 to 65535"]),
        ("--workers 0", ["--workers", "'0'", "from 1 to 1024"]),
        ("--max-connections many", ["--max-connections", "'many'", "1 or more"]),
        ("--default-ssl-certificate shop-tls", ["--default-ssl-certificate", "'shop-tls'", "namespace/name"]),
        ("--default-ssl-certificate a/b/c", ["--default-ssl-certificate", "'a/b/c'", "namespace/name"]),
        ("--bind-address localhost", ["--bind-address", "'localhost'", "[::], 0.0.0.0"]),
        ("--drain-timeout 5", ["--drain-timeout", "'5'", "5s"]),
        ("--access-log-format xml", ["--access-log-format", "'xml'", "json, upstreaminfo"]),
        ("--trusted-proxies 10.0.0.0/33", ["--trusted-proxies", "'10.0.0.0/33'", "10.0.0.0/8"]),
        ("--http-prot 80", ["'--http-prot'", "similar argument", "'--http-port'"]),
        ("--http-port 9 --https-port 9", ["--http-port", "--https-port", "give each its own"]),
    ] {
        one_line(&failure(&format!("serve --dir deploy/demo {flags}"), 2), &parts);
    }
    one_line(&failure("echo --port abc", 2), &["--port", "'abc'", "from 1 to 65535"]);
}

#[test]
fn a_value_from_the_environment_is_blamed_on_its_variable() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    let output = command.args(["serve", "--dir=x"]).env("HEADGATE_HTTP_PORT", "tcp://10.0.0.1:80").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    one_line(&message, &["--http-port", "'tcp://10.0.0.1:80'", "HEADGATE_HTTP_PORT"]);
}

#[test]
fn a_port_that_is_taken_is_one_line_with_address_flag_and_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port();
    let serve = "serve --dir deploy/demo --log-level error --bind-address 127.0.0.1";
    for (flags, flag) in [
        (format!("echo --port {port}"), "--port"),
        (format!("{serve} --http-port {port} --https-port 0 --healthz-port 0"), "--http-port"),
        (format!("{serve} --http-port 0 --https-port {port} --healthz-port 0"), "--https-port"),
        (format!("{serve} --http-port 0 --https-port 0 --healthz-port {port}"), "--healthz-port"),
    ] {
        let way_out = format!("choose another with {flag}");
        one_line(&failure(&flags, 1), &[&address.to_string(), "in use", &way_out]);
    }
}

#[test]
fn what_cannot_be_read_or_written_is_one_line_with_flag_path_reason_and_way_out() {
    let missing = "No such file or directory";
    for (flags, parts) in [
        ("--dir deploy/none", ["--dir", "deploy/none", missing, "give a folder or a file"]),
        ("--dir README.md/x", ["--dir", "README.md/x", "Not a directory", "give a folder or a file"]),
        ("--dir /dev/null", ["--dir", "/dev/null", "neither a folder nor a file", "give a folder or a file"]),
        (
            "--dir deploy/demo --access-log deploy/none/log",
            ["--access-log", "deploy/none/log", missing, "give a file in a folder that is there"],
        ),
        (
            "--dir deploy/demo --access-log deploy/demo",
            ["--access-log", "deploy/demo", "Is a directory", "give a file in a folder that is there"],
        ),
    ] {
        one_line(&failure(&format!("serve {flags} --log-level error"), 1), &parts);
    }
}

/// A folder under target/ with this file.
fn folder(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("objects.yaml"), text).unwrap();
    folder
}

fn shop(policy: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: ProxyPolicy\nmetadata: {{name: guard}}\nspec:\n  \
         targetRefs: [{{group: networking.k8s.io, kind: Ingress, name: shop}}]\n  {policy}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: shop}}\nspec:\n  rules:\n  \
         - host: shop.example\n    http:\n      paths:\n      \
         - {{path: /, pathType: Prefix, backend: {{service: {{name: shop, port: {{number: 80}}}}}}}}\n---\n\
         {{apiVersion: v1, kind: Service, metadata: {{name: shop}}, spec: {{ports: [{{name: http, port: 80}}]}}}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: shop-1, labels: {{kubernetes.io/service-name: shop}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints: [{{addresses: [10.0.0.1]}}]\n"
    )
}

/// Exit code and standard output.
fn outcome(flags: &str) -> (i32, String) {
    let output = headgate(flags);
    assert!(output.stderr.is_empty(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

#[test]
fn check_passes_what_is_right() {
    let folder = folder("right", &shop("timeouts: {request: 30s}"));
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert_eq!((code, text.as_str()), (0, "1 Ingresses, nothing wrong\n"));
    let (code, text) = outcome(&format!("check -o json {}", folder.display()));
    let findings = json(&text);
    assert_eq!((code, &findings["objects"]), (0, &serde_json::json!([])));
    let ancestor = &findings["policies"][0]["ancestors"][0];
    assert_eq!(findings["policies"][0]["policy"], "default/guard");
    assert_eq!(ancestor["target"], "Ingress default/shop");
    assert_eq!((&ancestor["accepted"]["status"], &ancestor["programmed"]["status"]), (&true.into(), &true.into()));
}

#[test]
fn check_fails_for_what_is_wrong_and_names_object_field_and_way_out() {
    let folder = folder("wrong", &shop("access: {allow: [nowhere]}"));
    let (code, text) = outcome(&format!("check {}", folder.display()));
    assert_eq!(code, 1, "{text}");
    let line = text.lines().find(|line| line.starts_with("ProxyPolicy default/guard: spec.access.allow[0]: Invalid"));
    assert!(line.is_some_and(|line| line.contains("nowhere") && line.contains("10.0.0.0/8")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("Ingress default/shop: ")), "{text}");
    let (code, text) = outcome(&format!("check -o json {}", folder.display()));
    let ancestor = &json(&text)["policies"][0]["ancestors"][0];
    assert_eq!(code, 1);
    assert_eq!((&ancestor["accepted"]["status"], &ancestor["accepted"]["reason"]), (&false.into(), &"Invalid".into()));
    assert_eq!(ancestor["programmed"]["status"], false);
}

#[test]
fn check_and_routes_of_nothing_that_is_there_are_errors() {
    for flags in ["check deploy/none", "routes --dir deploy/none"] {
        assert!(failure(flags, 1).contains("deploy/none"), "{flags}");
    }
    assert!(failure("check", 2).contains("PATH"));
    assert!(failure("routes", 2).contains("--dir"));
    assert!(failure("check -o xml x", 2).contains("'xml'"));
}

#[test]
fn routes_shows_where_each_goes_or_why_it_does_not() {
    let served = folder("served", &shop("timeouts: {request: 30s}"));
    let (code, text) = outcome(&format!("routes --dir {}", served.display()));
    assert_eq!((code, text.lines().count()), (0, 2), "{text}");
    let (code, text) = outcome(&format!("routes -o json --dir {}", served.display()));
    let routes = json(&text);
    assert_eq!((code, &routes[0]["host"], &routes[0]["path"]), (0, &"shop.example".into(), &"/".into()));
    assert_eq!((&routes[0]["backend"], &routes[0]["endpoints"]), (&"default/shop:80".into(), &1.into()));
    let denied = folder("denied", &shop("access: {allow: [nowhere]}"));
    let (_, text) = outcome(&format!("routes -o json --dir {}", denied.display()));
    assert!(json(&text)[0]["denied"].as_str().unwrap().contains("nowhere"), "{text}");
}

#[test]
fn routes_fails_where_there_is_none() {
    let empty = folder("empty", "");
    assert_eq!(outcome(&format!("routes --dir {}", empty.display())).0, 1);
}

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
    for (line, start) in lines.iter().zip([
        "Backend any: addr: Invalid: 0.0.0.0:80 is not the address of one host",
        "Backend gone: addr: NoEndpoints: nowhere.invalid:80 does not resolve",
        "Backend two: addr: Conflict: 127.0.0.1:3001 is also one",
        "3 problems",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    let (_, text) = outcome(&format!("check -o json {}", file.display()));
    assert_eq!(json(&text)["objects"].as_array().unwrap().len(), 3);
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
