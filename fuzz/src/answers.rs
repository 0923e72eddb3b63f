//! Answers as a strict client reads them.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use super::legal::Framing;
use super::served::MARK;

/// Reads one answer after the other.
pub struct Answers {
    stream: TcpStream,
    read: Vec<u8>,
    ended: bool,
}

/// Names in lower case, and values.
type Fields = Vec<(String, Vec<u8>)>;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// All of it came.
    pub complete: bool,
}

impl Answer {
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect()
    }

    /// It is the backend's.
    pub fn marked(&self) -> bool {
        !self.all(MARK).is_empty()
    }

    pub fn closes(&self) -> bool {
        self.all("connection").iter().any(|value| value.eq_ignore_ascii_case(b"close"))
    }
}

impl Answers {
    pub fn of(stream: TcpStream) -> Self {
        Answers { stream, read: Vec::new(), ended: false }
    }

    /// The next final answer; `None`: the connection ended before one.
    pub fn next(&mut self, to_head: bool) -> Option<Answer> {
        loop {
            let answer = self.any(to_head)?;
            if answer.status >= 200 || answer.status == 101 {
                return Some(answer);
            }
        }
    }

    /// Nothing more comes.
    pub fn is_over(&mut self) -> bool {
        while !self.ended && self.read.is_empty() {
            self.more();
        }
        self.read.is_empty()
    }

    fn any(&mut self, to_head: bool) -> Option<Answer> {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.ended => {
                    assert!(self.read.is_empty(), "half a head: {}", self.read.escape_ascii());
                    return None;
                }
                None => self.more(),
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let (status, fields, framing) = read_head(&head, to_head);
        let mut answer = Answer { status, fields, body: Vec::new(), complete: true };
        let Some(framing) = framing else {
            while !self.ended {
                self.more();
            }
            answer.body = std::mem::take(&mut self.read);
            return Some(answer);
        };
        loop {
            if let Some((length, body)) = framing.body(&self.read) {
                self.read.drain(..length);
                answer.body = body;
                return Some(answer);
            }
            if self.ended {
                answer.complete = false;
                self.read.clear();
                return Some(answer);
            }
            self.more();
        }
    }

    fn more(&mut self) {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(length) => self.read.extend(&piece[..length]),
            // libFuzzer looks at the time by a signal.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => panic!("neither answered nor closed: {error}, {}", self.read.escape_ascii()),
        }
    }
}

/// Status, fields and framing; `None`: the end of the connection ends the body.
fn read_head(head: &[u8], to_head: bool) -> (u16, Fields, Option<Framing>) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(head);
    assert_eq!(parsed, Ok(httparse::Status::Complete(head.len())), "{}", head.escape_ascii());
    let status = response.code.expect("a status");
    let fields: Vec<_> =
        response.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let all = |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| &field.1[..]).collect::<Vec<_>>();
    let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([_], []) | ([], []) if to_head || status < 200 || matches!(status, 204 | 304) => Some(Framing::Length(0)),
        ([], [coding]) if to_head && *coding == b"chunked" => Some(Framing::Length(0)),
        ([], []) => None,
        ([length], []) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            Some(Framing::Length(length.expect("a length")))
        }
        ([], [coding]) if *coding == b"chunked" => Some(Framing::Chunked),
        _ => panic!("two framings: {}", head.escape_ascii()),
    };
    (status, fields, framing)
}
