//! A network of a test's own: a namespace with loopback and one more address on it, so that fixed ports are free and a
//! peer can be other than loopback; or an `/etc/hosts` of a test's own. Needs `unshare` (util-linux), `ip` (iproute2), and
//! to be root or allowed to make user namespaces.

use std::path::Path;
use std::process::{Command, Stdio};

/// An address that the namespace has besides loopback; kept for documents (RFC 5737), so nobody else has it.
pub const NOT_LOOPBACK: &str = "192.0.2.1";

/// Starts the proxy that the arguments say, and waits until it is ready.
const START: &str = r#"
    "$@" >/dev/null 2>&1 &
    proxy=$!
    trap 'kill -9 $proxy' EXIT
    until curl -sf -m 5 -o /dev/null http://127.0.0.1:10254/readyz; do
        kill -0 $proxy || exit 1
        sleep 0.05
    done
"#;

/// What the script `questions` writes where `headgate serve` with these flags is ready. `setup` is run before it.
#[track_caller]
pub fn ask(setup: &str, flags: &[&str], questions: &str) -> String {
    let mut command = command("sh");
    command.args(["-c", &format!("{setup}\n{START}\n{questions}"), "sh", env!("CARGO_BIN_EXE_headgate"), "serve"]);
    let output = command.args(flags).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// A command that runs `program` there; arguments can be added. It becomes that program, so that signals reach it.
/// Fails the test, saying why, where the machine does not allow it.
#[track_caller]
pub fn command(program: &str) -> Command {
    let network = format!("ip link set lo up && ip address add {NOT_LOOPBACK}/32 dev lo");
    apart("--net", &network, program)
}

/// The same where `hosts` is `/etc/hosts`, in the network that all share.
#[track_caller]
pub fn with_hosts(hosts: &Path, program: &str) -> Command {
    // A name server would be asked for what is not there.
    let mounts = "mount --bind /dev/null /etc/resolv.conf && mount --bind";
    apart("--mount", &format!("{mounts} '{}' /etc/hosts", hosts.display()), program)
}

#[track_caller]
fn apart(namespace: &str, setup: &str, program: &str) -> Command {
    let trial = prefix(namespace, setup).arg("true").output();
    let trial = trial.unwrap_or_else(|error| panic!("unshare of util-linux is needed: {error}"));
    assert!(
        trial.status.success(),
        "this test makes a namespace, as root or where user namespaces are allowed, with ip of iproute2: {}",
        String::from_utf8_lossy(&trial.stderr)
    );
    let mut command = prefix(namespace, setup);
    command.arg(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADGATE_")) {
        command.env_remove(name);
    }
    command
}

/// All that stands before the program and its arguments.
fn prefix(namespace: &str, setup: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([namespace, "sh", "-c", &format!("{setup} && exec \"$@\""), "sh"]);
    command
}
