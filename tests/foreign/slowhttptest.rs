//! slowhttptest: many connections, each of them slow, and whether others are served meanwhile.

use super::tools::run;
use crate::support::objects::{config_map, site};
use crate::support::{Backend, Headgate};

/// An answer that no buffer of the system holds.
const LONG: usize = 16 << 20;

/// Lets the program open so many connections in this way, for so many seconds at most. Others are served all the time.
#[track_caller]
fn held(mode: &[&str], connections: &str, seconds: &str, flags: &[(&str, &str)]) -> (Headgate, String) {
    let backend = Backend::answering(&"x".repeat(LONG));
    let mut objects = site("", &[backend.address]);
    objects.push(config_map("settings", serde_json::json!({ "proxy-body-size": "0" })));
    let headgate = Headgate::with(&objects).flag("--configmap", "default/settings");
    let headgate = flags.iter().fold(headgate, |headgate, (flag, value)| headgate.flag(flag, value)).start();
    let url = format!("http://{}/", headgate.http);
    let common = ["-c", connections, "-r", connections, "-l", seconds, "-p", "5", "-v", "1", "-u", &url];
    let told = run("slowhttptest", &[mode, &common].concat()).text();
    assert!(told.contains("service available") && !told.contains("NO"), "{told}");
    (headgate, told)
}

#[test]
fn heads_that_drip_are_cut() {
    let (_, told) = held(&["-H", "-i", "1"], "500", "40", &[("--header-timeout", "7s")]);
    assert!(told.contains("No open connections left"), "{told}");
}

#[test]
fn bodies_that_drip_are_cut() {
    let (_, told) = held(&["-B", "-i", "1", "-s", "100000", "-x", "10"], "500", "40", &[]);
    assert!(told.contains("No open connections left"), "{told}");
}

/// The program does not see that it was cut, for it does not read so far.
#[test]
fn answers_that_nobody_reads_are_cut() {
    let slow = ["-X", "-i", "10", "-n", "10", "-w", "1", "-y", "1", "-z", "1", "-k", "1"];
    let (headgate, told) = held(&slow, "100", "25", &[("--write-timeout", "5s")]);
    let log = headgate.log();
    let cut = log.iter().filter(|line| line["flag"] == "DC" && line["duration_ms"].as_f64().unwrap() < 20_000.0);
    assert!(cut.count() >= 98, "{told}");
}
