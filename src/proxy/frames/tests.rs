use super::*;

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

fn frame(kind: u8, length: usize) -> Vec<u8> {
    let [_, high, middle, low] = (length as u32).to_be_bytes();
    // A payload that would be a frame of its own if it were read as one.
    [vec![high, middle, low, kind, 0, 0, 0, 0, 1], vec![SETTINGS; length]].concat()
}

fn client() -> Allowance {
    let mut allowance = Allowance::of_client(1);
    assert!(allowance.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", never));
    assert_eq!(allowance.left, ALLOWANCE);
    allowance
}

fn never() -> Millis {
    panic!("the clock is only asked once nothing is left")
}

#[test]
fn frames_that_carry_nothing_use_up_what_there_is_and_no_more() {
    for (kind, length, fit) in [(PING, 8, 7710), (SETTINGS, 0, 14_563), (WINDOW_UPDATE, 4, 10_082), (0xee, 8173, 16)] {
        let mut allowance = client();
        let bytes = frame(kind, length);
        assert!((0..fit).all(|_| allowance.received(&bytes, never)), "{kind}");
        assert!(!allowance.received(&bytes, || 1), "{kind}");
    }
}

#[test]
fn any_split_of_the_bytes_is_the_same() {
    let bytes = [frame(PING, 8), frame(DATA, 70_000), frame(SETTINGS, 0), frame(DATA, 0), frame(0xee, 300)].concat();
    let whole = {
        let mut allowance = client();
        allowance.left = 0;
        allowance.received(&bytes, || 1);
        allowance.left
    };
    assert_eq!(whole, -17 + 64 + 8750 - 9 - 9 - 309);
    for size in [1, 2, 3, 8, 9, 10, 17, 1000, 16 << 10] {
        let mut allowance = client();
        allowance.left = 0;
        for piece in bytes.chunks(size) {
            allowance.received(piece, || 1);
        }
        assert_eq!(allowance.left, whole, "{size}");
    }
}

#[test]
fn content_in_either_direction_makes_up_for_what_goes_with_it() {
    // A client that gives back both windows for each byte, and pings and answers a ping each time.
    let answers = [frame(WINDOW_UPDATE, 4), frame(WINDOW_UPDATE, 4), frame(PING, 8), frame(PING, 8)].concat();
    let mut allowance = client();
    for _ in 0..100_000 {
        allowance.sent(&frame(DATA, 1));
        assert!(allowance.received(&answers, never));
    }
    // One that gives them back for each 100 bytes.
    let updates = frame(WINDOW_UPDATE, 4).repeat(150);
    for _ in 0..10_000 {
        allowance.sent(&frame(DATA, 16 << 10));
        assert!(allowance.received(&updates, never));
    }
    let mut backend = Allowance::of_backend(1);
    backend.sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    backend.left = 0;
    backend.sent(&frame(HEADERS, 80));
    assert_eq!(backend.left, 74);
}

#[test]
fn our_own_answers_to_a_flood_earn_it_nothing() {
    let mut allowance = client();
    let cut = (0..20_000).find(|_| {
        allowance.sent(&frame(SETTINGS, 0));
        !allowance.received(&frame(SETTINGS, 0), || 1)
    });
    assert_eq!(cut, Some(14_563));
}

#[test]
fn junk_between_bytes_is_no_content() {
    let mut allowance = client();
    let piece = [frame(DATA, 1), frame(0xee, 8173)].concat();
    assert_eq!((0..100).find(|_| !allowance.received(&piece, || 1)), Some(16));
}

#[test]
fn content_saves_up_nothing_beyond_the_allowance() {
    let mut allowance = client();
    assert!((0..1000).all(|_| allowance.received(&frame(DATA, 16 << 10), never)));
    assert!(!allowance.received(&frame(SETTINGS, 0).repeat(14_564), || 1));
}

#[test]
fn time_fills_up_the_allowance() {
    let mut allowance = client();
    assert!(allowance.received(&frame(PING, 8).repeat(7710), never));
    let pings = frame(PING, 8).repeat(60);
    assert!(!allowance.received(&pings, || 990), "not a second");
    assert!(allowance.received(&[], || 1001), "a second in all");
    for minute in 1..1000 {
        assert!(allowance.received(&pings, || 1001 + minute * 60_000));
    }
    assert!(allowance.received(&frame(PING, 8).repeat(7711), || 1 << 60));
    assert_eq!(allowance.left, ALLOWANCE, "no more than it holds");
}

#[test]
fn a_thousand_interim_heads_may_come_in_a_row() {
    let head = |stream: u8| {
        let mut head = frame(HEADERS, 20);
        head[8] = stream;
        head
    };
    let mut allowance = client();
    for stream in [1, 3] {
        assert!(allowance.received(&head(stream).repeat(1001), never), "the first is none");
    }
    // What stands between them is no reason.
    assert!(allowance.received(&[frame(PING, 8), frame(CONTINUATION, 20)].concat(), never));
    assert!(!allowance.received(&head(3), never));
    let mut allowance = client();
    for stream in [1, 3].repeat(2000) {
        assert!(allowance.received(&head(stream), never), "heads of many streams");
    }
}

#[test]
fn empty_data_may_come_a_few_times_in_a_row_unless_it_ends_a_stream() {
    let empty = frame(DATA, 0);
    let mut allowance = client();
    for _ in 0..10 {
        assert!(allowance.received(&empty.repeat(50), never));
        assert!(allowance.received(&frame(DATA, 1), never));
    }
    let mut end = empty.clone();
    end[4] = END_STREAM;
    assert!(allowance.received(&end.repeat(1000), never));
    assert!(allowance.received(&empty.repeat(50), never));
    // What stands between them is no reason.
    assert!(allowance.received(&frame(PING, 8), never));
    assert!(!allowance.received(&empty, never));
}
