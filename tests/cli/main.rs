//! The command line as scripts see it: exit codes, and one clear line that names the flag, the value and the way out.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::path::PathBuf;
use std::process::{Command, Output};

mod config_file;
mod objects;
mod printed;
mod usage;

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

/// Exit code and standard output.
fn outcome(flags: &str) -> (i32, String) {
    let output = headgate(flags);
    assert!(output.stderr.is_empty(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// One line that holds all of these.
#[track_caller]
fn one_line(message: &str, parts: &[&str]) {
    assert_eq!(message.lines().count(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

/// A folder under target/ with this file.
fn folder(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("objects.yaml"), text).unwrap();
    folder
}
