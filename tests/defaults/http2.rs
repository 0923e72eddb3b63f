//! What an HTTP/2 client is told, and how long it may do nothing.

use std::time::{Duration, Instant};

use crate::at;
use crate::site::{LONG, Site};
use crate::support::frames::{
    ACK, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, encode,
};
use crate::support::wait;

const SETTINGS_MAX_CONCURRENT_STREAMS: u16 = 3;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;
const CANCEL: [u8; 4] = 8u32.to_be_bytes();
const REFUSED_STREAM: u32 = 7;

fn frames(site: &Site, settings: &[(u16, u32)]) -> Frames {
    let frames = Frames::with_settings(site.proxy.http, settings);
    frames.client.patience(LONG);
    frames
}

/// What the proxy says of this setting.
fn announced(site: &Site, wanted: u16) -> Option<u32> {
    let settings = frames(site, &[]).until(SETTINGS, |frame| frame.flags & ACK == 0).unwrap();
    let mut entries = settings.payload.chunks(6).map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), &entry[2..]));
    entries.find(|(id, _)| *id == wanted).map(|(_, value)| u32::from_be_bytes(value.try_into().unwrap()))
}

pub(crate) fn header_fields(site: &Site) {
    for (fields, status) in [(99, 200), (100, 200), (101, 431)] {
        let mut all = vec![(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
        all.extend(std::iter::repeat_n(("x", "y"), fields));
        let mut frames = frames(site, &[]);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&all));
        assert_eq!(frames.status(1), status, "{fields}");
    }
}

pub(crate) fn write_stall(site: &Site) {
    let mut frames = frames(site, &[(SETTINGS_INITIAL_WINDOW_SIZE, 0)]);
    frames.get(1, "a.example", "/half");
    assert_eq!(frames.status(1), 200);
    at(30, || frames.reset_code(1).expect("the stream's end"));
}

pub(crate) fn idle(site: &Site) {
    let mut frames = frames(site, &[]);
    frames.get(1, "a.example", "/");
    assert_eq!(frames.status(1), 200);
    at(60, || frames.until(GOAWAY, |_| true).expect("a GOAWAY"));
    assert!(frames.until(GOAWAY, |_| false).is_none(), "and the end");
}

pub(crate) fn streams(site: &Site) {
    assert_eq!(announced(site, SETTINGS_MAX_CONCURRENT_STREAMS), Some(100));
    let mut frames = frames(site, &[]);
    let stream = |number: u32| 2 * number + 1;
    for number in 0..100 {
        frames.get(stream(number), "a.example", "/silent");
    }
    frames.get(stream(100), "a.example", "/");
    assert_eq!(frames.reset_code(stream(100)), Some(REFUSED_STREAM));
    frames.send(RST_STREAM, 0, stream(0), &CANCEL);
    // What has been reset may be counted a moment longer.
    let mut next = 101;
    let status = wait::until("a free stream", || {
        frames.get(stream(next), "a.example", "/");
        let answer = frames.until(HEADERS, |_| true);
        next += 1;
        answer.map(|frame| crate::support::frames::status(&frame.payload))
    });
    assert_eq!(status, 200);
}

pub(crate) fn header_list(site: &Site) {
    assert!(announced(site, SETTINGS_MAX_HEADER_LIST_SIZE).is_some_and(|size| size.abs_diff(16 << 10) <= 1));
    // HTTP/2 counts name, value and 32 bytes a field.
    let fixed = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
    let used: usize = fixed.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
    for (size, status) in [((16 << 10) - 1, 200), (16 << 10, 200), ((16 << 10) + 1, 431)] {
        let value = "v".repeat(size - used - 32 - 1);
        let mut frames = frames(site, &[]);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &encode(&[&fixed[..], &[("x", value.as_str())]].concat()));
        assert_eq!(frames.status(1), status, "{size}");
    }
}

pub(crate) fn windows(site: &Site) {
    assert_eq!(announced(site, SETTINGS_INITIAL_WINDOW_SIZE), Some(64 << 10));
    let update = frames(site, &[]).until(WINDOW_UPDATE, |frame| frame.stream == 0).unwrap();
    assert_eq!(u32::from_be_bytes(update.payload.try_into().unwrap()), (16 << 20) - 65_535);
}

/// Opens `count` streams, and resets each once its answer has begun.
fn reset(frames: &mut Frames, first: u32, count: u32) {
    for stream in (0..count).map(|number| first + 2 * number) {
        frames.get(stream, "a.example", "/half");
        assert_eq!(frames.status(stream), 200);
        frames.send(RST_STREAM, 0, stream, &CANCEL);
    }
}

pub(crate) fn resets(site: &Site) {
    let mut frames = frames(site, &[]);
    let begin = Instant::now();
    reset(&mut frames, 1, 100);
    frames.get(1001, "a.example", "/");
    assert_eq!(frames.status(1001), 200, "a hundred are fine");
    // Silence on our side: nothing but pings is to come, and `until` answers those.
    frames.client.patience(Duration::from_millis(500));
    while begin.elapsed() < Duration::from_secs(31) {
        let _ = frames.client.stream.peek(&mut [0]);
    }
    frames.client.patience(LONG);
    reset(&mut frames, 2001, 100);
    frames.get(3001, "a.example", "/");
    assert_eq!(frames.status(3001), 200, "so are a hundred more");
    frames.get(3003, "a.example", "/half");
    assert_eq!(frames.status(3003), 200);
    frames.send(RST_STREAM, 0, 3003, &CANCEL);
    assert!(frames.until(GOAWAY, |_| false).is_none(), "one more ends the connection");
}

pub(crate) fn ping(site: &Site) {
    let mut frames = frames(site, &[]);
    frames.get(1, "a.example", "/silent");
    at(30, || while frames.next().expect("a ping").kind != PING {});
}

pub(crate) fn unanswered_ping(site: &Site) {
    let mut frames = frames(site, &[]);
    frames.get(1, "a.example", "/silent");
    while frames.next().expect("a ping").kind != PING {}
    at(10, || while frames.next().is_some() {});
}
