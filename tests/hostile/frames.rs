//! HTTP/2 frames that carry nothing: whoever sends many is cut, client or backend, though each is within the rules and what
//! answers it is read. Who sends what belongs to content is not.

use std::io::{Read, Write};

use crate::floods::{GET, flooding, growth, silent};
use crate::support::client::closed;
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, SETTINGS, WINDOW_UPDATE, encode, frame, status,
};
use crate::support::wait::until;
use crate::support::{Backend, Headgate, Then, get, objects, ports};

/// Of a type that nobody knows.
const UNKNOWN: u8 = 0xee;

/// Far more than what is let pass and what the kernels hold on the way.
const FLOOD: usize = 32 << 20;

/// Sends `piece` over and over, and reads what comes for nothing. Fails if the connection does not end.
#[track_caller]
fn cut(mut frames: Frames, piece: &[u8], what: &str) {
    let mut answers = frames.client.stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || while answers.read(&mut [0; 64 << 10]).is_ok_and(|read| read > 0) {});
    let block = piece.repeat((16 << 10) / piece.len() + 1);
    let ended = (0..FLOOD / block.len()).find_map(|_| frames.client.stream.write_all(&block).err());
    assert!(ended.is_some_and(|error| closed(&error)), "{what}: not cut");
    reader.join().unwrap();
}

#[test]
fn a_client_that_floods_is_cut_though_it_reads_the_answers_and_has_a_request_in_flight() {
    let backend = silent();
    let proxy = Headgate::before(&backend);
    let windows = [[0, 4, 0, 0, 0, 1], [0, 4, 0, 1, 0, 0]].map(|setting| frame(SETTINGS, 0, 0, &setting)).concat();
    for (number, (what, piece)) in [
        ("pings", frame(PING, 0, 0, &[1; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("windows that open and shut", windows),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown frames", frame(UNKNOWN, 0, 0, &[0; 100])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut frames = Frames::connect(proxy.http);
        frames.get(1, "a.example", "/held");
        backend.wait_for(number + 1);
        cut(frames, &piece, what);
    }
    until("the end of their requests", || (backend.open() == 0).then_some(()));
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn junk_between_bytes_of_a_body_takes_no_memory() {
    let backend = silent();
    let proxy = Headgate::before(&backend);
    get(proxy.http, "b.example", "/");
    let mut frames = Frames::connect(proxy.http);
    frames.send(HEADERS, END_HEADERS, 1, &encode(&[(":method", "POST"), GET[1], GET[2], GET[3]]));
    backend.wait_for(1);
    let piece = [frame(DATA, 0, 1, b"x"), frame(UNKNOWN, 0, 0, &[0; 8173])].concat();
    let grown = growth(&proxy, || cut(frames, &piece, "junk"));
    assert!(grown < 8 << 20, "{} KiB more", grown >> 10);
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn a_client_that_gives_both_windows_back_and_pings_for_each_byte_is_served() {
    const BYTES: usize = 6000;
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    // Those that come together go on together, so each waits until the one before was taken.
    let backend = Backend::scripted(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for _ in 0..BYTES {
            may_go.lock().unwrap().recv().unwrap();
            exchange.send("1\r\nx\r\n")?;
        }
        exchange.send("0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/");
    let (mut received, mut pieces, mut sent) = (0, 0, 0);
    while received < BYTES {
        go.send(()).unwrap();
        let data = frames.until(DATA, |frame| frame.stream == 1).expect("the connection stays");
        received += data.payload.len();
        pieces += 1;
        if data.flags & END_STREAM == 0 && !data.payload.is_empty() {
            let window = (data.payload.len() as u32).to_be_bytes();
            let given_back = [0, 1].map(|stream| frame(WINDOW_UPDATE, 0, stream, &window)).concat();
            let told = [given_back, frame(PING, 0, 0, &[0; 8])].concat();
            sent += told.len();
            frames.client.send(told);
        }
    }
    assert!(sent > 160 << 10, "{pieces} pieces of {BYTES} bytes show nothing");
    frames.get(3, "b.example", "/");
    assert_eq!(frames.status(3), 404);
}

#[test]
fn an_h2c_backend_that_floods_is_cut_at_once() {
    for (what, piece) in [
        ("pings", frame(PING, 0, 0, &[1; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("priorities", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16])),
        ("unknown frames", frame(UNKNOWN, 0, 0, &[0; 1000])),
    ] {
        let listener = ports::listener();
        let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
        site.extend(objects::service_speaking("a", &[listener.local_addr().unwrap()], Some("kubernetes.io/h2c")));
        flooding(listener, piece.repeat(1000));
        let proxy = Headgate::with(&site).flag("--workers", "1").start();
        // Nothing else would end the request within a minute.
        assert_eq!(get(proxy.http, "a.example", "/").status, 502, "{what}");
        let line = proxy.log_of("/");
        assert_eq!(line["flag"], "UPE", "{what}: {line}");
    }
}

/// The library takes interim heads without end.
#[test]
fn interim_heads_of_an_h2c_backend_come_to_an_end_in_number_and_bytes() {
    let head =
        |stream: u32, field: &str| frame(HEADERS, END_HEADERS, stream, &encode(&[(":status", "103"), ("link", field)]));
    for (what, field) in [("many", String::new()), ("large", "x".repeat(8000))] {
        let listener = ports::listener();
        let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
        site.extend(objects::service_speaking("a", &[listener.local_addr().unwrap()], Some("kubernetes.io/h2c")));
        let proxy = Headgate::with(&site).flag("--workers", "1").start();
        let mut client = Frames::connect(proxy.http);
        client.get(1, "a.example", "/first");
        let mut backend = Frames::accept(&listener);
        backend.until(HEADERS, |_| true);
        client.get(3, "a.example", "/second");
        backend.until(HEADERS, |_| true);
        let mut reader = backend.client.stream.try_clone().unwrap();
        std::thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
        // Of two answers in turns, so that no two in a row belong together.
        let storm = [head(1, &field), head(3, &field)].concat();
        let sent = (0..1 << 20).find(|_| backend.client.stream.write_all(&storm).is_err());
        assert!(sent.is_some(), "{what}: not cut");
        for _ in [1, 3] {
            let answer = client.until(HEADERS, |_| true).expect("an answer");
            assert_eq!(status(&answer.payload), 502, "{what}");
        }
    }
}
