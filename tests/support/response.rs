//! One HTTP/1 response as it came over the wire, with its framing checked.

use std::io::{self, ErrorKind, Read};

/// A response: the head as sent, the body without its framing.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status line and fields, with the empty line.
    pub raw_head: String,
    pub version: String,
    pub status: u16,
    pub reason: String,
    /// In order, names as sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The value of a field that may stand there once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name).into_iter();
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands there twice:\n{}", self.raw_head);
        value
    }

    /// Every value of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }
}

/// Bytes read ahead of what was asked for.
#[derive(Debug, Default)]
pub struct Incoming {
    pub bytes: Vec<u8>,
}

impl Incoming {
    /// One response head (an interim one too).
    pub fn head(&mut self, stream: &mut impl Read) -> io::Result<Response> {
        let raw = self.until(stream, b"\r\n\r\n")?;
        Ok(parse_head(String::from_utf8(raw).unwrap()))
    }

    /// The body that belongs to this head, read by the framing that the head states.
    pub fn body(&mut self, stream: &mut impl Read, response: &mut Response, method: &str) -> io::Result<()> {
        let status = response.status;
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return Ok(());
        }
        let coding = response.header("transfer-encoding").map(str::to_owned);
        let length = response.header("content-length").map(|n| n.parse().unwrap());
        assert!(coding.is_none() || length.is_none(), "two framings:\n{}", response.raw_head);
        response.body = match (coding.as_deref(), length) {
            (Some("chunked"), _) => self.chunks(stream, &mut response.trailers)?,
            (Some(other), _) => panic!("transfer-encoding {other}"),
            (None, Some(length)) => self.exactly(stream, length)?,
            (None, None) => self.rest(stream)?,
        };
        Ok(())
    }

    pub fn exactly(&mut self, stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < length {
            self.more(stream)?;
        }
        Ok(self.bytes.drain(..length).collect())
    }

    /// Up to and with `end`.
    pub fn until(&mut self, stream: &mut impl Read, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.bytes.windows(end.len()).position(|window| window == end) {
                return Ok(self.bytes.drain(..at + end.len()).collect());
            }
            self.more(stream)?;
        }
    }

    /// All that comes until the peer closes.
    pub fn rest(&mut self, stream: &mut impl Read) -> io::Result<Vec<u8>> {
        loop {
            match self.more(stream) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(std::mem::take(&mut self.bytes)),
                Err(error) => return Err(error),
            }
        }
    }

    /// One chunked body; its trailer fields are put into `trailers`.
    pub fn chunks(&mut self, stream: &mut impl Read, trailers: &mut Vec<(String, String)>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(stream, b"\r\n")?).unwrap();
            let size =
                usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|e| panic!("{e}: chunk size {line:?}"));
            if size == 0 {
                break;
            }
            body.extend(self.exactly(stream, size)?);
            assert_eq!(self.exactly(stream, 2)?, b"\r\n", "after a chunk");
        }
        loop {
            match self.until(stream, b"\r\n")?.as_slice() {
                b"\r\n" => return Ok(body),
                line => trailers.push(field(std::str::from_utf8(line).unwrap())),
            }
        }
    }

    fn more(&mut self, stream: &mut impl Read) -> io::Result<()> {
        let mut buffer = [0; 64 << 10];
        match stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.bytes.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }
}

/// The fields of a head whose first line has been taken off.
pub fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines.filter(|line| !line.is_empty()).map(field).collect()
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
    (name.to_owned(), value.trim().to_owned())
}

fn parse_head(raw: String) -> Response {
    let mut lines = raw.split("\r\n");
    let mut first = lines.next().unwrap().splitn(3, ' ').map(str::to_owned);
    let version = first.next().unwrap();
    let status = first.next().unwrap_or_default().parse().unwrap_or_else(|_| panic!("not a status line: {raw:?}"));
    let reason = first.next().unwrap_or_default();
    let headers = fields(lines);
    Response { raw_head: raw, version, status, reason, headers, body: Vec::new(), trailers: Vec::new() }
}
