//! How much of an HTTP/2 connection is frames that carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown ones.
//! The library has no bound for these. Sans I/O: looks at the nine bytes in front of each frame that passes, and skips
//! what they announce; `metered` gives it both directions and ends the connection.
//!
//! Each connection has an allowance in bytes, which such frames of the other side use up. Frames of content fill it up, in
//! either direction, since who takes many of them gives windows back and measures the way with pings; so does time. Some
//! frames of content bring nothing on either: of empty ones there may be a few in a row, of interim heads some for each
//! request. And it counts in how many pieces of memory small frames may lie that nobody has read.

use hashbrown::HashMap;

use super::clock::Millis;

/// What the allowance holds: 7,700 pings, or 14,000 empty SETTINGS. No client is known to send a hundred at once.
const ALLOWANCE: i64 = 128 << 10;

/// What a frame of content earns that we send, even of one byte, and a request: two window updates, a ping and the answer
/// to one. Data that comes earns by its bytes alone, for one byte of it costs us as much as a ping.
const PER_FRAME: i64 = 64;

/// Of so many bytes of content one is earned: clients that give windows back for every 4 KiB need a twentieth of that.
const PER_BYTE: i64 = 8;

/// Earned in a second, which is 60 pings.
const PER_SECOND: i64 = 1 << 10;

/// Heads of one answer, and their bytes. Interim ones may tell for long that it takes long.
const HEADS: u32 = 1000;
const HEAD_BYTES: u32 = 512 << 10;

/// DATA in a row that is empty and ends no stream: a library may flush a few times, nobody has more use.
const EMPTY_IN_A_ROW: u32 = 50;

/// The library keeps what it has read in pieces of this size, each for as long as a part of it is unread.
const KEPT: u64 = 8 << 10;

/// Frames of DATA below it are small. Of larger ones, the window of a stream bounds how many can be unread.
const SMALL: u32 = 1 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;

/// Error codes of RST_STREAM: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR.
const ERRORS: [u32; 4] = [1, 3, 5, 6];
const REFUSED_STREAM: u32 = 7;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, which no frame is.
const PREFACE: u32 = 24;

/// What is left of a connection's allowance.
#[derive(Debug)]
pub struct Allowance {
    left: i64,
    /// Until when time was counted.
    since: Millis,
    /// Of DATA, the empty ones in a row.
    empty: u32,
    /// The heads of answers that have come, and their bytes, by stream. `None`: we are the one who answers.
    heads: Option<HashMap<u32, (u32, u32)>>,
    received: Place,
    sent: Place,
    /// The other side knows our settings. Until then, the last stream that it opened.
    settled: bool,
    unsettled: u32,
    /// Pieces with small frames in them, since all was read last, and the last of them.
    kept: u32,
    piece: u64,
}

/// Where in a stream of frames the next byte stands.
#[derive(Debug, Default)]
struct Place {
    /// With the error code, if it is a RST_STREAM.
    head: [u8; 13],
    /// Bytes of `head` that came.
    begun: usize,
    /// Bytes to come before the next head.
    payload: u32,
    /// Bytes that have passed.
    passed: u64,
    /// Heads of frames that have.
    frames: usize,
}

impl Allowance {
    /// For the connection of a client, whose preface is received.
    pub fn of_client(now: Millis) -> Self {
        Self::new(now, PREFACE, 0, None)
    }

    /// For a connection to a backend, which begins with a preface of ours.
    pub fn of_backend(now: Millis) -> Self {
        Self::new(now, 0, PREFACE, Some(HashMap::new()))
    }

    fn new(now: Millis, received: u32, sent: u32, heads: Option<HashMap<u32, (u32, u32)>>) -> Self {
        let [received, sent] = [received, sent].map(|payload| Place { payload, ..Place::default() });
        Allowance {
            left: ALLOWANCE,
            since: now,
            empty: 0,
            heads,
            received,
            sent,
            settled: false,
            unsettled: 0,
            kept: 0,
            piece: 0,
        }
    }

    /// These bytes came from the other side. False: it has sent too much that carries nothing.
    pub fn received(&mut self, bytes: &[u8], now: impl FnOnce() -> Millis) -> bool {
        let Allowance { left, empty, heads, received, settled, unsettled, kept, piece, .. } = self;
        let mut few_heads = true;
        received.pass(bytes, |frame| {
            *left = (*left + frame.received_earns(heads.is_none())).min(ALLOWANCE);
            if frame.kind == DATA {
                *empty = if frame.is_void() { *empty + 1 } else { 0 };
                if frame.is_small() && *piece != frame.end.div_ceil(KEPT) {
                    *piece = frame.end.div_ceil(KEPT);
                    *kept += 1;
                }
            }
            match heads {
                Some(heads) => few_heads &= frame.is_of_few(heads),
                None if frame.kind == SETTINGS => *settled |= frame.flags & ACK != 0,
                None if frame.kind == HEADERS && !*settled => *unsettled = frame.stream,
                None => {}
            }
        });
        few_heads && self.empty <= EMPTY_IN_A_ROW && (self.left >= 0 || self.has_waited(now()))
    }

