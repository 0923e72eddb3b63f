//! Who is shown `/debug/`: peers on loopback, unless `--debug-remote`. In a network namespace, which has an address that
//! is not loopback on any machine.

use std::process::Stdio;

use crate::support::folder::Folder;
use crate::support::namespace::{self, NOT_LOOPBACK};

/// Starts the proxy that its arguments say and asks its admin port; a line of the answer is `peer path status`.
const ASK_FROM_EACH_ADDRESS: &str = r#"
    "$@" >/dev/null 2>&1 &
    proxy=$!
    trap 'kill -9 $proxy' EXIT
    until curl -sf -m 5 -o /dev/null http://127.0.0.1:10254/readyz; do
        kill -0 $proxy || exit 1
        sleep 0.05
    done
    for peer in 127.0.0.1 $ADDRESS; do
        for path in / /healthz /livez /readyz /metrics /debug /debug/ /debug/routes /debug/backends /debug/problems \
            /debug/snapshot '/debug/explain?url=a.x' /debug/nothing; do
            status=$(curl -s -m 5 -o /dev/null -w '%{http_code}' --interface $peer http://$peer:10254$path)
            echo $peer $path $status
        done
    done
"#;

/// `(peer, path, status)` of each question to a proxy with this flag.
#[track_caller]
fn answers(flag: &str) -> Vec<(String, String, u16)> {
    let folder = Folder::new();
    let mut command = namespace::command("sh");
    command.args(["-c", ASK_FROM_EACH_ADDRESS, "sh", env!("CARGO_BIN_EXE_headgate"), "serve", flag]);
    command.arg(format!("--dir={}", folder.objects().display())).env("ADDRESS", NOT_LOOPBACK);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let [peer, path, status] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (peer.to_owned(), path.to_owned(), status.parse().unwrap())
    };
    let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(line).collect();
    assert_eq!(answers.len(), 26);
    answers
}

fn of_a_debug_path(path: &str) -> u16 {
    if path == "/debug/nothing" { 404 } else { 200 }
}

#[test]
fn debug_is_shown_to_loopback_peers_only() {
    for (peer, path, status) in answers("--debug-remote=false") {
        let refused = peer == NOT_LOOPBACK && path.starts_with("/debug");
        assert_eq!(status, if refused { 403 } else { of_a_debug_path(&path) }, "{path} from {peer}");
    }
}

#[test]
fn debug_remote_shows_it_to_all() {
    for (peer, path, status) in answers("--debug-remote") {
        assert_eq!(status, of_a_debug_path(&path), "{path} from {peer}");
    }
}
