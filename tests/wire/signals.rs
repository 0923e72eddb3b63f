//! Signals while requests are served: "read again" and "open the log again".

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, folder};

const ROUNDS: usize = 50;
const CLIENTS: usize = 4;

/// Asks for `/client/number`, on a connection that stays and, every tenth time, on one of its own, until told to end.
/// Gives the paths.
fn ask(proxy: &Headgate, client: usize, end: &AtomicBool) -> Vec<String> {
    let mut kept = Client::connect(proxy.http);
    let mut asked = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let path = format!("/{client}/{}", asked.len());
        let status = match asked.len() % 10 {
            9 => Client::connect(proxy.http).get("a.example", &path).status,
            _ => kept.get("a.example", &path).status,
        };
        assert_eq!(status, 200, "{path}");
        asked.push(path);
    }
    asked
}

/// The paths in all files that the log has had, each line whole.
fn logged(proxy: &Headgate) -> Vec<String> {
    let names = (0..ROUNDS).map(|round| format!("access.log.{round}")).chain(["access.log".to_owned()]);
    let texts = names.map(|name| folder::read(&proxy.folder.beside(&name)));
    let path = |line: &str| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
    texts.flat_map(|text| text.lines().map(path).collect::<Vec<_>>()).collect()
}

#[test]
fn reading_again_and_rotating_the_log_under_load_fail_no_request_and_lose_no_line() {
    let backend = Backend::answering("ok");
    let mut proxy =
        Headgate::with(&site("a.example", &[backend.address])).flag("--shutdown-grace-period", "0s").start();
    let end = AtomicBool::new(false);
    let log = proxy.folder.beside("access.log");
    let mut asked = std::thread::scope(|scope| {
        let (proxy, end) = (&proxy, &end);
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || ask(proxy, client, end))).collect();
        for round in 0..ROUNDS {
            let seen = backend.seen().len();
            until("more requests", || (backend.seen().len() > seen + CLIENTS).then_some(()));
            std::fs::rename(&log, proxy.folder.beside(&format!("access.log.{round}"))).unwrap();
            proxy.signal(Signal::USR1);
            proxy.signal(Signal::HUP);
            until("the new log", || log.exists().then_some(()));
        }
        end.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(proxy.stop().code(), Some(0));
    let mut logged = logged(&proxy);
    asked.sort_unstable();
    logged.sort_unstable();
    assert_eq!(logged.len(), asked.len());
    let lost: BTreeSet<_> = asked.iter().filter(|path| logged.binary_search(path).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(proxy.stderr().contains("read the folder again"), "{}", proxy.stderr());
}
