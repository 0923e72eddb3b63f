//! A limit of open files that is smaller than what is asked for.

use crate::support::headgate::Process;
use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate};

#[test]
fn max_connections_is_lowered_to_what_the_limit_holds_and_that_much_is_held() {
    let backend = Backend::answering("ok");
    let mut proxy =
        Headgate::with(&site("a.example", &[backend.address])).flag("--workers", "2").descriptors(264).start();
    let lowered: Vec<_> = proxy.stderr().lines().filter(|line| line.contains("lowered")).map(str::to_owned).collect();
    assert_eq!(lowered.len(), 1, "{lowered:?}");
    for part in ["WARN", "--max-connections", "from 10000 to 100", "264 open files", "ulimit -n", "20064 would be"] {
        assert!(lowered[0].contains(part), "no {part:?} in {lowered:?}");
    }
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(proxy.http)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    let refused = || proxy.metrics().value("proxy_connections_refused_total", &[("reason", "process")]);
    assert_eq!(refused(), 0.0);
    Client::connect(proxy.http).expect_close();
    until("the refusal to be counted", || (refused() == 1.0).then_some(()));
    assert!(!proxy.stderr().contains("none can be accepted"), "{}", proxy.stderr());
    assert!(proxy.is_running());
}

#[test]
fn a_limit_that_holds_no_connection_ends_it_with_1_and_one_line() {
    for limit in [40, 64] {
        let mut process = Process::start_with(
            limit,
            &["serve", "--dir=deploy/demo", "--http-port=0", "--https-port=0", "--healthz-port=0", "--workers=4"],
        );
        assert_eq!(process.exit_status().code(), Some(1));
        let said = until("its last words", || Some(process.stderr()).filter(|text| !text.is_empty()));
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [&format!("{limit} open files"), "4 workers need 80", "ulimit -n", "20080", "--workers"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
}
