//! Clients that give no window for what they asked for: what is held for them, and for how long.

use std::time::Duration;

use crate::support::frames::{DATA, END_STREAM, Frames, GOAWAY, WINDOW_UPDATE};
use crate::support::wait::{timed, until};
use crate::support::{Backend, Headgate, objects};

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;

/// One worker before this backend, with these flags.
fn limited(backend: &Backend, flags: &[(&str, &str)]) -> Headgate {
    let builder = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "1");
    flags.iter().fold(builder, |builder, (flag, value)| builder.flag(flag, value)).start()
}

/// A client whose streams may get this many bytes.
fn with_window(proxy: &Headgate, bytes: u32) -> Frames {
    Frames::with_settings(proxy.http, &[(SETTINGS_INITIAL_WINDOW_SIZE, bytes)])
}

#[test]
fn an_answer_that_fits_into_one_piece_is_not_kept_for_ever_either() {
    let backend = Backend::answering(&"x".repeat(6000));
    let proxy = limited(&backend, &[("--write-timeout", "1s")]);
    let mut frames = with_window(&proxy, 1);
    let streams = || (0..20).map(|number| 2 * number + 1);
    let ((), took) = timed(|| {
        streams().for_each(|stream| frames.get(stream, "a.example", "/shut"));
        let mut reset = std::collections::BTreeSet::new();
        while reset.len() < 20 {
            let frame = frames.until(crate::support::frames::RST_STREAM, |_| true).expect("the connection stays");
            assert_eq!(frame.payload, CANCEL.to_be_bytes(), "{frame:?}");
            reset.insert(frame.stream);
        }
        assert!(streams().all(|stream| reset.contains(&stream)), "{reset:?}");
    });
    assert!(took > Duration::from_millis(800) && took < Duration::from_secs(4), "{took:?}");
    let cut = |line: &serde_json::Value| line["flag"] == "DC" && line["status"] == 200;
    until("the log lines", || (proxy.log().iter().filter(|line| cut(line)).count() == 20).then_some(()));
    frames.get(41, "b.example", "/");
    assert_eq!(frames.status(41), 404);
}

#[test]
fn an_answer_of_known_length_has_one_small_frame() {
    let backend = Backend::answering(&"x".repeat(4 << 20));
    let proxy = limited(&backend, &[]);
    let mut frames = with_window(&proxy, 0x7fff_ffff);
    frames.send(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes());
    frames.get(1, "a.example", "/");
    let (mut received, mut small, mut last) = (0, 0, 0);
    loop {
        let data = frames.until(DATA, |frame| frame.stream == 1).unwrap();
        received += data.payload.len();
        last = if data.payload.is_empty() { last } else { data.payload.len() };
        small += usize::from(data.payload.len() == 1);
        if data.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(received, 4 << 20);
    // Of what comes last of the backend only a larger piece is parted.
    assert!(small == 1 || small == 0 && last <= 2 << 10, "{small} small, {last} at last");
}

#[test]
fn a_window_that_opens_late_gets_the_whole_answer() {
    let backend = Backend::answering(&"x".repeat(60_000));
    let proxy = limited(&backend, &[]);
    let mut frames = with_window(&proxy, 1);
    frames.get(1, "a.example", "/late");
    assert_eq!(frames.status(1), 200);
    let mut received = 0;
    for more in [1000u32, 58_998, 1] {
        frames.send(WINDOW_UPDATE, 0, 1, &more.to_be_bytes());
        let wanted = (received + more as usize + usize::from(received == 0)).min(60_000);
        while received < wanted {
            let data = frames.until(DATA, |frame| frame.stream == 1).unwrap();
            received += data.payload.len();
            assert_eq!(data.flags & END_STREAM != 0, received == 60_000, "{received}");
        }
    }
    let line = proxy.log_of("/late");
    assert_eq!((&line["flag"], &line["bytes_sent"]), (&"".into(), &60_000.into()), "{line}");
}

#[test]
fn an_idle_client_is_closed_whatever_it_left_unread_and_though_it_answers_pings() {
    let backend = Backend::answering(&"x".repeat(1000));
    let proxy = limited(&backend, &[("--keep-alive-timeout", "1s"), ("--http2-ping-interval", "1s")]);
    let mut frames = with_window(&proxy, 1);
    frames.client.patience(Duration::from_secs(10));
    for number in 0..20 {
        frames.get(2 * number + 1, "a.example", "/left");
    }
    until("the answers", || (proxy.log().len() == 20).then_some(()));
    let ((), took) = timed(|| {
        assert!(frames.until(GOAWAY, |_| true).is_some(), "it just closed");
        while frames.until(DATA, |_| true).is_some() {}
    });
    // One second of idleness, then five to leave.
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(8), "{took:?}");
}
