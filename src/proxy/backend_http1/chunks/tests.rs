use proptest::prelude::*;

use super::*;

/// The data of a body, the number of its pieces, and the error that follows, if it comes in pieces of so many bytes.
fn read(body: &[u8], piece: usize) -> (Vec<u8>, usize, Option<io::ErrorKind>, bool) {
    let (mut chunks, mut ahead) = (Chunks::default(), Bytes::new());
    let (mut data, mut pieces) = (Vec::new(), 0);
    for piece in body.chunks(piece) {
        ahead = [&ahead[..], piece].concat().into();
        loop {
            match chunks.next(&mut ahead) {
                Ok(Some(frame)) => {
                    pieces += 1;
                    data.extend(frame.into_data().unwrap_or_default());
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(chunks.next(&mut ahead).is_err(), "it comes again");
                    return (data, pieces, Some(error.kind()), false);
                }
            }
        }
    }
    (data, pieces, None, chunks.is_over() && ahead.is_empty())
}

#[test]
fn chunks_that_come_together_go_on_together() {
    let body = "1\r\nx\r\n".repeat(6000) + "0\r\n\r\n";
    assert_eq!(read(body.as_bytes(), body.len()), (vec![b'x'; 6000], 1, None, true));
    assert_eq!(read(body.as_bytes(), 6), (vec![b'x'; 6000], 6000, None, true), "those that come alone go on alone");
    let body = "1\r\nx\r\n".repeat(TOGETHER + 1) + "0\r\n\r\n";
    assert_eq!(read(body.as_bytes(), body.len()), (vec![b'x'; TOGETHER + 1], 2, None, true));
}

#[test]
fn a_large_chunk_is_a_piece_and_its_end_is_seen_with_it() {
    let body = format!("10000\r\n{}\r\n0\r\n\r\n", "x".repeat(64 << 10));
    let (mut chunks, mut ahead) = (Chunks::default(), Bytes::from(body));
    let data = chunks.next(&mut ahead).unwrap().unwrap().into_data().unwrap();
    assert_eq!((data.len(), chunks.is_over()), (64 << 10, true));
}

#[test]
fn what_is_good_goes_on_before_what_is_not() {
    for (good, bad) in [
        ("5\r\nhello", "xyz"),
        ("5\r\nhello\r\n", "xyz\r\n"),
        ("5\r\nhello\r\n", "-1\r\n"),
        ("5\r\nhello\r\n1", "_\r\n"),
        ("5\r\nhello\r\n1;", "\nx"),
        ("5\r\nhello\r\n1 ", "1\r\n"),
        ("5\r\nhello\r\nffffffffffffffff", "f\r\n"),
        ("5 ;a=\"b\"\r\nhello\r\n0\r\n", "a b\r\n\r\n"),
        ("5\t \r\nhello\r\n0\r\n", "\n\r\n\r\n"),
        ("5\r\nhello\r\n0\r\n\r", "x"),
    ] {
        let body = [good, bad].concat();
        for piece in [body.len(), 1, 2] {
            let (data, _, error, _) = read(body.as_bytes(), piece);
            assert_eq!((&data[..], error), (&b"hello"[..], Some(io::ErrorKind::InvalidData)), "{body:?}");
        }
    }
}

#[test]
fn what_stands_around_chunks_is_bounded() {
    let fails = |body: String| read(body.as_bytes(), 8192).2.is_some();
    assert!(fails("0".repeat(300 << 10)));
    assert!(fails(format!("{}1\r\nx\r\n", "0".repeat(1000)).repeat(1000)));
    assert!(!fails("00000001\r\nx\r\n".repeat(100_000)));
    let extensions = |bytes: usize| format!("1;{}\r\nx\r\n", "e".repeat(64)).repeat(bytes / 64);
    assert!(!fails(extensions(MAX_EXTENSIONS)));
    assert!(fails(extensions(MAX_EXTENSIONS + 64)));
    let trailers = |bytes: usize| format!("0\r\na:{}\r\n\r\n", "b".repeat(bytes - 6));
    assert!(!fails(trailers(MAX_TRAILERS)));
    assert!(fails(trailers(MAX_TRAILERS + 1)));
    assert!(fails(trailers(2 * MAX_TRAILERS)));
    assert!(fails(format!("0\r\n{}\r\n", "a:b\r\n".repeat(MAX_FIELDS + 1))));
}

/// Pieces of chunked bodies, clean and not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "5\r\nhello\r\n",
        "1\r\nx\r\n",
        "1 ;e\r\nx\r\n",
        "0\r\n",
        "a: b\r\n",
        "\r\n",
        "\r",
        "\n",
        "f",
        "z",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn pieces_make_no_difference(body in body(), piece in 1..9usize) {
        let (whole, parts) = (read(&body, body.len().max(1)), read(&body, piece));
        prop_assert_eq!((&whole.0, whole.3), (&parts.0, parts.3));
        // A malformed end of trailers is seen once it is there.
        prop_assert_eq!(whole.2, parts.2);
    }
}
