//! Small pieces that nobody reads yet, with the data of a neighbour between them: each would keep the 8 KiB in which it came.

use std::collections::HashMap;
use std::io::Write;

use crate::floods::{GET, growth, silent};
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, SETTINGS, WINDOW_UPDATE, encode, frame};
use crate::support::objects::{config_map, ingress, rule, service_speaking, site};
use crate::support::wait::until;
use crate::support::{Backend, Headgate, get, ports};

/// With what is around it, 48 MiB.
const PIECES: usize = 6000;
const BETWEEN: usize = 8173;
/// More than what is kept until it is looked after, and less than all.
const FEW: u64 = 32 << 20;

const CANCEL: u32 = 8;

const OPEN: u32 = (1 << 31) - 1 - 65_535;

/// Sends a byte on each of the streams `small`, and what fills its block on `large`, as far as the windows of the
/// connection, `room` at first, and of the streams let it. False: it was cut.
fn pairs(frames: &mut Frames, room: u32, small: &[u32], large: u32) -> bool {
    many_pairs(frames, room, small, large, PIECES, b"x")
}

/// So many of these pieces.
fn many_pairs(frames: &mut Frames, room: u32, small: &[u32], large: u32, pieces: usize, piece: &[u8]) -> bool {
    let streams = small.iter().chain([&large]).map(|stream| (*stream, 65_535));
    let mut rooms: HashMap<u32, usize> = streams.chain([(0, room as usize)]).collect();
    let full = frame(DATA, 0, large, &[b'z'; BETWEEN]);
    for number in 0..pieces {
        let stream = small[number % small.len()];
        let uses = [(0, BETWEEN + piece.len()), (large, BETWEEN), (stream, piece.len())];
        while uses.iter().any(|(stream, used)| rooms[stream] < *used) {
            let Some(update) = frames.until(WINDOW_UPDATE, |_| true) else { return false };
            *rooms.get_mut(&update.stream).unwrap() += u32::from_be_bytes(update.payload.try_into().unwrap()) as usize;
        }
        uses.iter().for_each(|(stream, used)| *rooms.get_mut(stream).unwrap() -= used);
        if frames.client.stream.write_all(&[frame(DATA, 0, stream, piece), full.clone()].concat()).is_err() {
            return false;
        }
    }
    true
}

fn window(frames: &mut Frames, stream: u32) {
    frames.send(WINDOW_UPDATE, 0, stream, &OPEN.to_be_bytes());
}

/// How much data comes on `stream` to its end.
#[track_caller]
fn data(frames: &mut Frames, stream: u32) -> usize {
    let mut bytes = 0;
    loop {
        let next = frames.until(DATA, |frame| frame.stream == stream).expect("the connection stays");
        bytes += next.payload.len();
        if next.flags & END_STREAM != 0 {
            return bytes;
        }
    }
}

fn reading() -> Backend {
    Backend::scripted(|exchange| {
        exchange.body()?;
        exchange.reply("200 OK", "read")
    })
}

fn post(frames: &mut Frames, stream: u32, host: &str) {
    let fields = [(":method", "POST"), GET[1], (":authority", host), GET[3]];
    frames.send(HEADERS, END_HEADERS, stream, &encode(&fields));
}

/// `a.example` speaks HTTP/2 at `listener`, and nothing ends its requests soon; `b.example` is read by `reading`.
fn before(listener: &std::net::TcpListener, reading: &Backend) -> Headgate {
    let mut objects = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    objects.extend(service_speaking("a", &[listener.local_addr().unwrap()], Some("kubernetes.io/h2c")));
    objects.extend(site("b.example", &[reading.address]));
    objects.push(config_map("settings", serde_json::json!({ "proxy-read-timeout": "600" })));
    let flags = [("--configmap", "default/settings"), ("--workers", "1"), ("--write-timeout", "10m")];
    let proxy = flags.iter().fold(Headgate::with(&objects), |proxy, (flag, value)| proxy.flag(flag, value)).start();
    get(proxy.http, "c.example", "/");
    proxy
}

/// A client that posts to `a.example` on stream 1 and to `b.example` on stream 3, and the backend of the former, which has
/// no window for a body; and the window of the client's connection.
fn untaken(proxy: &Headgate, listener: &std::net::TcpListener) -> (Frames, Frames, u32) {
    let mut client = Frames::connect(proxy.http);
    let more = client.until(WINDOW_UPDATE, |update| update.stream == 0).unwrap();
    let room = 65_535 + u32::from_be_bytes(more.payload.try_into().unwrap());
    post(&mut client, 1, "a.example");
    let mut backend = Frames::accept(listener);
    backend.until(HEADERS, |_| true).unwrap();
    backend.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    // And the proxy knows.
    backend.until(SETTINGS, |frame| frame.flags == 1).unwrap();
    backend.until(SETTINGS, |frame| frame.flags == 1).unwrap();
    post(&mut client, 3, "b.example");
    (client, backend, room)
}

