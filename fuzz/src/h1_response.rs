//! Bytes of a hostile backend: the client gets a whole answer with one framing, or an abort, or 502; and nobody else gets
//! anything of it.

use std::io::Write;
use std::sync::OnceLock;

use super::answers::Answers;
use super::legal::Framing;
use super::served::{Answer, MARK, Served};

/// Names that mean something between a backend and us only.
const NEVER: [&str; 6] = ["keep-alive", "proxy-connection", "upgrade", "te", "trailer", "proxy-authenticate"];

static SERVED: OnceLock<Served> = OnceLock::new();

/// The first byte says how it is asked and how it answers.
pub fn judge(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let served = SERVED.get_or_init(Served::start);
    let to_head = first & 1 == 1;
    let strict = read(bytes, to_head);
    // Where it would be waited for, nothing more comes.
    let ends = first & 2 == 0 || !matches!(strict, Some(Strict::Whole { .. }));
    let pieces = if first & 4 == 0 { bytes.len() } else { usize::from(first >> 3) };
    served.answer(Some(Answer { bytes: bytes.to_vec(), pieces, ends }));
    let mut client = served.connect();
    let method = if to_head { "HEAD" } else { "GET" };
    let close = "Host: a.test\r\nConnection: close\r\n\r\n";
    client.write_all(format!("{method} / HTTP/1.1\r\n{close}").as_bytes()).expect("written");
    let mut answers = Answers::of(client);
    if let Some(answer) = answers.next(to_head) {
        assert_ne!(answer.status, 101, "nobody asked for it");
        let never = NEVER.iter().find(|name| !answer.all(name).is_empty());
        assert_eq!(never, None, "{answer:?}");
        assert_eq!(answer.all("server"), [b"headgate"]);
        match strict {
            Some(Strict::Whole { status, body }) if answer.status == status && answer.complete => {
                assert_eq!(answer.body.escape_ascii().to_string(), body.escape_ascii().to_string());
            }
            Some(Strict::Short { status, length }) if answer.status == status => {
                assert!(!answer.complete, "{length} bytes were announced, {answer:?}");
            }
            _ => {}
        }
    }
    assert!(answers.is_over(), "more than one answer");
    if pieces < bytes.len() {
        // Bytes behind the answer that come when the next request is on its way are an answer to that, and may spoil it.
        served.ask("/spoiled");
    }
    // What is left over is nobody's, also if the connection stayed.
    served.check();
}

/// What a strict reader makes of it.
enum Strict {
    Whole {
        status: u16,
        body: Vec<u8>,
    },
    /// Fewer bytes than announced, and then the end.
    Short {
        status: u16,
        length: u64,
    },
}

fn read(bytes: &[u8], to_head: bool) -> Option<Strict> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = response.parse(bytes) else { return None };
    let status = response.code.filter(|status| *status >= 200)?;
    let all = |name: &str| {
        let named = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect::<Vec<_>>()
    };
    if response.version != Some(1) || !all(MARK).is_empty() {
        return None;
    }
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) | ([_], []) if to_head || matches!(status, 204 | 304) => Framing::Length(0),
        ([length], []) if length.iter().all(u8::is_ascii_digit) => {
            Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => return None,
    };
    match (framing.body(&bytes[end..]), framing) {
        (Some((_, body)), _) => Some(Strict::Whole { status, body }),
        (None, Framing::Length(length)) => Some(Strict::Short { status, length }),
        (None, Framing::Chunked) => None,
    }
}
