//! `deploy/demo/run.sh`, the script behind `make run`: whatever ends it, nothing it has started stays. In a network
//! namespace, since the demo's ports are fixed.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use support::{namespace, wait::until};

/// Who has this in the environment was started by the demo of that name.
const MARK: &str = "DEMO_UNDER_TEST";

/// The script, running.
struct Demo {
    script: Child,
    name: String,
}

impl Demo {
    fn start(variables: &[(&str, &str)]) -> Demo {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{}-{count}", std::process::id());
        // With signals as a terminal has them: what runs in the background of a script ignores some.
        let mut command = namespace::command("env");
        command
            .args(["--default-signal", "deploy/demo/run.sh"])
            .arg(env!("CARGO_BIN_EXE_headgate"))
            .env(MARK, &name)
            .envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // As a terminal has it: one group for all that it runs.
        Demo { script: command.process_group(0).spawn().unwrap(), name }
    }

    /// Waits until the script says that all runs.
    fn ready(mut self) -> Demo {
        let said = BufReader::new(self.script.stdout.as_mut().unwrap());
        let ready = said.lines().map_while(Result::ok).any(|line| line.starts_with("Ready"));
        assert!(ready, "{}", self.complaints());
        assert_eq!(self.processes("echo").len(), 2);
        assert_eq!(self.processes("serve").len(), 1);
        self
    }

    /// The processes of this demo that run this subcommand.
    fn processes(&self, command: &str) -> Vec<Pid> {
        let marked = format!("{MARK}={}", self.name);
        let has = |pid: &str, file: &str, word: &str| {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
        };
        let pids = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let ours = pids.filter(|pid| has(pid, "environ", &marked) && has(pid, "cmdline", command));
        ours.map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }

    /// The end of the script, at which nothing of it runs any more.
    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let status = until("the end of the script", || self.script.try_wait().unwrap());
        for command in ["echo", "serve"] {
            assert_eq!(self.processes(command), [], "{command} is left running");
        }
        status
    }

    /// All of stderr, once nobody writes to it any more.
    fn complaints(&mut self) -> String {
        let mut text = String::new();
        self.script.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Fails where it has ended, as it should.
        let _ = kill_process_group(Pid::from_child(&self.script), Signal::KILL);
        let _ = self.script.wait();
    }
}

#[test]
fn a_signal_to_the_script_alone_ends_all() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        let mut demo = Demo::start(&[]).ready();
        kill_process(Pid::from_child(&demo.script), signal).unwrap();
        assert_eq!(demo.end().code(), Some(0), "{signal:?}");
        // As it would say on a second signal, which cuts what is in flight.
        assert!(!demo.complaints().contains("asked again"), "{signal:?}");
    }
}

#[test]
fn a_signal_to_the_whole_terminal_ends_all() {
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut demo = Demo::start(&[]).ready();
        kill_process_group(Pid::from_child(&demo.script), signal).unwrap();
        assert_eq!(demo.end().code(), Some(0), "{signal:?}");
        // As it would say on a second signal, which cuts what is in flight.
        assert!(!demo.complaints().contains("asked again"), "{signal:?}");
    }
}

#[test]
fn a_signal_during_the_start_ends_all() {
    let mut demo = Demo::start(&[]);
    until("the first process", || demo.processes("echo").pop());
    kill_process(Pid::from_child(&demo.script), Signal::HUP).unwrap();
    assert_eq!(demo.end().code(), Some(0));
}

#[test]
fn a_proxy_that_cannot_start_ends_all_and_says_why() {
    let mut demo = Demo::start(&[("HEADGATE_HTTPS_PORT", "4001")]);
    assert_eq!(demo.end().code(), Some(1));
    let complaints = demo.complaints();
    assert!(complaints.contains("4001") && complaints.contains("--https-port"), "{complaints}");
}

#[test]
fn the_end_of_one_process_is_the_end_of_all() {
    for command in ["serve", "echo"] {
        let mut demo = Demo::start(&[]).ready();
        kill_process(demo.processes(command)[0], Signal::KILL).unwrap();
        assert_eq!(demo.end().code(), Some(1), "{command}");
    }
}
