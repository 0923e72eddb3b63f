//! HTTP/2 that no library would send: what takes much of us for little is bounded, and ends.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    encode, frame, status,
};
use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, get, in_full, objects, ports};

const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];

/// Sends what `next` gives until the connection ends; fails after so many times.
#[track_caller]
fn cut_within(frames: &mut Frames, times: usize, mut next: impl FnMut(usize) -> Vec<u8>) {
    use std::io::Write;
    for number in 0..times {
        if frames.client.stream.write_all(&next(number)).is_err() {
            return;
        }
    }
    assert!(
        frames.until(GOAWAY, |frame| frame.payload[4..8] != [0; 4]).is_some() || frames.next().is_none(),
        "not cut after {times} times"
    );
}

/// Bytes of memory that `work` has made it keep.
pub(crate) fn growth(proxy: &Headgate, work: impl FnOnce()) -> u64 {
    let before = proxy.resident();
    work();
    proxy.resident().saturating_sub(before)
}

/// Sends `piece` so many times, or until nothing more is taken for half a second.
fn pour(frames: &mut Frames, piece: &[u8], times: usize) {
    use std::io::Write;
    frames.client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    for _ in 0..times {
        if frames.client.stream.write_all(piece).is_err() {
            return;
        }
    }
}

pub(crate) fn silent() -> Backend {
    Backend::scripted(|exchange| exchange.until_abandoned())
}

#[test]
fn streams_that_are_refused_end_the_connection() {
    let backend = silent();
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    let block = encode(&GET);
    for number in 0..100 {
        frames.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block);
    }
    backend.wait_for(100);
    cut_within(&mut frames, 5000, |number| {
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * (100 + number as u32) + 1, &block)
    });
    assert_eq!(backend.seen().len(), 100, "those above the limit went no further");
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn small_references_to_large_fields_take_little_memory() {
    let backend = silent();
    let proxy = Headgate::before(&backend);
    get(proxy.http, "b.example", "/");
    let grown = growth(&proxy, || {
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let mut frames = Frames::with_settings(proxy.http, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]);
                // A field of 4,000 bytes goes into the table once, then one byte asks for it again.
                let mut first = encode(&GET);
                first.extend([&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], &[b'x'; 4000]].concat());
                frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &first);
                for number in 1..100 {
                    let block = [encode(&GET), vec![0xbe; 4000]].concat();
                    let _ = frames.try_send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block);
                }
                frames
            })
            .collect();
        assert_eq!(get(proxy.http, "b.example", "/").status, 404);
        drop(clients);
    });
    assert!(grown < 64 << 20, "{} KiB more", grown >> 10);
    assert!(backend.seen().len() <= 20, "what is over the limit went no further");
}

/// A field of nothing goes into the table once, then one byte asks for it again.
#[test]
fn many_empty_fields_behind_shut_windows_take_little_memory_for_a_short_time() {
    const CLIENTS: usize = 5;
    let backend = Backend::answering(&"x".repeat(256 << 10));
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--write-timeout", "3s").start();
    get(proxy.http, "b.example", "/");
    let first = |fields: usize| [&encode(&GET)[..], &[0x40, 1, b'a', 0], &vec![0xbe; fields - 1]].concat();
    let mut over = Frames::connect(proxy.http);
    over.send(HEADERS, END_STREAM | END_HEADERS, 1, &first(101));
    assert_eq!(over.status(1), 431);
    let mut clients = Vec::new();
    let grown = growth(&proxy, || {
        clients.extend((0..CLIENTS).map(|_| {
            let mut frames = Frames::with_settings(proxy.http, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]);
            frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &first(100));
            let again = [encode(&GET), vec![0xbe; 100]].concat();
            (1..100).for_each(|number| frames.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &again));
            frames
        }));
        backend.wait_for(100 * CLIENTS);
    });
    // 64 KiB of head and fields, and as much of answer.
    assert!(grown < 100 * CLIENTS as u64 * (128 << 10), "{} KiB more", grown >> 10);
    for frames in &mut clients {
        // The connection's window is not the stream's.
        frames.send(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
        for _ in 0..100 {
            assert!(frames.until(RST_STREAM, |_| true).is_some());
        }
    }
    until("the end of their requests", || (backend.open() == 0).then_some(()));
}

