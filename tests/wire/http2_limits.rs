//! Bounds of HTTP/2: streams, header lists, resets, pings, windows, and floods that no library would send.

use std::io::Write;
use std::time::Duration;

use http::Request;

use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS, PING, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, WINDOW_UPDATE, encode, frame,
};
use crate::support::h2_client::{H2Client, finish, soon};
use crate::support::wait::{timed, until};
use crate::support::{Backend, Headgate, get, objects};

const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;

pub(crate) fn limited(backend: &Backend, flags: &[(&str, &str)]) -> Headgate {
    let builder = Headgate::with(&objects::site("a.example", &[backend.address]));
    flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start()
}

/// Sends until the peer ends the connection; fails if it takes more than this many times.
#[track_caller]
fn cut_within(frames: &mut Frames, limit: usize, mut send: impl FnMut(&mut Frames, usize) -> std::io::Result<()>) {
    for number in 0..limit {
        if send(frames, number).is_err() {
            return;
        }
    }
    frames.client.patience(Duration::from_secs(5));
    assert!(
        frames.until(GOAWAY, |frame| frame.payload[4..8] != [0; 4]).is_some() || closed(frames),
        "not cut after {limit} frames"
    );
}

/// The connection ends within the patience of its client.
fn closed(frames: &mut Frames) -> bool {
    while frames.next().is_some() {}
    true
}

#[test]
fn the_settings_say_what_the_limits_are() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let settings = Frames::connect(proxy.http).until(SETTINGS, |frame| frame.flags & ACK == 0).unwrap();
    let value = |wanted: u16| {
        let entries = settings.payload.chunks(6).map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), &entry[2..]));
        entries.filter(|(id, _)| *id == wanted).map(|(_, v)| u32::from_be_bytes(v.try_into().unwrap())).next()
    };
    assert_eq!(value(SETTINGS_MAX_CONCURRENT_STREAMS), Some(100));
    // h2 takes one byte less than it announces.
    assert_eq!(value(SETTINGS_MAX_HEADER_LIST_SIZE), Some((16 << 10) + 1));
    assert_eq!(value(SETTINGS_INITIAL_WINDOW_SIZE), Some(64 << 10));
}

#[test]
fn the_hundred_and_first_stream_is_refused() {
    let backend = Backend::scripted(|exchange| {
        if exchange.seen.target() == "/held" {
            return exchange.until_abandoned();
        }
        exchange.reply("200 OK", "ok")
    });
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    for number in 0..100 {
        frames.get(2 * number + 1, "a.example", "/held");
    }
    backend.wait_for(100);
    frames.get(201, "a.example", "/over");
    assert_eq!(frames.reset_code(201), Some(7), "REFUSED_STREAM");
    frames.send(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    until("one stream's end", || backend.seen().iter().any(|seen| seen.abandoned).then_some(()));
    frames.get(203, "a.example", "/after");
    assert_eq!(frames.status(203), 200);
}

#[test]
fn a_header_list_may_have_16_kib() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    // HTTP/2 counts name, value and 32 bytes a field.
    let fixed = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
    let used: usize = fixed.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    for (size, served) in [((16 << 10) - 1, true), (16 << 10, true), ((16 << 10) + 1, false)] {
        let value = "v".repeat(size - used - 32 - 1);
        let block = encode(&[&fixed[..], &[("x", value.as_str())]].concat());
        let mut frames = Frames::connect(proxy.http);
        let (first, rest) = block.split_at(block.len().min(16 << 10));
        let flags = if rest.is_empty() { END_STREAM | END_HEADERS } else { END_STREAM };
        frames.send(HEADERS, flags, 1, first);
        if !rest.is_empty() {
            frames.send(CONTINUATION, END_HEADERS, 1, rest);
        }
        let status = frames
            .until(HEADERS, |frame| frame.stream == 1)
            .map(|frame| crate::support::frames::status(&frame.payload));
        assert_eq!(status, Some(if served { 200 } else { 431 }), "{size}");
    }
}

#[test]
fn a_header_list_may_have_100_fields() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    // Pseudo fields aside; the authority is the Host that HTTP/1 would have.
    for (fields, status) in [(99, 200), (100, 200), (101, 431), (400, 431)] {
        let mut all = vec![(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
        all.extend(std::iter::repeat_n(("x", "y"), fields));
        let mut frames = Frames::connect(proxy.http);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&all));
        assert_eq!(frames.status(1), status, "{fields}");
    }
}

