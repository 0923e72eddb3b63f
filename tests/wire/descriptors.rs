//! A limit of open files that is smaller than what is asked for.

use crate::support::frames::Frames;
use crate::support::headgate::Process;
use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get};

#[test]
fn max_connections_is_lowered_to_what_the_limit_holds_and_that_much_is_held() {
    let backend = Backend::answering("ok");
    let mut proxy =
        Headgate::with(&site("a.example", &[backend.address])).flag("--workers", "2").descriptors(392).start();
    let lowered: Vec<_> = proxy.stderr().lines().filter(|line| line.contains("lowered")).map(str::to_owned).collect();
    assert_eq!(lowered.len(), 1, "{lowered:?}");
    for part in ["WARN", "--max-connections", "from 10000 to 100", "392 open files", "ulimit -n", "20192 would be"] {
        assert!(lowered[0].contains(part), "no {part:?} in {lowered:?}");
    }
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(proxy.http)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(proxy.metrics().value("proxy_connections_refused_total", &[]), 0.0);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert_eq!(proxy.counted("proxy_connections_refused_total", &[("reason", "idle")], 1.0), 1.0);
    assert!(!proxy.stderr().contains("none can be accepted"), "{}", proxy.stderr());
    assert!(proxy.is_running());
}

#[test]
fn connections_to_backends_leave_room_for_every_client() {
    let busy = Backend::scripted(|exchange| exchange.until_abandoned());
    let other = Backend::answering("ok");
    let site = [site("busy.example", &[busy.address]), site("other.example", &[other.address])].concat();
    // 184 for the process itself and 10 for clients, so that 10 are left for backends.
    let builder = Headgate::with(&site).flag("--workers", "1").descriptors(204);
    let proxy = builder.flag("--max-connections-per-address", "0").start();
    let mut streams = Frames::connect(proxy.http);
    for stream in 0..100 {
        streams.get(2 * stream + 1, "busy.example", "/");
    }
    let refused = || proxy.log().iter().filter(|line| line["status"] == 503 && line["flag"] == "UO").count();
    busy.wait_for(10);
    until("the others' refusal", || (refused() == 90).then_some(()));
    assert_eq!((busy.seen().len(), busy.open()), (10, 10));
    let mut clients: Vec<_> = (0..9).map(|_| Client::connect(proxy.http)).collect();
    for client in &mut clients {
        assert_eq!(client.get("unknown.example", "/").status, 404);
    }
    assert_eq!(clients[0].get("other.example", "/").status, 503);
    let told = |text: &str| proxy.stderr().lines().filter(|line| line.contains(text)).count();
    assert_eq!((told("no connection to a backend"), told("none can be accepted")), (1, 0), "{}", proxy.stderr());
    drop(streams);
    until("room", || (clients[0].get("other.example", "/").status == 200).then_some(()));
}

#[test]
fn one_address_leaves_connections_to_backends_for_others() {
    let busy = Backend::scripted(|exchange| exchange.until_abandoned());
    let other = Backend::answering("ok");
    let site = [site("busy.example", &[busy.address]), site("other.example", &[other.address])].concat();
    // 10 for backends, as above.
    let builder = Headgate::with(&site).flag("--workers", "1").descriptors(204);
    let proxy = builder.flag("--max-connections-per-address", "4").start();
    let mut streams = Frames::connect(proxy.http);
    for stream in 0..100 {
        streams.get(2 * stream + 1, "busy.example", "/");
    }
    proxy.counted("proxy_requests_total", &[("status", "429")], 96.0);
    assert_eq!((busy.wait_for(4).len(), busy.open()), (4, 4));
    let mut client = Client::connect_from([127, 0, 0, 9].into(), proxy.http);
    assert_eq!(client.get("other.example", "/").status, 200);
}

#[test]
fn connections_that_idle_make_room_for_others() {
    let backends: Vec<_> = (0..3).map(|_| Backend::answering("ok")).collect();
    let hosts = ["a.example", "b.example", "c.example"];
    let sites = hosts.iter().zip(&backends).flat_map(|(host, backend)| site(host, &[backend.address]));
    // One client, one connection to a backend.
    let proxy = Headgate::with(&sites.collect::<Vec<_>>()).flag("--workers", "1").descriptors(186).start();
    let mut client = Client::connect(proxy.http);
    for host in [hosts, hosts].concat() {
        assert_eq!(client.get(host, "/").status, 200, "{host}");
    }
}

#[test]
fn a_limit_that_holds_no_connection_ends_it_with_1_and_one_line() {
    for limit in [40, 208] {
        let mut process = Process::start_with(
            limit,
            &["serve", "--dir=deploy/demo", "--http-port=0", "--https-port=0", "--healthz-port=0", "--workers=4"],
        );
        assert_eq!(process.exit_status().code(), Some(1));
        let said = until("its last words", || Some(process.stderr()).filter(|text| !text.is_empty()));
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [&format!("{limit} open files"), "4 workers need 208", "ulimit -n", "20208", "--workers"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    }
}
