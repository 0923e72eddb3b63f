//! One `headgate serve` in a process of its own, on ports of its own, serving a folder of its own.
//!
//! Dropping a [`Headgate`] kills it; if the test is failing, what it wrote to stderr is shown.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

use super::folder::Folder;
use super::metrics::Metrics;
use super::{Backend, Objects, client, folder, namespace, site, wait};

const BINARY: &str = env!("CARGO_BIN_EXE_headgate");

/// What to start.
#[derive(Debug)]
pub struct Builder {
    folder: Folder,
    /// `--dir`, or `--config` of a plain proxy.
    served: String,
    /// Where the ports are.
    ports: &'static [&'static str],
    flags: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Becomes the binary.
    command: Command,
}

/// A running proxy.
#[derive(Debug)]
pub struct Headgate {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    pub folder: Folder,
    process: Process,
}

/// A started process and what it says on stderr.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stderr: Arc<Mutex<Vec<String>>>,
    /// Fills `stderr` until the process ends.
    reader: Option<JoinHandle<()>>,
}

impl Headgate {
    /// Serves these objects with default flags.
    #[track_caller]
    pub fn serve(objects: &[Value]) -> Self {
        Self::with(objects).start()
    }

    /// Serves `a.example` from this backend.
    #[track_caller]
    pub fn before(backend: &Backend) -> Self {
        Self::serve(&site("a.example", &[backend.address]))
    }

    /// Serves these objects with flags to be added.
    pub fn with(objects: &[Value]) -> Builder {
        let folder = Folder::new();
        folder.write("objects.yaml", objects);
        Builder::new(folder, |folder| format!("--dir={}", folder.objects().display()), DIR_PORTS)
    }

    /// A plain proxy with this `config.toml`, which says where its port is.
    pub fn plain(config: &str) -> Builder {
        let folder = Folder::new();
        folder.write_text("config.toml", config);
        Self::plain_in(folder)
    }

    /// The same with a folder that has the file.
    pub fn plain_in(folder: Folder) -> Builder {
        Builder::new(folder, |folder| format!("--config={}", folder.objects().join("config.toml").display()), &[])
    }

    /// Replaces what is served and waits until it is live.
    #[track_caller]
    pub fn change(&self, objects: &Objects) {
        let before = self.generation();
        self.folder.write("objects.yaml", objects);
        wait::until("the next generation", || (self.generation() > before).then_some(()));
    }

    /// The number of the tables now in use.
    pub fn generation(&self) -> u64 {
        self.metrics().value("headgate_generation", &[]) as u64
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&client::get(self.admin, "admin", "/metrics").text())
    }

    /// Waits until a counter has come to `least`, for an answer may be here before it is counted; gives its value.
    #[track_caller]
    pub fn counted(&self, name: &str, labels: &[(&str, &str)], least: f64) -> f64 {
        wait::until(&format!("{name} {labels:?} of {least}"), || {
            Some(self.metrics().value(name, labels)).filter(|value| *value >= least)
        })
    }

    /// Waits for the access log line that `wanted` accepts.
    #[track_caller]
    pub fn log_line(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || self.log().into_iter().find(&wanted))
    }

    /// The access log line of the one request for this path.
    #[track_caller]
    pub fn log_of(&self, path: &str) -> Value {
        self.log_line(&format!("the log line of {path}"), |line| line["path"] == path)
    }

    /// The access log so far. A line that is not JSON is a failure.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let text = self.log_text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    }

    pub fn log_text(&self) -> String {
        folder::read(&self.folder.beside("access.log"))
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM, then the exit status.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit_status()
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn exit_status(&mut self) -> ExitStatus {
        self.process.exit_status()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_none()
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Resident memory in bytes, without the pages of the binary itself.
    pub fn resident(&self) -> u64 {
        self.process.status_kib("RssAnon:") * 1024
    }

    /// CPU time that the process has used, in clock ticks (proc(5), utime and stime).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = folder::read(&self.proc("stat"));
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// From now on it may have this many files open, or `None`: as many as the system lets it.
    pub fn limit_descriptors(&self, most: Option<u64>) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: most.or(maximum), maximum };
        prlimit(Some(Pid::from_child(&self.process.child)), Resource::Nofile, limit).unwrap();
    }

    /// A path under the process's `/proc`.
    pub fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.process.child.id().to_string()).join(name)
    }
}

const DIR_PORTS: &[&str] = &["--http-port=0", "--https-port=0", "--bind-address=127.0.0.1"];

