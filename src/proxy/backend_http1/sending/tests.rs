use super::*;

fn head(method: Method, target: &str) -> Parts {
    let request = http::Request::builder().method(method).uri(target).header("X-One", "1").header("host", "a");
    request.header("x-one", "2").body(()).unwrap().into_parts().0
}

fn text(method: Method, length: Option<u64>, ended: bool) -> String {
    String::from_utf8(text_of(&head(method, "/a?b"), length, ended)).unwrap()
}

#[test]
fn a_head_is_its_line_its_fields_and_one_framing() {
    let begin = "/a?b HTTP/1.1\r\nx-one: 1\r\nx-one: 2\r\nhost: a\r\n";
    assert_eq!(text(Method::GET, Some(0), true), format!("GET {begin}\r\n"));
    assert_eq!(text(Method::GET, Some(0), false), format!("GET {begin}content-length: 0\r\n\r\n"));
    assert_eq!(text(Method::DELETE, Some(12), false), format!("DELETE {begin}content-length: 12\r\n\r\n"));
    assert_eq!(text(Method::GET, None, false), format!("GET {begin}transfer-encoding: chunked\r\n\r\n"));
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        assert_eq!(text(method.clone(), Some(0), true), format!("{method} {begin}content-length: 0\r\n\r\n"));
    }
}

#[test]
fn a_size_is_hexadecimal() {
    for length in [1, 9, 15, 16, 255, 256, 65_536, usize::MAX] {
        let mut text = Vec::new();
        write_size(&mut text, length);
        assert_eq!(String::from_utf8(text).unwrap(), format!("{length:X}\r\n"));
    }
}

/// A head and three pieces with something around each.
fn queue() -> Queue {
    let mut queue = Queue { text: b"head ".to_vec(), ..Queue::default() };
    for piece in ["one", "two", "three"] {
        queue.text.push(b'<');
        queue.put(Bytes::from(piece));
        queue.text.push(b'>');
    }
    queue
}

fn rest(queue: &Queue) -> String {
    queue.slices().iter().map(|slice| std::str::from_utf8(slice).unwrap()).collect()
}

#[test]
fn what_waits_is_written_in_its_order_however_much_is_taken_at_once() {
    let whole = "head <one><two><three>";
    assert_eq!(rest(&queue()), whole);
    for step in 1..=whole.len() {
        let mut queue = queue();
        let mut written = 0;
        while written < whole.len() {
            let step = step.min(whole.len() - written);
            queue.advance(step);
            written += step;
            assert_eq!(rest(&queue), whole[written..], "steps of {step}");
            assert_eq!(queue.is_empty(), written == whole.len());
        }
    }
}

#[test]
fn text_that_was_written_is_let_go_of() {
    let mut queue = Queue { text: vec![b'x'; 2 * WRITTEN], ..Queue::default() };
    queue.put(Bytes::from_static(b"piece"));
    queue.text.extend_from_slice(b"end");
    queue.advance(WRITTEN - 1);
    queue.compact();
    assert_eq!(queue.written, WRITTEN - 1, "not each time");
    queue.advance(1);
    queue.compact();
    assert_eq!((queue.written, queue.text.len()), (0, WRITTEN + 3));
    assert_eq!(rest(&queue), "x".repeat(WRITTEN) + "pieceend");
}

#[test]
fn pieces_without_end_are_not_taken() {
    let mut queue = Queue::default();
    for _ in 0..PIECES {
        assert!(queue.has_room());
        queue.put(Bytes::from_static(b"x"));
    }
    assert!(!queue.has_room());
    let mut queue = Queue::default();
    queue.put(vec![0; MOST].into());
    assert!(!queue.has_room());
}
