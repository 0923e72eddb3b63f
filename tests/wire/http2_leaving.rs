//! HTTP/2 clients that go past what they were told: of streams, and of leaving.

use std::io::Write;
use std::time::Duration;

use crate::http2_limits::limited;
use crate::support::Backend;
use crate::support::frames::{
    ACK, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, encode, frame,
};
use crate::support::wait::timed;

/// Streams in one write, and how many of them are answered and refused.
fn burst(frames: &mut Frames, streams: std::ops::Range<u32>) -> (usize, usize) {
    let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    let heads = streams.clone().map(|number| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block));
    frames.client.send(heads.collect::<Vec<_>>().concat());
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < streams.len() {
        let next = frames.next().expect("the connection stays");
        match next.kind {
            HEADERS => answered += 1,
            RST_STREAM => {
                assert_eq!(next.payload, 7u32.to_be_bytes());
                refused += 1;
            }
            GOAWAY => panic!("{next:?}"),
            _ => {}
        }
    }
    (answered, refused)
}

/// Answers once a hundred requests are in flight.
fn together() -> Backend {
    let all = std::sync::Barrier::new(100);
    Backend::scripted(move |exchange| {
        all.wait();
        exchange.reply("200 OK", "ok")
    })
}

#[test]
fn who_cannot_know_our_limit_yet_loses_the_streams_above_it_alone() {
    let backend = together();
    let proxy = limited(&backend, &[]);
    for streams in [201, 400] {
        let mut frames = Frames::connect(proxy.http);
        assert_eq!(burst(&mut frames, 0..streams), (100, streams as usize - 100));
        frames.send(SETTINGS, ACK, 0, &[]);
        assert_eq!(burst(&mut frames, streams..streams + 100), (100, 0));
    }
}

#[test]
fn who_knows_our_limit_and_opens_a_hundred_streams_above_it_is_told_to_leave() {
    let backend = together();
    let proxy = limited(&backend, &[]);
    let mut frames = Frames::connect(proxy.http);
    frames.send(SETTINGS, ACK, 0, &[]);
    assert_eq!(burst(&mut frames, 0..200), (100, 100));
    let mut frames = Frames::connect(proxy.http);
    frames.send(SETTINGS, ACK, 0, &[]);
    let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    for number in 0..201 {
        frames.send(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block);
    }
    let mut answered = 0;
    let mut told = false;
    while let Some(next) = frames.next() {
        match next.kind {
            PING if next.flags & ACK == 0 => frames.send(PING, ACK, 0, &next.payload),
            HEADERS => answered += 1,
            GOAWAY => {
                told = true;
                assert_eq!(next.payload[4..], [0; 4], "in peace");
            }
            _ => {}
        }
    }
    assert!(told);
    assert_eq!(answered, 100, "none is lost");
}

/// Whether the stream is answered; `last` are those that GOAWAYs name on the way.
fn is_answered(frames: &mut Frames, stream: u32, last: &mut Vec<u32>) -> bool {
    while let Some(next) = frames.next() {
        match next.kind {
            HEADERS if next.stream == stream => return true,
            GOAWAY => last.push(u32::from_be_bytes(next.payload[..4].try_into().unwrap())),
            _ => {}
        }
    }
    false
}

/// h2 asks for the answer to a ping before it takes no further stream.
#[test]
fn a_client_that_answers_no_ping_has_to_leave_all_the_same() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, &[("--max-connection-age", "1s")]);
    let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    let ping = frame(PING, 0, 0, &[1; 8]);
    // Between two requests it is never seen at the end of a frame, but in a head or behind it.
    for midst in [0, 4, 12] {
        let mut frames = Frames::connect(proxy.http);
        let (mut stream, mut last, mut rest) = (1, Vec::new(), &ping[..0]);
        let (_, took) = timed(|| {
            loop {
                let head = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block);
                let sent = frames.client.stream.write_all(&[rest, &head, &ping[..midst]].concat());
                if sent.is_err() || !is_answered(&mut frames, stream, &mut last) {
                    return;
                }
                (stream, rest) = (stream + 2, if midst == 0 { &[] } else { &ping[midst..] });
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        assert!(took > Duration::from_secs(5) && took < Duration::from_secs(20), "{midst}: {took:?}");
        assert!(matches!(last[..], [0x7fff_ffff, named] if named < stream), "{midst}: {last:?}");
    }
}
