//! Flags, and what they name: a value that cannot be meant, a port that is taken, a file that is not there.

use std::net::TcpListener;
use std::process::Command;

use super::{failure, one_line};

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
fn a_question_that_is_about_no_request_is_a_usage_error() {
    for (question, part) in [
        ("ftp://demo.localhost/", "neither http nor https"),
        ("http:///x", "needs a host"),
        ("http://demo.localhost/ --header bad", "'name: value'"),
        ("http://demo.localhost/x --method CONNECT", "not for a path"),
        ("http://demo.localhost/ --client nobody", "'nobody'"),
    ] {
        one_line(&failure(&format!("explain --dir deploy/demo {question}"), 2), &[part]);
    }
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