#[test]
fn cookie_crumbs_are_fields() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let ask = |crumbs: &[String]| {
        let mut fields = GET.to_vec();
        fields.extend(crumbs.iter().map(|crumb| ("cookie", crumb.as_str())));
        let mut frames = Frames::connect(proxy.http);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&fields));
        frames.status(1)
    };
    let thin = |count: usize| (0..count).map(|number| format!("c{number}=")).collect::<Vec<_>>();
    assert_eq!((ask(&thin(100)), ask(&thin(101))), (200, 431));
    // Each counts as 208 bytes of the 16 KiB.
    let fat = vec!["x".repeat(170); 80];
    assert_eq!((ask(&fat[..77]), ask(&fat)), (200, 431));
    assert_eq!(backend.last().header("cookie").unwrap().len(), 77 * 170 + 76 * 2);
}

#[test]
fn tiny_frames_that_nobody_takes_end_the_connection() {
    let hole = ports::BlackHole::new();
    let mut site = objects::site("a.example", &[hole.address]);
    site.push(objects::config_map("settings", serde_json::json!({ "proxy-connect-timeout": "60" })));
    let proxy = Headgate::with(&site).flag("--configmap", "default/settings").start();
    let mut frames = Frames::connect(proxy.http);
    let fields = [(":method", "POST"), GET[1], GET[2], GET[3]];
    frames.send(HEADERS, END_HEADERS, 1, &encode(&fields));
    get(proxy.http, "b.example", "/");
    let grown = growth(&proxy, || cut_within(&mut frames, 200_000, |_| frame(DATA, 0, 1, b"x")));
    // The library lets 32,000 be unread; those that stand together share what is read at once.
    assert!(grown < 32 << 20, "{} KiB more", grown >> 10);
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn a_table_that_grows_and_shrinks_takes_no_memory() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    get(proxy.http, "a.example", "/");
    let sizes = [0u32, 4096, 0, u32::MAX];
    let entry = |size: u32| [&SETTINGS_HEADER_TABLE_SIZE.to_be_bytes()[..], &size.to_be_bytes()].concat();
    let toggles: Vec<u8> = sizes.iter().flat_map(|size| frame(SETTINGS, 0, 0, &entry(*size))).collect();
    let mut frames = Frames::connect(proxy.http);
    let grown = growth(&proxy, || pour(&mut frames, &toggles, 100_000));
    assert!(grown < 32 << 20, "{} KiB more", grown >> 10);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn priorities_take_no_memory() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/");
    assert_eq!(frames.status(1), 200);
    // Of a closed stream and of many that never are.
    let streams = (0..500).map(|number| 2 * number + 1);
    let piece: Vec<u8> = streams.flat_map(|stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16])).collect();
    let grown = growth(&proxy, || pour(&mut frames, &piece, 1000));
    assert!(grown < 16 << 20, "{} KiB more", grown >> 10);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn a_client_that_reads_nothing_is_cut() {
    let backend = Backend::answering(&"x".repeat(64 << 20));
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--write-timeout", "1s").start();
    let mut frames = Frames::with_settings(proxy.http, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    frames.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes());
    let grown = growth(&proxy, || {
        frames.get(1, "a.example", "/unread");
        backend.wait_for(1);
        let (_, took) =
            timed(|| until("its end", || (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(())));
        assert!(took > Duration::from_millis(800), "{took:?}");
    });
    assert!(grown < 16 << 20, "{} KiB more", grown >> 10);
    until("the end of the backend's answer", || (backend.open() == 0).then_some(()));
}

#[test]
fn pseudo_fields_stand_once_first_and_in_heads() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let with = |fields: &[(&'static str, &'static str)]| [&GET[..], fields].concat();
    let mut late = GET.to_vec();
    late.swap(2, 3);
    late.insert(3, ("x", "y"));
    for fields in [
        with(&[(":method", "POST")]),
        with(&[(":scheme", "https")]),
        with(&[(":unknown", "x")]),
        with(&[(":status", "200")]),
        with(&[(":transfer-encoding", "chunked")]),
        with(&[(":protocol", "websocket")]),
        late,
        GET[1..].to_vec(),
        GET[..3].to_vec(),
        [&GET[..1], &GET[2..]].concat(),
    ] {
        let mut frames = Frames::connect(proxy.http);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&fields));
        assert!(refused(&mut frames), "{fields:?}");
    }
    // The library takes them in trailers, and forgets them.
    let mut frames = Frames::connect(proxy.http);
    frames.send(HEADERS, END_HEADERS, 1, &encode(&[(":method", "POST"), GET[1], GET[2], GET[3]]));
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&[(":path", "/x"), (":method", "GET")]));
    assert_eq!(frames.status(1), 200);
    let seen = backend.only();
    assert_eq!((seen.line(), seen.body.len(), seen.trailers.len()), ("POST / HTTP/1.1", 0, 0));
}

