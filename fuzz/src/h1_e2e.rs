//! Bytes of a client through the whole proxy, in any pieces: each request that is whole is answered in its turn; what reaches
//! the backend is exactly what was asked, with a framing of our own; a refused one ends the connection.

use std::io::Write;
use std::sync::OnceLock;

use headgate::proxy::framing::{Bounds, Waits};
use headgate::proxy::head_check;
use http::{Method, Version};

use super::answers::Answers;
use super::requests::{self, Whole};
use super::served::{Seen, Served};

/// Those that ship.
const BOUNDS: Bounds = Bounds { size: 64 << 10, fields: 100 };

static SERVED: OnceLock<Served> = OnceLock::new();

/// The first byte says in what pieces the others are written.
pub fn judge(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    if stream.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return;
    }
    let (requests, waits) = requests::whole(stream, BOUNDS);
    let served = SERVED.get_or_init(Served::start);
    served.seen();
    let mut client = served.connect();
    let pieces = if first % 2 == 0 { stream.len().max(1) } else { usize::from(*first) };
    // It may have had enough.
    _ = stream.chunks(pieces).try_for_each(|piece| client.write_all(piece));
    let mut answers = Answers::of(client);
    let mut forwarded = Vec::new();
    let mut closes = false;
    for request in &requests {
        let Some(answer) = answers.next(request.parts.method == Method::HEAD) else {
            assert!(closes, "no answer to {:?}", request.parts);
            break;
        };
        assert!(!closes, "an answer behind the last one");
        assert!(answer.complete && answer.status != 101);
        let stays = request.parts.version == Version::HTTP_11 || !answer.all("connection").is_empty();
        closes = answer.closes() || !stays;
        forwarded.extend(answer.marked().then_some(request));
    }
    if !closes && matches!(waits, Waits::Refused(_) | Waits::Broken) {
        if let Some(answer) = answers.next(false) {
            assert!((400..500).contains(&answer.status) && !answer.marked() && answer.closes(), "{answer:?}");
        }
        closes = true;
    }
    assert!(!closes || answers.is_over(), "an answer behind the last one");
    let seen = served.seen();
    assert_eq!(seen.len(), forwarded.len());
    seen.iter().zip(forwarded).for_each(|(seen, request)| check(seen, request));
    drop(answers);
    served.check();
}

/// What reached the backend is what was asked.
fn check(seen: &Seen, request: &Whole) {
    let Whole { parts, body } = request;
    let checked = head_check::check(parts, false, BOUNDS.fields).expect("it was forwarded");
    let line = format!("{} {} HTTP/1.1\r\n", parts.method, checked.target(&parts.uri));
    assert!(seen.head.starts_with(line.as_bytes()), "{line} {}", seen.head.escape_ascii());
    let head = String::from_utf8_lossy(&seen.head).to_lowercase();
    let host = format!("\r\nhost: {}\r\n", checked.authority().to_str().expect("ASCII"));
    assert!(head.contains(&host), "{host} {head}");
    assert_eq!(seen.body, *body);
}
