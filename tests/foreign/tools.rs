//! Runs programs that others wrote, and the Python scripts beside this file, with an end to the waiting.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// More than any of them needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a program that has ended said.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

/// A Python script that serves until this is dropped.
#[derive(Debug)]
pub(super) struct PythonServer {
    pub(super) address: SocketAddr,
    process: Child,
}

/// Runs a program to its end; it must succeed.
#[track_caller]
pub(super) fn run<S: AsRef<str>>(program: &str, arguments: &[S]) -> Run {
    fed(program, arguments, b"")
}

/// As [`run`], with this on its standard input.
#[track_caller]
pub(super) fn fed<S: AsRef<str>>(program: &str, arguments: &[S], input: &[u8]) -> Run {
    let run = to_the_end(Command::new(program).args(arguments.iter().map(AsRef::as_ref)), input);
    assert!(run.status.success(), "{program}: {}\n{}{}", run.status, run.text(), run.stderr);
    run
}

/// Runs a script to its end; it must succeed.
#[track_caller]
pub(super) fn python<S: AsRef<str>>(script: &str, arguments: &[S]) -> Run {
    let run = to_the_end(interpreter(script).args(arguments.iter().map(AsRef::as_ref)), b"");
    assert!(run.status.success(), "{script}: {}\n{}{}", run.status, run.text(), run.stderr);
    run
}

impl Run {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl PythonServer {
    /// Starts a script that prints its port once it listens, and that ends with its standard input.
    #[track_caller]
    pub(super) fn start(script: &str) -> Self {
        let mut process = spawn(interpreter(script).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.trim().parse::<u16>().unwrap_or_else(|_| panic!("{script} printed {line:?} instead of its port"));
        PythonServer { address: SocketAddr::from(([127, 0, 0, 1], port)), process }
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
fn to_the_end(command: &mut Command, input: &[u8]) -> Run {
    let mut process = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let pid = Pid::from_child(&process);
    // A program that wants no input may be gone before it is written.
    let _ = process.stdin.take().unwrap().write_all(input);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(process.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = kill_process(pid, Signal::KILL);
        panic!("{command:?} did not end within {PATIENCE:?}; {:?}", ended.recv())
    });
    let output = output.unwrap();
    Run { status: output.status, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[track_caller]
fn spawn(command: &mut Command) -> Child {
    let program = command.get_program().display().to_string();
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; run tests/tools.sh, which installs it"))
}

#[track_caller]
fn interpreter(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = root.join("target/test-tools/bin/python");
    assert!(python.exists(), "{} is missing; run tests/tools.sh, which makes it", python.display());
    let mut command = Command::new(python);
    // No __pycache__ in the source.
    command.arg("-B").arg(root.join("tests/foreign").join(script));
    command
}
