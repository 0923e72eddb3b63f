//! HTTP/2 as bytes: frames written by hand, and what of the other side's is looked at.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: Vec<u8>) -> Self {
        Frame { kind, flags, stream, payload }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes(), &self.payload].concat()
    }
}

/// A field as HPACK has it, literally and without an entry in the table.
pub fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        block.push(text.len() as u8);
        block.extend(text);
    }
}

pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    fields.iter().for_each(|(name, value)| literal(&mut bytes, name, value));
    bytes
}

/// What the other side sends until `done`, or until it ends the connection; true: it was `done`.
pub fn until(stream: &mut TcpStream, mut done: impl FnMut(&Frame) -> bool) -> bool {
    let mut head = [0; 9];
    while read(stream, &mut head) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        assert!(length <= 16_384, "a frame larger than allowed");
        let mut payload = vec![0; length as usize];
        if !read(stream, &mut payload) {
            break;
        }
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame::new(head[3], head[4], id, payload);
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            _ = stream.write_all(&Frame::new(SETTINGS, ACK, 0, Vec::new()).bytes());
        }
        if done(&frame) {
            return true;
        }
    }
    false
}

/// False: the connection has ended.
fn read(stream: &mut TcpStream, bytes: &mut [u8]) -> bool {
    match stream.read_exact(bytes) {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => false,
        Err(error) => panic!("neither answered nor closed: {error}"),
    }
}
