//! The command line as scripts see it: exit codes, and one clear line that names the flag, the value and the way out.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::net::TcpListener;
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
    assert!(help.contains("serve") && help.contains("echo"), "{help}");
    let help = answer("serve --help");
    for text in ["--dir", "--http-port", "HEADGATE_HTTP_PORT", "8080", "Limits:", "--header-timeout", "64Ki"] {
        assert!(help.contains(text), "no {text} in {help}");
    }
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

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port();
    let serve = "serve --dir deploy/demo --log-level error --bind-address 127.0.0.1";
    for (flags, named) in [
        (format!("echo --port {port}"), "in use"),
        (format!("{serve} --http-port {port} --https-port 0 --healthz-port 0"), "--http-port"),
        (format!("{serve} --http-port 0 --https-port {port} --healthz-port 0"), "--https-port"),
        (format!("{serve} --http-port 0 --https-port 0 --healthz-port {port}"), "--healthz-port"),
    ] {
        let message = failure(&flags, 1);
        assert!(message.contains(&address.to_string()) && message.contains(named), "{flags}: {message}");
        assert_eq!(message.lines().count(), 1, "{flags}: {message}");
    }
}

#[test]
fn what_cannot_be_read_or_written_is_named() {
    for (flags, named) in [
        ("--dir deploy/no-such-folder", "deploy/no-such-folder"),
        ("--dir deploy/demo --access-log deploy/no-such-folder/log", "deploy/no-such-folder/log"),
    ] {
        let message = failure(&format!("serve {flags} --log-level error"), 1);
        assert!(message.contains(named) && message.contains("No such file"), "{flags}: {message}");
        assert_eq!(message.lines().count(), 1, "{flags}: {message}");
    }
}
