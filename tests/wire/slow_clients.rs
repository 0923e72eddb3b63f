//! Clocks of a connection count what the client does, not what was handed to the sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::frames::{Frames, SETTINGS, WINDOW_UPDATE};
use crate::support::wait::{stays, timed, until};
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

/// Answers more than the sockets hold.
fn large() -> Backend {
    Backend::scripted(|exchange| exchange.reply("200 OK", &"x".repeat(LARGE)))
}

const LARGE: usize = 16 << 20;

/// A connection that was set up like this.
fn connect(address: SocketAddr, set_up: impl FnOnce(&Socket)) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    set_up(&socket);
    socket.connect(&address.into()).unwrap();
    Client::over(TcpStream::from(socket))
}

fn asks(address: SocketAddr, path: &str, set_up: impl FnOnce(&Socket)) -> Client {
    let mut client = connect(address, set_up);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    client
}

/// With windows that never shut.
fn asks_over_http2(mut client: Client, streams: &[u32]) -> Client {
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut frames = Frames { client };
    let wide = (1u32 << 30).to_be_bytes();
    frames.send(SETTINGS, 0, 0, &[&[0, 4][..], &wide].concat());
    frames.send(WINDOW_UPDATE, 0, 0, &wide);
    for stream in streams {
        frames.get(*stream, "a.example", "/");
    }
    frames.client
}

/// Little is in flight, and room for each segment is told of, as beyond loopback.
fn narrow(socket: &Socket) {
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(1400).unwrap();
}

/// So many bytes a second of each, for 14 s.
fn read_slowly<const N: usize>(readers: [(Client, usize); N]) -> [Client; N] {
    let start = Instant::now();
    let mut readers = readers.map(|(client, a_second)| (client, a_second, 0));
    while start.elapsed() < SECOND * 14 {
        for (client, a_second, read) in &mut readers {
            let due = start.elapsed().as_millis() as usize * *a_second / 1000;
            *read += client.exactly(due - *read).len();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    readers.map(|(client, ..)| client)
}

#[test]
fn a_reader_that_takes_something_is_not_cut_and_one_that_takes_nothing_is() {
    let backend = large();
    let proxy = in_front_of(&backend, &[("--write-timeout", "5s")]);
    let _stuck = asks(proxy.http, "/stuck", |_| {});
    let usual = asks(proxy.http, "/usual", |_| {});
    let narrow = asks(proxy.http, "/narrow", narrow);
    let [mut usual, _narrow] = read_slowly([(usual, 40_000), (narrow, 3_000)]);
    assert_eq!(proxy.log_of("/stuck")["flag"], "DC");
    assert_eq!(proxy.log().len(), 1, "{}", proxy.log_text());
    assert!(usual.exactly(LARGE - 40_000 * 15).iter().all(|byte| *byte == b'x'));
}

#[test]
fn streams_wait_for_their_turn_on_a_slow_connection() {
    let backend = large();
    let proxy = in_front_of(&backend, &[("--write-timeout", "5s")]);
    let client = asks_over_http2(connect(proxy.http, narrow), &[1, 3, 5]);
    let _client = read_slowly([(client, 3_000)]);
    assert_eq!(backend.seen().len(), 3);
    assert!(proxy.log().is_empty(), "{}", proxy.log_text());
}

/// What the kernel holds for this client on the proxy's side, if it knows of it.
fn held_for(proxy: &Headgate, client: &Client) -> Option<u64> {
    let [local, peer] =
        [proxy.http.port(), client.stream.local_addr().unwrap().port()].map(|port| format!(":{port:04X}"));
    let table = std::fs::read_to_string(proxy.proc("net/tcp")).unwrap();
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let queues = sockets
        .filter(|socket| socket[1].ends_with(&local) && socket[2].ends_with(&peer))
        .map(|socket| socket[4].to_owned())
        .next()?;
    Some(u64::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap())
}

#[test]
fn the_kernel_holds_little_for_a_client_that_reads_nothing_and_nothing_once_it_is_cut() {
    let backend = large();
    let proxy = in_front_of(&backend, &[("--write-timeout", "3s")]);
    let small = |socket: &Socket| socket.set_recv_buffer_size(4096).unwrap();
    for over_http2 in [false, true] {
        let client = match over_http2 {
            false => asks(proxy.http, "/", small),
            true => asks_over_http2(connect(proxy.http, small), &[1]),
        };
        until("a full socket", || held_for(&proxy, &client).filter(|held| *held > 32 << 10));
        stays("a bound", SECOND, || held_for(&proxy, &client).is_none_or(|held| held <= 384 << 10));
        until("no socket", || held_for(&proxy, &client).is_none().then_some(()));
    }
}