    /// These bytes went to the other side. Only what they carry counts. Gives how many streams they reset for an
    /// error of a client, or refuse one that could know better.
    pub fn sent(&mut self, bytes: &[u8]) -> u32 {
        let Allowance { left, heads, sent, unsettled, .. } = self;
        let mut provoked = 0;
        sent.pass(bytes, |frame| {
            *left = (*left + frame.sent_earns()).min(ALLOWANCE);
            match (frame.kind, heads.as_mut()) {
                (HEADERS, Some(heads)) => drop(heads.entry(frame.stream).or_default()),
                (RST_STREAM, Some(heads)) => drop(heads.remove(&frame.stream)),
                (RST_STREAM, None) if frame.is_provoked(*unsettled) => provoked += 1,
                _ => {}
            }
        });
        provoked
    }

    /// Frames of the other side that have begun.
    pub fn frames(&self) -> usize {
        self.received.frames
    }

    /// Bytes to come before something can be put in front of the next frame; at least, if they are few.
    pub fn under_way(&self) -> usize {
        self.received.under_way()
    }

    /// Pieces of 8 KiB that the library keeps, if no small frame of the other side was read.
    pub fn kept(&self) -> u32 {
        self.kept
    }

    /// All of them were.
    pub fn gathered(&mut self) {
        self.kept = 0;
    }

    /// What time has earned makes up for what is missing.
    fn has_waited(&mut self, now: Millis) -> bool {
        let waited = i64::try_from(now.saturating_sub(self.since)).unwrap_or(i64::MAX);
        self.since = now;
        self.left = self.left.saturating_add(waited.saturating_mul(PER_SECOND) / 1000).min(ALLOWANCE);
        self.left >= 0
    }
}

/// What stands in front of a payload.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u32,
    /// Of a RST_STREAM.
    code: u32,
    /// Bytes of its direction that have passed once it has.
    end: u64,
}

impl Frame {
    /// What it adds to the allowance, or takes from it, if it came. A frame of DATA without data carries nothing, a head of
    /// an answer nothing beyond what the request was worth.
    fn received_earns(&self, is_request: bool) -> i64 {
        let length = i64::from(self.length);
        match self.kind {
            DATA if length == 0 => -9,
            DATA => length / PER_BYTE,
            HEADERS | CONTINUATION if is_request => PER_FRAME + length / PER_BYTE,
            HEADERS | CONTINUATION => 0,
            _ => -9 - length,
        }
    }

    /// The same if we sent it, which takes nothing.
    fn sent_earns(&self) -> i64 {
        match self.kind {
            DATA if self.length == 0 => 0,
            DATA | HEADERS | CONTINUATION => PER_FRAME + i64::from(self.length) / PER_BYTE,
            _ => 0,
        }
    }

    fn is_provoked(&self, unsettled: u32) -> bool {
        ERRORS.contains(&self.code) || self.code == REFUSED_STREAM && self.stream > unsettled
    }

    fn is_void(&self) -> bool {
        self.length == 0 && self.flags & END_STREAM == 0
    }

    fn is_small(&self) -> bool {
        (1..SMALL).contains(&self.length)
    }

    /// Counts it if it belongs to the `heads` of an answer. False: there are too many, or they are too large.
    fn is_of_few(&self, heads: &mut HashMap<u32, (u32, u32)>) -> bool {
        if self.kind == RST_STREAM || matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0 {
            heads.remove(&self.stream);
        } else if matches!(self.kind, HEADERS | CONTINUATION)
            && let Some((count, bytes)) = heads.get_mut(&self.stream)
        {
            *count += 1;
            *bytes += self.length;
            return *count <= HEADS && *bytes <= HEAD_BYTES;
        }
        true
    }
}

impl Place {
    fn pass(&mut self, mut bytes: &[u8], mut frame: impl FnMut(Frame)) {
        loop {
            let skipped = bytes.len().min(self.payload as usize);
            self.payload -= skipped as u32;
            self.passed += skipped as u64;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(self.head_length() - self.begun);
            self.head[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            self.passed += taken as u64;
            bytes = &bytes[taken..];
            if self.begun == self.head_length() {
                frame(self.complete());
            }
        }
    }

    /// Of a RST_STREAM as it should be, that is all of it.
    fn head_length(&self) -> usize {
        if self.begun >= 9 && self.head[..4] == [0, 0, 4, RST_STREAM] { 13 } else { 9 }
    }

    fn complete(&mut self) -> Frame {
        let [high, middle, low, kind, flags, s1, s2, s3, s4, code @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload = length - (self.begun as u32 - 9);
        self.begun = 0;
        self.frames += 1;
        let end = self.passed + u64::from(self.payload);
        let (stream, code) = (u32::from_be_bytes([s1, s2, s3, s4]), u32::from_be_bytes(code));
        Frame { kind, flags, stream, length, code, end }
    }

    fn under_way(&self) -> usize {
        if self.begun > 0 { self.head_length() - self.begun } else { self.payload as usize }
    }
}

#[cfg(test)]
mod tests;