/// Stream 1 gets 400 or is reset, or the connection ends.
fn refused(frames: &mut Frames) -> bool {
    while let Some(next) = frames.next() {
        match next.kind {
            HEADERS if next.stream == 1 => return status(&next.payload) == 400,
            RST_STREAM if next.stream == 1 => return true,
            GOAWAY => return next.payload[4..8] != [0; 4],
            _ => {}
        }
    }
    true
}

#[test]
fn stream_ids_rise_and_are_odd() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for second in [4, 3, 5] {
        let mut frames = Frames::connect(proxy.http);
        frames.get(5, "a.example", "/");
        assert_eq!(frames.status(5), 200);
        frames.get(second, "a.example", "/second");
        assert!(frames.goaway_code() != Some(0), "{second}");
    }
    let mut frames = Frames::connect(proxy.http);
    frames.get(0x7fff_ffff, "a.example", "/last");
    assert_eq!(frames.status(0x7fff_ffff), 200, "the last stream of a connection");
    assert!(backend.seen().iter().all(|seen| seen.target() != "/second"));
}

#[test]
fn resets_within_answers_give_their_window_back() {
    let backend = Backend::scripted(|exchange| {
        let body = if exchange.seen.target() == "/whole" { "whole".to_owned() } else { "x".repeat(1 << 20) };
        exchange.reply("200 OK", &body)
    });
    let proxy =
        Headgate::with(&objects::site("a.example", &[backend.address])).flag("--http2-max-resets", "20000").start();
    // The window of the connection is the 65,535 bytes that it starts with, and is opened for nothing that is read.
    let mut frames = Frames::connect(proxy.http);
    let resets = if in_full() { 10_000 } else { 500 };
    for number in 0..resets {
        let stream = 2 * number + 1;
        frames.get(stream, "a.example", "/part");
        let part = frames.until(DATA, |frame| frame.stream == stream).unwrap();
        let mut taken = part.payload.len() as u32;
        frames.send(RST_STREAM, 0, stream, &8u32.to_be_bytes());
        // What is on its way is taken too; the answer to a ping comes behind it.
        frames.send(PING, 0, 0, &[1; 8]);
        loop {
            let next = frames.next().unwrap();
            match next.kind {
                DATA => taken += next.payload.len() as u32,
                PING if next.flags & ACK != 0 => break,
                _ => {}
            }
        }
        frames.send(WINDOW_UPDATE, 0, 0, &taken.to_be_bytes());
    }
    let last = 2 * resets + 1;
    frames.get(last, "a.example", "/whole");
    let whole = frames.until(DATA, |frame| frame.stream == last).unwrap();
    assert_eq!(whole.payload, b"whole");
    until("the end of what nobody wants", || (backend.open() <= 1).then_some(()));
}

