//! HTTP/2 written by hand, for what no library would send.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};

use super::client::{Client, closed, tcp};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const PROTOCOL_ERROR: u32 = 1;
pub const ENHANCE_YOUR_CALM: u32 = 11;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame as read.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection after the preface and an empty SETTINGS frame were sent.
pub struct Frames {
    pub client: Client,
}

impl Frames {
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// The other side: the next connection of `listener`, after its preface was read.
    pub fn accept(listener: &TcpListener) -> Self {
        let mut client = Client::over(listener.accept().unwrap().0);
        client.stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).unwrap();
        let mut frames = Frames { client };
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// With these settings (identifier, value). The peer's header table is switched off, so that [`Frames::status`] needs
    /// no state.
    pub fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Client::over(tcp(address));
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut frames = Frames { client };
        let payload: Vec<u8> = [(1, 0)]
            .iter()
            .chain(settings)
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        frames.send(SETTINGS, 0, 0, &payload);
        frames
    }

    #[track_caller]
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.send(frame(kind, flags, stream, payload));
    }

    /// As [`Frames::send`]; an error means that the peer is done with us.
    pub fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        use std::io::Write;
        self.client.stream.write_all(&frame(kind, flags, stream, payload))
    }

    /// A GET without a body on this stream.
    #[track_caller]
    pub fn get(&mut self, stream: u32, authority: &str, path: &str) {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", path)];
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &encode(&fields));
    }

    /// The next frame; `None` once the peer has closed.
    #[track_caller]
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.client.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if closed(&error) => return None,
            Err(error) => panic!("no frame: {error}"),
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if self.client.stream.read_exact(&mut payload).is_err() {
            return None;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on until a frame of this kind that `wanted` accepts; SETTINGS and PING are answered on the way.
    #[track_caller]
    pub fn until(&mut self, kind: u8, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind && wanted(&frame) {
                return Some(frame);
            }
            if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
                let payload: &[u8] = if frame.kind == PING { &frame.payload } else { &[] };
                let _ = self.try_send(frame.kind, ACK, 0, payload);
            }
        }
    }

    /// The error code of the first GOAWAY; `None` if the connection just closed.
    #[track_caller]
    pub fn goaway_code(&mut self) -> Option<u32> {
        self.until(GOAWAY, |_| true).map(|frame| code(&frame.payload[4..]))
    }

    /// How the connection ends: the last stream that its GOAWAY takes, and the error code. Zeros: it just closes. `None`: it
    /// goes on.
    #[track_caller]
    pub fn ending(&mut self) -> Option<(u32, u32)> {
        let _ = self.try_send(PING, 0, 0, b"go on?..");
        let mut ending = (0, 0);
        while let Some(next) = self.next() {
            match next.kind {
                GOAWAY => ending = (code(&next.payload), code(&next.payload[4..])),
                PING if next.flags & ACK != 0 && next.payload == b"go on?.." => return None,
                _ => {}
            }
        }
        Some(ending)
    }

    /// The error code with which this stream is reset; `None` if the connection closed instead.
    #[track_caller]
    pub fn reset_code(&mut self, stream: u32) -> Option<u32> {
        self.until(RST_STREAM, |frame| frame.stream == stream).map(|frame| code(&frame.payload))
    }

    /// The status of the response on this stream.
    #[track_caller]
    pub fn status(&mut self, stream: u32) -> u16 {
        let head = self.until(HEADERS, |frame| frame.stream == stream).expect("a response head");
        status(&head.payload)
    }
}

/// A header block of literal fields without indexing and without Huffman coding.
pub fn encode(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value.as_bytes());
    }
    block
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..127 => block.push(short as u8),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend(text);
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The status that stands first in a header block, as h2 encodes it: indexed, or literal with an indexed name.
pub fn status(block: &[u8]) -> u16 {
    let updates = block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count();
    let block = &block[updates..];
    match block[0] {
        0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(block[0] - 0x88)],
        0x48 | 0x08 | 0x18 => {
            let huffman = block[1] & 0x80 != 0;
            let text = &block[2..2 + usize::from(block[1] & 0x7f)];
            if huffman { huffman_digits(text) } else { std::str::from_utf8(text).unwrap().parse().unwrap() }
        }
        other => panic!("a header block that starts with {other:#x}"),
    }
}

/// Three digits in HPACK's Huffman code: 0, 1, 2 are 5 bits from 0; 3 to 9 are 6 bits from 0x19.
fn huffman_digits(text: &[u8]) -> u16 {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let (mut at, mut value) = (0, 0);
    for _ in 0..3 {
        let take = |n: usize| bits[at..at + n].iter().fold(0u16, |sum, bit| sum << 1 | u16::from(*bit));
        let (digit, used) = if take(5) < 3 { (take(5), 5) } else { (take(6) - 0x19 + 3, 6) };
        value = value * 10 + digit;
        at += used;
    }
    value
}