impl Builder {
    fn new(folder: Folder, served: impl Fn(&Folder) -> String, ports: &'static [&'static str]) -> Self {
        let (flags, environment) = (Vec::new(), Vec::new());
        Builder { served: served(&folder), folder, ports, flags, environment, command: Command::new(BINARY) }
    }

    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.push(format!("{name}={value}"));
        self
    }

    /// A flag without a value.
    pub fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.to_owned());
        self
    }

    /// Serves one file of the folder in place of the folder.
    pub fn only(mut self, name: &str) -> Self {
        self.served = format!("--dir={}", self.folder.objects().join(name).display());
        self
    }

    /// Another file in the served folder.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.folder.write_text(name, text);
        self
    }

    /// Settings of the process, in a file beside the folder.
    pub fn beside(self, name: &str, text: &str) -> Self {
        let path = self.folder.beside(name);
        std::fs::write(&path, text).unwrap();
        self.flag("--config", path.to_str().unwrap())
    }

    pub fn environment(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Limits the files that it may open.
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.command = limited(limit);
        self
    }

    /// With this line as its `/etc/hosts`, which [`Folder::write_hosts`] changes.
    #[track_caller]
    pub fn hosts(mut self, line: &str) -> Self {
        self.folder.write_hosts(line);
        self.command = namespace::with_hosts(&self.folder.hosts(), BINARY);
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start(mut self) -> Headgate {
        let log = self.folder.beside("access.log");
        let mut arguments = vec!["serve".to_owned(), self.served, "--healthz-port=0".to_owned()];
        arguments.extend(self.ports.iter().map(|flag| (*flag).to_owned()));
        arguments.push(format!("--access-log={}", log.display()));
        arguments.extend(self.flags);
        self.command.envs(self.environment);
        let mut process = Process::run(self.command, &arguments);
        let line = process.wait_for_line("listening");
        let address = |name: &str| bound(&line, name);
        let (http, https) = (address("http"), address("https"));
        // A plain proxy has one port.
        let (http, https) = (http.or(https).unwrap(), https.or(http).unwrap());
        let admin = address("admin").unwrap();
        wait::until("/readyz", || (client::get(admin, "admin", "/readyz").status == 200).then_some(()));
        Headgate { http, https, admin, folder: self.folder, process }
    }
}

impl Process {
    /// Starts the binary with these arguments and an environment without `HEADGATE_*`.
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Self {
        Self::start_in(&[], arguments)
    }

    /// The same, with these variables in its environment.
    pub fn start_in<S: AsRef<std::ffi::OsStr>>(environment: &[(&str, &str)], arguments: &[S]) -> Self {
        let mut command = Command::new(BINARY);
        command.envs(environment.iter().copied());
        Self::run(command, arguments)
    }

    /// The same, with this many files that it may open.
    pub fn start_with<S: AsRef<std::ffi::OsStr>>(descriptors: u32, arguments: &[S]) -> Self {
        Self::run(limited(descriptors), arguments)
    }

    fn run<S: AsRef<std::ffi::OsStr>>(mut command: Command, arguments: &[S]) -> Self {
        // Nobody reads stdout: a pipe that fills up must not stop it.
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let given: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("HEADGATE_") && !given.contains(name);
        for name in std::env::vars_os().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        Self::watch(command.spawn().unwrap())
    }

    fn watch(mut child: Child) -> Self {
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&stderr);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Process { child, stderr, reader: Some(reader) }
    }

    /// Waits for a line of stderr with this text; fails at once if the process ends before.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) -> String {
        wait::until(&format!("a line with {text:?} on stderr"), || {
            let ended = self.child.try_wait().unwrap();
            let line = self.stderr.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            assert!(line.is_some() || ended.is_none(), "it ended with {ended:?}: {}", self.stderr());
            line
        })
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().join("\n")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    pub fn exit_status(&mut self) -> ExitStatus {
        wait::until("the end of the process", || self.child.try_wait().unwrap())
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = folder::read(Path::new(&format!("/proc/{}/status", self.child.id())));
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.reader.take().map(JoinHandle::join);
        if std::thread::panicking() {
            eprintln!("--- stderr of headgate\n{}\n---", self.stderr());
        } else {
            // Whatever a test is about: no request may make the process panic.
            assert!(!self.stderr().contains("panicked at"), "{}", self.stderr());
        }
    }
}

/// The binary, with this many files that it may open, soft and hard.
fn limited(descriptors: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$@\""), "sh", BINARY]);
    command
}

/// The address called `name` in the line that tells the bound addresses, as text (`name=address`) or JSON.
#[track_caller]
pub fn bound(line: &str, name: &str) -> Option<SocketAddr> {
    let starts = [format!(" {name}="), format!("\"{name}\":\"")];
    let rest = starts.iter().find_map(|start| line.split_once(start.as_str()))?.1;
    let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
    Some(rest[..end].parse::<SocketAddr>().unwrap_or_else(|e| panic!("{e}: {name} in {line}")))
}