/// Else clients could fill the disk with them.
#[test]
fn nothing_that_a_client_does_is_a_line_of_the_application_log() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    // The last line of a start comes behind the one that says where it listens.
    let before = until("the end of the start", || Some(proxy.stderr()).filter(|said| said.ends_with("are served")));
    let mut frames = Frames::connect(proxy.http);
    frames.send(PING, ACK, 0, b"invalid\0");
    frames.get(1, "a.example", "/");
    assert_eq!(frames.status(1), 200);
    for (kind, stream, payload) in
        [(SETTINGS, 1, &b""[..]), (WINDOW_UPDATE, 0, &[0; 4]), (DATA, 9, b"x"), (200, 0, b"x")]
    {
        let mut frames = Frames::connect(proxy.http);
        frames.send(kind, 0, stream, payload);
        frames.get(1, "a.example", "/");
        refused(&mut frames);
    }
    for text in ["\x16\x03\x01\0\x05hello", "GET / HTTP/1.1\r\n\r\n", "\x15\x03\x01\0\x02\x01\0"] {
        for address in [proxy.http, proxy.https] {
            let mut client = Client::connect(address);
            client.send(text);
            client.shutdown_write();
            client.rest();
        }
    }
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert_eq!(proxy.stderr(), before);
}

/// A backend that speaks HTTP/2 and, once it is asked, sends `flood` for ever.
pub(crate) fn flooding(listener: TcpListener, flood: Vec<u8>) {
    std::thread::spawn(move || {
        while let Ok(mut frames) = std::panic::catch_unwind(|| Frames::accept(&listener)) {
            let flood = flood.clone();
            std::thread::spawn(move || {
                use std::io::Write;
                frames.until(HEADERS, |_| true);
                let mut reader = frames.client.stream.try_clone().unwrap();
                std::thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
                while frames.client.stream.write_all(&flood).is_ok() {}
            });
        }
    });
}

#[test]
fn an_h2c_backend_that_floods_hurts_its_requests_alone() {
    let field = |stream: u32| frame(HEADERS, END_HEADERS, stream, &encode(&[(":status", "200")]));
    let floods = [
        [field(1), frame(DATA, 0, 1, &[]).repeat(1000)].concat(),
        frame(SETTINGS, 0, 0, &[]).repeat(1000),
        frame(PING, 0, 0, &[1; 8]).repeat(1000),
        [frame(HEADERS, 0, 1, &encode(&[(":status", "200")])), frame(9, 0, 1, &encode(&[("x", "y")])).repeat(1000)]
            .concat(),
        frame(HEADERS, END_HEADERS, 1, &encode(&[(":status", "103")])).repeat(1000),
        frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]).repeat(1000),
        frame(RST_STREAM, 0, 3, &8u32.to_be_bytes()).repeat(1000),
    ];
    let fine = Backend::answering("fine");
    for (number, flood) in floods.into_iter().enumerate() {
        let listener = ports::listener();
        let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
        site.extend(objects::service_speaking("a", &[listener.local_addr().unwrap()], Some("kubernetes.io/h2c")));
        site.push(objects::config_map("settings", serde_json::json!({ "proxy-read-timeout": "2" })));
        site.extend(objects::site("fine.example", &[fine.address]));
        flooding(listener, flood);
        let proxy = Headgate::with(&site).flag("--configmap", "default/settings").flag("--workers", "1").start();
        let grown = growth(&proxy, || {
            let mut client = Client::connect(proxy.http);
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let (_, took) = timed(|| get(proxy.http, "fine.example", "/"));
            assert!(took < Duration::from_secs(1), "flood {number}: others wait {took:?}");
            let answer = client.try_response().map(|response| response.status);
            assert_eq!(answer.ok(), Some(502), "flood {number}");
        });
        assert!(grown < 32 << 20, "flood {number}: {} KiB more", grown >> 10);
        assert_eq!(get(proxy.http, "fine.example", "/").text(), "fine", "flood {number}");
    }
}
