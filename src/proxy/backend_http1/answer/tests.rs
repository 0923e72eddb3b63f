use super::*;

/// What was made of an answer's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    status: u16,
    body: String,
    trailers: usize,
    keeps: bool,
    over: bool,
    /// Bytes that were not taken.
    left: usize,
}

/// Reads an answer that comes in pieces of so many bytes, and then ends if it `ends`.
fn read(bytes: &[u8], piece: usize, to_head: bool, ends: bool) -> io::Result<Came> {
    let mut heads = Heads::new(to_head);
    let mut ahead = Bytes::new();
    let mut answer = None;
    let mut came = Came::default();
    for piece in bytes.chunks(piece) {
        ahead = [&ahead[..], piece].concat().into();
        if answer.is_none() {
            answer = heads.next(&mut ahead)?;
        }
        let Some(Answer { body, .. }) = &mut answer else { continue };
        while let Some(frame) = body.next(&mut ahead)? {
            match frame.into_data() {
                Ok(data) => came.body.push_str(std::str::from_utf8(&data).unwrap()),
                Err(frame) => came.trailers += frame.into_trailers().unwrap().len(),
            }
        }
    }
    if let Some(Answer { response, mut body, keeps }) = answer {
        if ends && !body.is_over() {
            body.end()?;
        }
        (came.status, came.keeps, came.over) = (response.status().as_u16(), keeps, body.is_over());
    }
    came.left = ahead.len();
    Ok(came)
}

/// The same, whatever pieces it comes in.
#[track_caller]
fn reads(bytes: &str, to_head: bool, ends: bool) -> Came {
    let whole = read(bytes.as_bytes(), bytes.len(), to_head, ends).unwrap();
    for piece in [1, 2, 3, 7] {
        assert_eq!(read(bytes.as_bytes(), piece, to_head, ends).unwrap(), whole, "in pieces of {piece}");
    }
    whole
}

#[track_caller]
fn is_malformed(bytes: &str) {
    let error = read(bytes.as_bytes(), bytes.len(), false, true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", bytes.escape_debug());
}

fn came(status: u16, body: &str, keeps: bool) -> Came {
    Came { status, body: body.into(), keeps, over: true, ..Came::default() }
}

#[test]
fn a_body_ends_where_the_head_says() {
    let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    assert_eq!(reads(&ok("Content-Length: 5\r\n\r\nhello"), false, false), came(200, "hello", true));
    assert_eq!(reads(&ok("content-length: 5, 5\r\nContent-Length: 5\r\n\r\nhello"), false, false).body, "hello");
    assert_eq!(reads(&ok("Content-Length: 0\r\n\r\n"), false, false), came(200, "", true));
    assert_eq!(reads(&ok("\r\nto the end"), false, true), came(200, "to the end", false));
    let chunked = ok("Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(reads(&chunked, false, false), came(200, "hello", true));
    let trailers = reads(&chunked.replace("0\r\n\r\n", "0\r\na: b\r\nc:\r\n\r\n"), false, false);
    assert_eq!(trailers, Came { trailers: 2, ..came(200, "hello", true) });
    let more = reads(&ok("Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n"), false, false);
    assert_eq!(more, Came { left: 19, ..came(200, "ok", true) });
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for status in [204, 304] {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 6\r\n\r\npoison");
        assert_eq!(reads(&answer, false, false), Came { left: 6, ..came(status, "", true) });
    }
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";
    assert_eq!(reads(answer, true, false), came(200, "", true));
    assert_eq!(reads("HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n", false, false), came(101, "", false));
}

#[test]
fn a_connection_is_kept_that_both_sides_keep() {
    let keeps = |head: &str| reads(&format!("{head}Content-Length: 2\r\n\r\nok"), false, false).keeps;
    assert!(keeps("HTTP/1.1 200 OK\r\n"));
    assert!(keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive, x-close\r\n"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nConnection: keep-alive\r\n"));
    assert!(!keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"));
}

#[test]
fn interim_answers_and_empty_lines_are_passed_over() {
    let interim = "\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\n";
    let answer = format!("{interim}HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(reads(&answer, false, false), came(200, "ok", true));
    let storm = |bytes: usize| "HTTP/1.1 100 Continue\r\n\r\n".repeat(bytes / 25) + &answer;
    assert!(read(storm(400 << 10).as_bytes(), 8192, false, false).is_ok());
    assert!(read(storm(600 << 10).as_bytes(), 8192, false, false).is_err());
    assert!(read("\r\n".repeat(300 << 10).as_bytes(), 8192, false, false).is_err());
}

#[test]
fn a_head_that_is_none_is_malformed() {
    for head in [
        "<html>\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        is_malformed(head);
    }
    is_malformed(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS + 1)));
    let most = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS - 1));
    assert_eq!(reads(&most, false, false), came(200, "", true));
}

#[test]
fn a_body_that_ends_too_soon_is_broken_off() {
    for rest in ["Content-Length: 6\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{rest}");
        let error = read(answer.as_bytes(), answer.len(), false, true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{rest}");
    }
}

#[test]
fn a_long_head_is_looked_at_again_only_where_it_may_end() {
    assert!(!has_end(b"a\r\nb\r\n\r", 0));
    for (bytes, before) in [("a\r\n\r\n", 4), ("a\r\n\r\n", 2), ("a\n\n", 2), ("a\n\r\nxyz", 3)] {
        assert!(has_end(bytes.as_bytes(), before), "{bytes:?}");
    }
    assert!(!has_end(b"a\r\n\r\nxyz", 8));
}
