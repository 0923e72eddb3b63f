//! `[health_check]` of a `config.toml`: each key's effect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::plain::{before, config};
use crate::support::checks::{Moody, shown, until_unhealthy};
use crate::support::wait::until;
use crate::support::{Backend, get};

#[test]
fn a_backend_that_fails_its_checks_is_out_until_it_passes_them_and_is_asked_by_its_address() {
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = sick.clone();
    let checked = Backend::scripted(move |exchange| {
        let sick = exchange.seen.target() == "/_health" && is_sick.load(Ordering::Relaxed);
        exchange.reply(if sick { "503 Service Unavailable" } else { "200 OK" }, "checked")
    });
    let other = Backend::answering("other");
    let check = "[health_check]\npath = \"/_health\"\ninterval = 1\nhealthy_threshold = 1\nunhealthy_threshold = 2";
    let proxy = before(&[(checked.address, "weight = 1000"), (other.address, "")], check).start();
    let first = until("a check", || checked.seen().into_iter().find(|seen| seen.target() == "/_health"));
    assert_eq!(first.header("host"), Some(checked.address.to_string()));
    assert_eq!(get(proxy.http, "a", "/").text(), "checked");
    let share =
        |wanted: &str| until(wanted, || (0..5).all(|_| get(proxy.http, "a", "/").text() == wanted).then_some(()));
    sick.store(true, Ordering::Relaxed);
    share("other");
    sick.store(false, Ordering::Relaxed);
    share("checked");
    let stderr = proxy.stderr();
    let told = |text: &str| stderr.lines().any(|line| line.contains(text) && line.contains("backend=b0"));
    assert!(told("unhealthy: it failed its checks") && told("healthy again"), "{stderr}");
}

#[test]
fn thresholds_count_checks_in_a_row() {
    let moody = Moody::new("-++-+++");
    let backends = [(moody.backend.address, "")];
    let proxy = before(&backends, "").start();
    moody.watch(&proxy);
    let check = "[health_check]\npath = \"/_health\"\ninterval = 1\nunhealthy_threshold = 1\nhealthy_threshold = 3";
    proxy.folder.write_text("config.toml", &config(&backends, check));
    assert_eq!(moody.held(8), "+------+");
}

/// Answers checks after this time, and tells when they came.
fn taking(time: Duration) -> (Backend, Arc<Mutex<Vec<Instant>>>) {
    let came = Arc::<Mutex<Vec<Instant>>>::default();
    let noted = came.clone();
    let backend = Backend::scripted(move |exchange| {
        noted.lock().unwrap().push(Instant::now());
        std::thread::sleep(time);
        exchange.reply("200 OK", "")
    });
    (backend, came)
}

#[test]
fn a_check_comes_each_interval_and_may_take_the_timeout() {
    let (quick, came) = taking(Duration::from_millis(1000));
    let (slow, _) = taking(Duration::from_millis(2600));
    let check = "[health_check]\npath = \"/\"\ninterval = 3\ntimeout = 2\nunhealthy_threshold = 1";
    let proxy = before(&[(quick.address, ""), (slow.address, "")], check).start();
    until_unhealthy(&proxy, slow.address, true);
    assert_eq!(shown(proxy.admin, slow.address)["failed_check"], "no answer within 2s");
    let came = until("the third check", || Some(came.lock().unwrap().clone()).filter(|came| came.len() > 2));
    assert_eq!(shown(proxy.admin, quick.address)["unhealthy"], false);
    // They are spread by a tenth.
    let took = came[2] - came[0];
    assert!((Duration::from_millis(4900)..Duration::from_millis(8500)).contains(&took), "{took:?}");
}