/// Opens a stream and resets it once the backend has its request, which is then the one after `before`.
async fn open_and_reset(client: &H2Client, backend: &Backend, before: usize) -> Result<(), h2::Error> {
    let (response, mut send) = client.open(Request::post("http://a.example/").body(()).unwrap(), false).await?;
    let reached = async {
        while backend.seen().len() <= before {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    soon(reached).await;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    Ok(())
}

#[tokio::test]
async fn a_client_may_reset_a_hundred_streams_and_no_more() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let client = H2Client::plain(proxy.http).await;
    for number in 0..100 {
        open_and_reset(&client, &backend, number).await.unwrap();
    }
    assert_eq!(client.get("http://b.example/").await.status, 404, "a hundred are fine");
    open_and_reset(&client, &backend, 100).await.unwrap();
    let _ = client.ended().await;
    assert_eq!(get(proxy.http, "b.example", "/").status, 404, "others do not notice");
}

/// A proxy in front of us may carry the streams of many clients.
#[test]
fn a_peer_that_resets_too_many_streams_loses_none_of_the_others() {
    let (go, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::scripted(move |exchange| match exchange.seen.target() {
        "/kept" => {
            wait.lock().unwrap().recv().unwrap();
            exchange.reply("200 OK", "whole")
        }
        _ => exchange.until_abandoned(),
    });
    let proxy = limited(&backend, &[("--http2-max-resets", "5")]);
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/kept");
    backend.request_to("/kept");
    for number in 1..=6 {
        frames.get(2 * number + 1, "a.example", "/reset");
        backend.wait_for(1 + number as usize);
        frames.send(RST_STREAM, 0, 2 * number + 1, &8u32.to_be_bytes());
    }
    assert_eq!(frames.goaway_code(), Some(0));
    go.send(()).unwrap();
    assert_eq!(frames.status(1), 200);
    assert_eq!(frames.until(DATA, |frame| frame.stream == 1).unwrap().payload, b"whole");
    assert!(closed(&mut frames));
}

#[test]
fn rapid_resets_reach_the_backend_in_small_number() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_millis(50));
        exchange.reply("200 OK", "ok")
    });
    let proxy = Headgate::before(&backend);
    let mut frames = Frames::connect(proxy.http);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
    let block = encode(&fields);
    let cut = (0..5000).any(|number| {
        let stream = 2 * number + 1;
        let opened = frames.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        opened.and_then(|()| frames.try_send(RST_STREAM, 0, stream, &8u32.to_be_bytes())).is_err()
    });
    assert!(cut || frames.ending().is_some(), "not cut");
    assert!(backend.seen().len() <= 200, "{} requests", backend.seen().len());
    assert!(backend.accepted() <= 50, "{} connections", backend.accepted());
}

#[test]
fn streams_that_make_us_reset_them_are_counted() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    let provoke = |times: u32, kind: u8, payload: fn(u32) -> Vec<u8>| {
        let mut frames = Frames::connect(proxy.http);
        for number in 0..times {
            // Not more than a hundred at a time, which would be refused.
            if number >= 90 {
                frames.until(RST_STREAM, |_| true);
            }
            let stream = 2 * number + 1;
            let opened = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
            let _ = frames.client.stream.write_all(&[opened, frame(kind, 0, stream, &payload(stream))].concat());
        }
        frames
    };
    let overflow: fn(u32) -> Vec<u8> = |_| 0x7fff_ffffu32.to_be_bytes().to_vec();
    let itself: fn(u32) -> Vec<u8> = |stream| [&stream.to_be_bytes()[..], &[16]].concat();
    for (kind, payload) in [(WINDOW_UPDATE, overflow), (PRIORITY, itself)] {
        assert_eq!(provoke(100, kind, payload).ending(), None, "a hundred are fine");
        assert_eq!(provoke(101, kind, payload).goaway_code(), Some(0), "one more ends it");
        let cut = provoke(1100, kind, payload).ending();
        assert!(matches!(cut, Some((_, 0 | ENHANCE_YOUR_CALM))), "{kind}: {cut:?}");
    }
    // The library takes these for errors of the connection.
    assert_eq!(provoke(1, WINDOW_UPDATE, |_| vec![0; 4]).ending(), Some((1, PROTOCOL_ERROR)));
    assert_eq!(provoke(1, PRIORITY, |_| vec![0; 4]).ending(), Some((1, PROTOCOL_ERROR)));
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn floods_end_the_connection() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let proxy = Headgate::before(&backend);
    let mut continuation = Frames::connect(proxy.http);
    continuation.client.send(
        [
            frame(HEADERS, 0, 1, &encode(&[(":method", "GET")])),
            frame(CONTINUATION, 0, 1, &encode(&[("x", "y")])).repeat(20),
        ]
        .concat(),
    );
    assert_eq!(continuation.ending(), Some((0, ENHANCE_YOUR_CALM)));
    let empty = |count: usize| {
        let mut frames = Frames::connect(proxy.http);
        let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
        frames
            .client
            .send([frame(HEADERS, END_HEADERS, 1, &encode(&fields)), frame(DATA, 0, 1, &[]).repeat(count)].concat());
        frames.ending()
    };
    assert_eq!(empty(50), None);
    assert_eq!(empty(51), Some((0, 0)), "cut without a word");
    assert_eq!(get(proxy.http, "b.example", "/").status, 404);
}

