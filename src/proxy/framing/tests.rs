use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { size: 1024, fields: 10 };

/// What goes on of `stream`, given in pieces of these sizes over and over, and why the rest does not.
fn passed(stream: &[u8], pieces: &[usize]) -> (usize, Waits) {
    let mut requests = Requests::new(BOUNDS);
    let (mut passed, mut came) = (0, 0);
    for size in pieces.iter().cycle() {
        passed += requests.pass(&stream[passed..came]);
        if came == stream.len() {
            break;
        }
        came = stream.len().min(came + size);
    }
    (passed, requests.waits())
}

#[track_caller]
fn goes_on(stream: &[u8]) {
    assert_eq!(passed(stream, &[stream.len()]), (stream.len(), Waits::More), "{}", stream.escape_ascii());
}

#[track_caller]
fn is_refused(head: impl AsRef<[u8]>) -> ProxyError {
    match passed(head.as_ref(), &[head.as_ref().len()]) {
        (0, Waits::Refused(error)) => error,
        other => panic!("{other:?}: {}", head.as_ref().escape_ascii()),
    }
}

#[test]
fn clean_requests_go_on() {
    for stream in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a.example:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        "M-SEARCH /a{b}|\"~\\?c`=^[] HTTP/1.1\r\nX:\tb\t\r\nY:\r\nZ:\u{e9}\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length:0\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0a;x=\"y\"\r\n0123456789\r\n000\r\nA: b\r\nC:\r\n\r\n",
    ] {
        goes_on(stream.as_bytes());
    }
}

#[test]
fn a_head_that_two_readers_could_understand_differently_is_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n",
        "GET http://a/#b HTTP/1.1\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\n\r\n",
        "GET /a\u{7f} HTTP/1.1\r\n\r\n",
        "GET /?\"< HTTP/1.1\r\n\r\n",
        "GET ht!tp://a b HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "G@T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX\u{e9}: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\0\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\u{b}\r\n\r\n",
        "GET / HTTP/1.1\r\n\rX\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 9223372036854775808\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let error = is_refused(head);
        assert!(matches!(error, ProxyError::BadRequest(_)), "{error:?}: {}", head.escape_debug());
    }
    is_refused(b"GET /\xc0\xaf HTTP/1.1\r\n\r\n");
}

#[test]
fn each_byte_of_a_name_and_of_a_value_is_judged_wherever_it_stands() {
    for byte in 0..=255u8 {
        for before in 0..20 {
            let plain = vec![b'a'; before];
            let head = |name: &[u8], value: &[u8]| {
                [b"GET / HTTP/1.1\r\n", name, b":", value, b"\r\nHost: abcdefghijklmnop\r\n\r\n"].concat()
            };
            let name = head(&[&plain[..], &[byte], b"a"].concat(), b"a");
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            // What is behind a colon is a value.
            assert_eq!(
                passed(&name, &[name.len()]).0 > 0,
                token || byte == b':' && before > 0,
                "{byte} behind {before}"
            );
            for behind in [0, 1, 20] {
                let value = head(b"a", &[&plain[..], &[byte], &vec![b'\xff'; behind]].concat());
                let clean = byte == b'\t' || byte >= b' ' && byte != 0x7f;
                assert_eq!(passed(&value, &[value.len()]).0 > 0, clean, "{byte} between {before} and {behind}");
            }
        }
    }
}

#[test]
fn another_protocol_is_refused_with_its_first_byte() {
    is_refused(b"\x16");
    is_refused(b"\0");
    is_refused(b"{");
}

#[test]
fn each_bound_holds_at_its_edge() {
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
    goes_on(fields(10).as_bytes());
    assert_eq!(is_refused(fields(11)), ProxyError::HeadTooLarge);

    let sized = |size: usize| format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "b".repeat(size - 22));
    goes_on(sized(1024).as_bytes());
    assert_eq!(is_refused(sized(1025)), ProxyError::HeadTooLarge);
    assert_eq!(is_refused(&sized(2000)[..1024]), ProxyError::HeadTooLarge);
    assert_eq!(passed(&sized(2000).as_bytes()[..1023], &[1023]), (0, Waits::More));

    let target = |size: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(size));
    goes_on(target(1000).as_bytes());
    assert_eq!(is_refused(target(2000)), ProxyError::UriTooLong);
    assert_eq!(is_refused(&target(2000)[..1024]), ProxyError::UriTooLong);

    goes_on(format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(32)).as_bytes());
    is_refused(format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(33)));
    assert!(matches!(is_refused("A".repeat(1024)), ProxyError::BadRequest(_)));
}

#[test]
fn a_target_longer_than_can_be_held_is_refused_where_heads_may_be_larger() {
    let mut requests = Requests::new(Bounds { size: 200_000, fields: 10 });
    let head = |size: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(size - 1));
    let longest = head(65_534);
    assert_eq!(requests.pass(longest.as_bytes()), longest.len());
    assert_eq!(requests.pass(head(65_535).as_bytes()), 0);
    assert_eq!(requests.waits(), Waits::Refused(ProxyError::UriTooLong));
}

