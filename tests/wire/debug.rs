//! Who is shown `/debug/`: peers on loopback, unless `--debug-remote`. In a network namespace, which has an address that
//! is not loopback on any machine.

use crate::support::folder::Folder;
use crate::support::namespace::{self, NOT_LOOPBACK};

/// Asks the admin port; a line of the answer is `peer path status`.
const ASK_FROM_EACH_ADDRESS: &str = r#"
    for peer in 127.0.0.1 NOT_LOOPBACK; do
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
    let dir = format!("--dir={}", folder.objects().display());
    let questions = ASK_FROM_EACH_ADDRESS.replace("NOT_LOOPBACK", NOT_LOOPBACK);
    let told = namespace::ask("", &[flag, &dir], &questions);
    let line = |line: &str| {
        let [peer, path, status] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (peer.to_owned(), path.to_owned(), status.parse().unwrap())
    };
    let answers: Vec<_> = told.lines().map(line).collect();
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