#[test]
fn bytes_that_a_backend_does_not_take_yet_keep_little_and_arrive() {
    for answered in [false, true] {
        let (listener, neighbour) = (ports::listener(), reading());
        let proxy = before(&listener, &neighbour);
        let (mut client, mut backend, room) = untaken(&proxy, &listener);
        if answered {
            backend.send(HEADERS, END_HEADERS | END_STREAM, 1, &encode(&[(":status", "200")]));
            assert_eq!(client.status(1), 200);
        }
        let grown = growth(&proxy, || assert!(pairs(&mut client, room, &[1], 3), "cut"));
        assert!(grown < FEW, "{} KiB more", grown >> 10);
        client.send(DATA, END_STREAM, 1, b"x");
        window(&mut backend, 1);
        assert_eq!(data(&mut backend, 1), PIECES + 1);
        client.send(DATA, END_STREAM, 3, b"z");
        assert_eq!(client.status(3), 200);
    }
}

/// Of 2,001 pieces each time, 64,032 bytes are taken together: 256,128 after four times, which is what may be.
#[test]
fn a_body_of_which_more_than_256_kib_would_be_taken_together_breaks_off() {
    for (pieces, fits) in [(4 * 2001, true), (5 * 2001, false)] {
        let (listener, neighbour) = (ports::listener(), reading());
        let proxy = before(&listener, &neighbour);
        let (mut client, mut backend, room) = untaken(&proxy, &listener);
        let grown = growth(&proxy, || assert!(many_pairs(&mut client, room, &[1], 3, pieces, &[b'x'; 32]), "cut"));
        assert!(grown < FEW, "{} KiB more", grown >> 10);
        client.send(DATA, END_STREAM, 3, b"z");
        assert_eq!(client.status(3), 200);
        window(&mut backend, 1);
        if fits {
            client.send(DATA, END_STREAM, 1, b"");
            window(&mut backend, 0);
            assert_eq!(data(&mut backend, 1), pieces * 32);
        } else {
            assert_eq!(backend.reset_code(1), Some(CANCEL));
            assert_eq!(client.status(1), 503);
            proxy.log_line("why", |line| line["status"] == 503 && line["flag"] == "OM");
        }
    }
}

#[test]
fn bytes_that_a_client_does_not_take_yet_keep_little_and_arrive() {
    let (listener, neighbour) = (ports::listener(), reading());
    let proxy = before(&listener, &neighbour);
    let mut client = Frames::with_settings(proxy.http, &[(4, 0)]);
    window(&mut client, 0);
    client.get(1, "a.example", "/small");
    let mut backend = Frames::accept(&listener);
    backend.until(HEADERS, |_| true).unwrap();
    client.get(3, "a.example", "/large");
    backend.until(HEADERS, |_| true).unwrap();
    window(&mut client, 3);
    let head = encode(&[(":status", "200")]);
    for stream in [1, 3] {
        backend.send(HEADERS, END_HEADERS, stream, &head);
    }
    let answers = std::thread::spawn(move || {
        let whole = pairs(&mut backend, OPEN, &[1], 3);
        for stream in [3, 1] {
            backend.send(DATA, END_STREAM, stream, b"x");
        }
        (whole, backend)
    });
    let grown = growth(&proxy, || assert_eq!(data(&mut client, 3), PIECES * BETWEEN + 1));
    assert!(grown < FEW, "{} KiB more", grown >> 10);
    window(&mut client, 1);
    assert_eq!(data(&mut client, 1), PIECES + 1);
    assert!(answers.join().unwrap().0, "cut");
}

#[test]
fn bytes_for_a_tunnel_that_is_still_being_opened_keep_little_and_end_the_connection() {
    let (waiting, neighbour) = (silent(), reading());
    let sites = [site("a.example", &[waiting.address]), site("b.example", &[neighbour.address])].concat();
    let proxy = Headgate::with(&sites).flag("--workers", "1").start();
    get(proxy.http, "c.example", "/");
    let mut client = Frames::connect(proxy.http);
    let connect = [(":method", "CONNECT"), (":protocol", "websocket"), GET[1], GET[2], GET[3]];
    for stream in [1, 3] {
        client.send(
            HEADERS,
            END_HEADERS,
            stream,
            &encode(&[&connect[..], &[("sec-websocket-version", "13")]].concat()),
        );
    }
    waiting.wait_for(2);
    post(&mut client, 5, "b.example");
    let grown = growth(&proxy, || assert!(!pairs(&mut client, 65_535, &[1, 3], 5), "not cut"));
    assert!(grown < FEW + FEW / 4, "{} KiB more", grown >> 10);
    until("the end of their requests", || (waiting.open() == 0).then_some(()));
    assert_eq!(get(proxy.http, "c.example", "/").status, 404);
}