#[test]
fn what_is_behind_a_refused_head_never_goes_on() {
    let first = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok";
    let stream = [first, &b"GET / HTTP/1.1\r\nX : y\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
    let (passed, waits) = passed(&stream, &[stream.len()]);
    assert_eq!(passed, first.len());
    assert!(matches!(waits, Waits::Refused(ProxyError::BadRequest(_))));
}

#[test]
fn chunks_that_are_not_written_as_they_should_be_go_no_further() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (good, bad) in [
        ("", "\r\n"),
        ("", ";a\r\n"),
        ("", " 5\r\n"),
        ("", "+5\r\n"),
        ("0", "x5\r\n"),
        ("1", "_0\r\n"),
        ("5", " \r\n"),
        ("5", "\nhello"),
        ("5\r", "\r\n"),
        ("5\r", "hello"),
        ("5;a", "\nhello"),
        ("5;a", "\0\r\n"),
        ("5;\r", "\r\n"),
        ("5\r\nhello", "\n5\r\n"),
        ("5\r\nhello", "5\r\n"),
        ("5\r\nhello\r", "\r\n"),
        ("000000000000000", "5\r\n"),
        ("0\r\n", "\n"),
        ("0\r\n\r", "X"),
        ("0\r\n", ": a\r\n"),
        ("0\r\n", " a: b\r\n"),
        ("0\r\na", " : b\r\n"),
        ("0\r\na: b", "\n\r\n"),
        ("0\r\na: b\r", "c\r\n"),
        ("0\r\na: b", "\0\r\n"),
    ] {
        let stream = format!("{head}{good}{bad}GET / HTTP/1.1\r\n\r\n");
        let expected = (head.len() + good.len(), Waits::Broken);
        assert_eq!(passed(stream.as_bytes(), &[stream.len()]), expected, "{}", stream.escape_debug());
    }
}

#[test]
fn what_is_in_a_body_beside_its_data_is_bounded() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let waits = |body: String| passed(format!("{head}{body}").as_bytes(), &[usize::MAX >> 1]).1;
    let extensions = |size: usize| format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "e".repeat(64)).repeat(size / 64));
    assert_eq!(waits(extensions(16 << 10)), Waits::More);
    assert_eq!(waits(extensions((16 << 10) + 64)), Waits::Broken);
    let trailers = |count: usize| format!("0\r\n{}\r\n", "a:b\r\n".repeat(count));
    assert_eq!(waits(trailers(10)), Waits::More);
    assert_eq!(waits(trailers(11)), Waits::Broken);
    assert_eq!(waits(format!("0\r\na:{}\r\n\r\n", "b".repeat(1000))), Waits::More);
    assert_eq!(waits(format!("0\r\na:{}\r\n\r\n", "b".repeat(1024))), Waits::Broken);
}

#[test]
fn behind_a_request_that_may_switch_protocols_everything_waits_for_the_answer() {
    let next = b"GET / HTTP/1.1\r\n\r\n";
    for asking in [
        &b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let stream = [asking, next].concat();
        let mut requests = Requests::new(BOUNDS);
        assert_eq!(requests.pass(&stream), asking.len());
        assert_eq!(requests.waits(), Waits::Answer);
        assert_eq!(requests.pass(next), 0);
        requests.answered();
        assert_eq!(requests.pass(next), next.len());
        assert_eq!(requests.heads(), 2);
    }
}

#[test]
fn behind_a_connect_nothing_is_a_request() {
    let next = b"GET / HTTP/1.1\r\n\r\n";
    for connect in [
        &b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"CONNECT a:443 HTTP/1.1\r\nUpgrade: x\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
        b"CONNECT a:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut requests = Requests::new(BOUNDS);
        assert_eq!(requests.pass(&[connect, next].concat()), connect.len());
        requests.answered();
        assert_eq!(requests.pass(next), 0);
        assert_eq!((requests.waits(), requests.is_between()), (Waits::Answer, false));
    }
}

#[test]
fn a_stand_in_keeps_a_clean_request_line_alone() {
    assert_eq!(stand_in(b"HEAD /a?b HTTP/1.0\r\nX : y\r\nCookie: secret\r\n", BOUNDS), "HEAD /a?b HTTP/1.0\r\n\r\n");
    assert_eq!(stand_in(b"\r\nGET / HTTP/1.1\r\n\x01", BOUNDS), "GET / HTTP/1.1\r\n\r\n");
    for hostile in [&b"GET /a#b HTTP/1.1\r\n"[..], b"GET /", b"", b"\r\n\r\nGET / HTTP/1.1\r\n", b"GET / HTTP/1.1\n"] {
        assert_eq!(stand_in(hostile, BOUNDS), "- - HTTP/1.1\r\n\r\n");
    }
    let longest = format!("GET /{} HTTP/1.1\r\n", "a".repeat(1006));
    assert_eq!(stand_in(longest.as_bytes(), BOUNDS), format!("{longest}\r\n"));
    assert_eq!(stand_in(longest.replace("GET", "POST").as_bytes(), BOUNDS), "- - HTTP/1.1\r\n\r\n");
    goes_on(stand_in(b"", BOUNDS).as_bytes());
}

/// Pieces of requests, clean and not, in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: websocket\r\n",
        "\r\n",
        "\r",
        "\n",
        "7\r\n1234567\r\n",
        "0\r\n\r\n",
        "1;x\r\n",
        "a: b\r\n",
        " ",
        "\0",
        "xyz",
    ]);
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(stream in stream(), pieces in prop::collection::vec(1..9usize, 1..5)) {
        prop_assert_eq!(passed(&stream, &pieces), passed(&stream, &[stream.len().max(1)]));
    }
}