#[test]
fn floods_of_pings_and_settings_take_no_memory() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let before = proxy.resident();
    for (kind, payload) in [(PING, vec![7; 8]), (SETTINGS, vec![])] {
        let mut frames = Frames::connect(proxy.http);
        frames.client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        // Nobody reads the answers, so either they pile up or we are no longer read from.
        for _ in 0..200_000 {
            if frames.try_send(kind, 0, 0, &payload).is_err() {
                break;
            }
        }
    }
    assert!(proxy.resident() < before + (32 << 20), "{} KiB more", (proxy.resident() - before) >> 10);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
}

#[test]
fn frames_that_break_the_protocol_end_the_connection() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    let odd: [(u8, u32, &[u8]); 8] = [
        (5, 1, &[0, 0, 0, 2]),
        (GOAWAY, 1, &[0; 8]),
        (RST_STREAM, 0, &[0; 4]),
        (RST_STREAM, 1, &[0; 3]),
        (PING, 0, &[0; 7]),
        (WINDOW_UPDATE, 0, &[0; 4]),
        (SETTINGS, 0, &[0; 5]),
        (HEADERS, 2, &[0x82]),
    ];
    for (kind, stream, payload) in odd {
        let mut frames = Frames::connect(proxy.http);
        frames.send(kind, 0, stream, payload);
        assert!(frames.goaway_code().is_some_and(|code| code != 0), "{kind} {stream} {payload:?}");
        assert!(closed(&mut frames));
    }
}

#[test]
fn a_client_that_answers_no_ping_is_closed() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, &[("--http2-ping-interval", "1s"), ("--http2-ping-timeout", "1s")]);
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/");
    assert_eq!(frames.status(1), 200);
    let (_, took) = timed(|| closed(&mut frames));
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_secs(4));
        exchange.reply("200 OK", "late")
    });
    let proxy = limited(
        &backend,
        &[("--http2-ping-interval", "1s"), ("--http2-ping-timeout", "1s"), ("--keep-alive-timeout", "1s")],
    );
    assert_eq!(H2Client::plain(proxy.http).await.get("http://a.example/").await.text(), "late");
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed_in_time_with_a_goaway() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, &[("--keep-alive-timeout", "1s")]);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://a.example/").await.status, 200);
    let start = std::time::Instant::now();
    let _ = client.ended().await;
    let took = start.elapsed();
    assert!(took > Duration::from_millis(850) && took < Duration::from_millis(2500), "{took:?}");
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/");
    assert_eq!(frames.status(1), 200);
    assert!(frames.until(GOAWAY, |_| true).is_some(), "it just closed");
}

#[test]
fn resets_of_what_we_answer_ourselves_are_counted_too() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, &[("--http2-max-resets", "20")]);
    let mut frames = Frames::connect(proxy.http);
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "b.example"), (":path", "/")];
    let block = encode(&fields);
    // In small groups, each once the one before was looked at: what is reset before has a bound of its own.
    cut_within(&mut frames, 10, |frames, number| {
        let mut group = Vec::new();
        for stream in (0..10).map(|pair| 2 * (10 * number as u32 + pair) + 1) {
            group.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block));
            group.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        }
        frames.client.stream.write_all(&group)?;
        let answered = || proxy.metrics().value("proxy_requests_total", &[("status", "404")]);
        let all = 10.0 * (number + 1) as f64;
        until("the group's end", || {
            (answered() >= all || proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(())
        });
        Ok(())
    });
}

#[tokio::test]
async fn an_old_http_2_connection_ends_by_goaway_and_cuts_nothing() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_millis(2500));
        exchange.reply("200 OK", "whole")
    });
    let proxy = limited(&backend, &[("--max-connection-age", "1s")]);
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(Request::get("http://a.example/").body(()).unwrap(), true).await.unwrap();
    assert_eq!(finish(response).await.unwrap().text(), "whole");
    client.ended().await.unwrap();
}

#[test]
fn a_stream_whose_window_stays_shut_is_cut() {
    let backend = Backend::answering(&"x".repeat(1 << 20));
    let proxy = limited(&backend, &[("--write-timeout", "1s"), ("--workers", "1")]);
    let mut frames = Frames::with_settings(proxy.http, &[(SETTINGS_INITIAL_WINDOW_SIZE, 1)]);
    frames.get(1, "a.example", "/shut");
    assert_eq!(frames.status(1), 200);
    let (_, took) = timed(|| frames.reset_code(1));
    assert!(took > Duration::from_millis(800) && took < Duration::from_millis(3000), "{took:?}");
    until("the backend's connection to be free", || (backend.open() == 0).then_some(()));
}
