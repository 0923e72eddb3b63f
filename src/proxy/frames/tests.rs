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
    assert_eq!(whole, -17 + 8750 - 9 - 9 - 309);
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
fn data_that_comes_earns_by_its_bytes() {
    let mut allowance = client();
    allowance.left = 0;
    for (length, earned) in [(1, 0), (7, 0), (8, 1), (800, 101)] {
        assert!(allowance.received(&frame(DATA, length), never));
        assert_eq!(allowance.left, earned, "{length}");
    }
    let piece = [frame(DATA, 1), frame(SETTINGS, 0).repeat(7)].concat();
    assert_eq!((0..10_000).find(|_| !allowance.received(&piece, || 1)), Some(1));
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

fn on(stream: u8, flags: u8, mut frame: Vec<u8>) -> Vec<u8> {
    (frame[4], frame[8]) = (flags, stream);
    frame
}

/// A connection to a backend, with requests on these streams.
fn backend(requests: &[u8]) -> Allowance {
    let mut allowance = Allowance::of_backend(1);
    allowance.sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for stream in requests {
        allowance.sent(&on(*stream, END_STREAM, frame(HEADERS, 20)));
    }
    allowance
}

#[test]
fn an_answer_may_have_a_thousand_heads_whatever_stands_between_them() {
    let mut allowance = backend(&[1, 3]);
    let between = [frame(PING, 8), on(1, 0, frame(DATA, 1))].concat();
    for _ in 0..999 {
        for stream in [1, 3] {
            assert!(allowance.received(&on(stream, 0, frame(HEADERS, 20)), never));
        }
    }
    assert!(allowance.received(&on(3, 0, frame(CONTINUATION, 20)), never));
    assert!(allowance.received(&between, never));
    assert!(!allowance.received(&on(3, 0, frame(HEADERS, 20)), never));
}

#[test]
fn the_heads_of_an_answer_may_take_512_kib() {
    for (last, fine) in [(1000, true), (8 << 10, true), ((8 << 10) + 1, false)] {
        let mut allowance = backend(&[1]);
        let head = frame(HEADERS, 8 << 10);
        assert!((0..63).all(|_| allowance.received(&head, never)), "{last}");
        assert_eq!(allowance.received(&frame(CONTINUATION, last), never), fine, "{last}");
    }
}

#[test]
fn the_heads_of_an_answer_are_forgotten_with_it() {
    let head = frame(HEADERS, 20);
    let ends = [on(1, END_STREAM, frame(HEADERS, 20)), on(1, END_STREAM, frame(DATA, 5)), frame(RST_STREAM, 4)];
    for end in ends {
        let mut allowance = backend(&[1, 3]);
        assert!(allowance.received(&[head.repeat(1000), end].concat(), never));
        assert_eq!(allowance.heads.as_ref().map(HashMap::len), Some(1));
        allowance.sent(&on(3, 0, frame(RST_STREAM, 4)));
        assert_eq!(allowance.heads.as_ref().map(HashMap::len), Some(0));
        // What nobody asked for is the library's to refuse.
        assert!(allowance.received(&head.repeat(2000), never));
        assert_eq!(allowance.heads.as_ref().map(HashMap::len), Some(0));
    }
}

#[test]
fn the_heads_of_an_answer_earn_nothing() {
    let mut allowance = backend(&[1]);
    allowance.left = 0;
    assert!(allowance.received(&[frame(HEADERS, 800), frame(CONTINUATION, 800)].concat(), never));
    assert_eq!(allowance.left, 0);
    let mut allowance = client();
    allowance.left = 0;
    assert!(allowance.received(&[frame(HEADERS, 800), frame(CONTINUATION, 800)].concat(), never));
    assert_eq!(allowance.left, 2 * 164);
}

fn refusal(stream: u8, code: u8) -> Vec<u8> {
    let mut reset = on(stream, 0, frame(RST_STREAM, 4));
    reset[9..].copy_from_slice(&[0, 0, 0, code]);
    reset
}

#[test]
fn refused_streams_count_once_the_client_can_know_better() {
    let mut allowance = client();
    let open = |stream| on(stream, END_STREAM, frame(HEADERS, 20));
    let settings = on(0, 0, frame(SETTINGS, 0));
    assert!(allowance.received(&[settings, open(1), open(3)].concat(), never));
    assert_eq!(allowance.sent(&refusal(3, 7)), 0);
    assert!(allowance.received(&[on(0, ACK, frame(SETTINGS, 0)), open(5), open(7)].concat(), never));
    assert_eq!(allowance.sent(&[refusal(1, 7), refusal(3, 7)].concat()), 0, "it could not");
    assert_eq!(allowance.sent(&[refusal(5, 7), refusal(7, 8)].concat()), 1, "one was cancelled");
    let bytes = [refusal(5, 7), frame(DATA, 5), refusal(7, 7)].concat();
    assert_eq!(bytes.iter().map(|byte| allowance.sent(&[*byte])).sum::<u32>(), 2, "byte by byte");
    assert_eq!(backend(&[1]).sent(&refusal(1, 7)), 0);
    let provoked = (0..16).filter(|code| client().sent(&refusal(1, *code)) == 1);
    assert_eq!(provoked.collect::<Vec<_>>(), [1, 3, 5, 6, 7], "by code");
}

#[test]
fn what_is_under_way_comes_before_anything_else() {
    let mut allowance = Allowance::of_client(1);
    assert_eq!(allowance.under_way(), 24);
    assert!(allowance.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", never));
    assert_eq!(allowance.under_way(), 0);
    for bytes in [frame(DATA, 20), frame(RST_STREAM, 4), frame(RST_STREAM, 6)] {
        for end in 1..bytes.len() {
            let mut allowance = client();
            assert!(allowance.received(&bytes[..end], never));
            let mut rest = &bytes[end..];
            while !rest.is_empty() {
                let next = allowance.under_way();
                assert!((1..=rest.len()).contains(&next), "{end}");
                assert!(allowance.received(&rest[..next], never));
                rest = &rest[next..];
            }
            assert_eq!(allowance.under_way(), 0);
        }
    }
}

#[test]
fn small_frames_are_counted_by_the_pieces_of_memory_that_they_lie_in() {
    let fill = |length: usize| on(3, 0, frame(DATA, length));
    let mut allowance = client();
    assert!(allowance.received(&frame(DATA, 1).repeat(800), never));
    assert_eq!(allowance.kept(), 1, "800 times 10 bytes, and the preface");
    assert!(allowance.received(&[fill(8173), frame(DATA, 1)].concat().repeat(10), never));
    assert_eq!(allowance.kept(), 11);
    assert!(allowance.received(&[fill(1024), frame(PING, 8), fill(0)].concat().repeat(30), never));
    assert_eq!(allowance.kept(), 11, "none of them is small");
    assert!(allowance.received(&fill(1023), never));
    assert_eq!(allowance.kept(), 12);
    allowance.gathered();
    assert_eq!(allowance.kept(), 0);
    let mut split = client();
    for byte in [fill(8173), frame(DATA, 1)].concat().repeat(10) {
        assert!(split.received(&[byte], never));
    }
    assert_eq!(split.kept(), 10);
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
