//! Clocks of a connection count what the client does, not what was handed to the sockets.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, objects};

const SECOND: Duration = Duration::from_secs(1);

fn in_front_of(backend: &Backend, flags: &[(&str, &str)]) -> Headgate {
    let builder = Headgate::with(&objects::site("a.example", &[backend.address]));
    flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start()
}

/// Of all these sizes some are such that the last piece waits in the proxy while the sockets are full.
#[test]
fn a_slow_reader_gets_the_end_of_an_answer_that_was_handed_over_long_ago() {
    let backend = Backend::scripted(|exchange| {
        let size: usize = exchange.seen.target()[1..].parse().unwrap();
        exchange.reply("200 OK", &"x".repeat(size))
    });
    let proxy = in_front_of(&backend, &[("--keep-alive-timeout", "1s")]);
    let sizes = (0..80).map(|step| (1 << 20) + step * (48 << 10));
    let clients: Vec<_> = sizes
        .map(|size| {
            let mut client = Client::connect(proxy.http);
            client.send(format!("GET /{size} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
            (size, client)
        })
        .collect();
    std::thread::sleep(SECOND * 3);
    for (size, mut client) in clients {
        assert_eq!(client.response().body.len(), size);
    }
}

#[test]
fn a_line_end_behind_a_body_is_not_a_slow_head() {
    let backend = Backend::answering("ok");
    let proxy = in_front_of(&backend, &[("--keep-alive-timeout", "3s"), ("--header-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nab\r\n";
    client.send(post);
    assert_eq!(client.response().status, 200);
    client.send(post);
    assert_eq!(client.response().status, 200);
    let (rest, took) = timed(|| client.rest());
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    assert!(took > SECOND * 2, "{took:?}");
}

#[test]
fn a_preface_that_drips_has_the_time_of_one_head() {
    let proxy = in_front_of(&Backend::answering("ok"), &[("--header-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    let start = Instant::now();
    client.patience(Duration::from_millis(200));
    for byte in b"PRI * HTTP/2.0\r\n" {
        if client.stream.write_all(&[*byte]).is_err() || client.stream.read(&mut [0]).is_ok_and(|read| read == 0) {
            break;
        }
    }
    let took = start.elapsed();
    assert!(took > SECOND.mul_f32(0.8) && took < SECOND * 2, "{took:?}");
}

#[test]
fn a_head_of_another_protocol_at_first_has_the_time_of_one_head() {
    let proxy = in_front_of(&Backend::answering("ok"), &[("--header-timeout", "2s")]);
    let mut client = Client::connect(proxy.http);
    client.send("P");
    std::thread::sleep(SECOND.mul_f32(1.5));
    client.send("OST / HTTP/1.1\r\n");
    let (response, took) = timed(|| client.response());
    assert_eq!(response.status, 408);
    assert!(took < SECOND.mul_f32(1.5), "{took:?}");
}

#[test]
fn a_client_that_goes_away_while_an_upgrade_is_decided_stops_the_backend_request() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = in_front_of(&backend, &[]);
    let mut client = Client::connect(proxy.http);
    client.send("GET /up HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly");
    backend.wait_for(1);
    drop(client);
    until("the backend to be left", || (backend.open() == 0).then_some(()));
    assert_eq!(proxy.log_of("/up")["status"], 499);
}

#[test]
fn a_client_that_still_sends_after_an_early_answer_is_read_for_longer_than_an_idle_one() {
    let proxy = in_front_of(&Backend::answering("ok"), &[("--keep-alive-timeout", "1s")]);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: unknown.example\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..30 {
        client.send("0123456789");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.response().status, 404);
}
