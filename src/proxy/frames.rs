//! How much of an HTTP/2 connection is frames that carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown ones.
//! The library has no bound for these. Sans I/O: looks at the nine bytes in front of each frame that passes, and skips
//! what they announce; `metered` gives it both directions and ends the connection.
//!
//! Each connection has an allowance in bytes, which such frames of the other side use up. Frames of content fill it up, in
//! either direction, since who takes many of them gives windows back and measures the way with pings; so does time. Some
//! frames of content bring nothing on either; of those there may be a few in a row.

use super::clock::Millis;

/// What the allowance holds: 7,700 pings, or 14,000 empty SETTINGS. No client is known to send a hundred at once.
const ALLOWANCE: i64 = 128 << 10;

/// What a frame of content earns, even of one byte: two window updates, a ping and the answer to one.
const PER_FRAME: i64 = 64;

/// Of so many bytes of content one is earned: clients that give windows back for every 4 KiB need a twentieth of that.
const PER_BYTE: i64 = 8;

/// Earned in a second, which is 60 pings.
const PER_SECOND: i64 = 1 << 10;

/// Interim heads in a row: those of a stream that the last head was for. They may tell for long that an answer takes long.
const HEADS_IN_A_ROW: u32 = 1000;

/// As so many of them counts DATA that is empty and ends no stream: a library may flush a few times, nobody has more use.
const HEADS_PER_EMPTY: u32 = 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, which no frame is.
const PREFACE: u32 = 24;

/// What is left of a connection's allowance.
#[derive(Debug)]
pub struct Allowance {
    left: i64,
    /// Until when time was counted.
    since: Millis,
    /// Of heads and empty DATA, those in a row.
    row: u32,
    /// The stream of the last head.
    head_of: u32,
    received: Place,
    sent: Place,
}

/// Where in a stream of frames the next byte stands.
#[derive(Debug, Default)]
struct Place {
    head: [u8; 9],
    /// Bytes of `head` that came.
    begun: usize,
    /// Bytes to come before the next head.
    payload: u32,
}

impl Allowance {
    /// For the connection of a client, whose preface is received.
    pub fn of_client(now: Millis) -> Self {
        Self::new(now, PREFACE, 0)
    }

    /// For a connection to a backend, which begins with a preface of ours.
    pub fn of_backend(now: Millis) -> Self {
        Self::new(now, 0, PREFACE)
    }

    fn new(now: Millis, received: u32, sent: u32) -> Self {
        let place = |payload| Place { payload, ..Place::default() };
        Allowance { left: ALLOWANCE, since: now, row: 0, head_of: 0, received: place(received), sent: place(sent) }
    }

    /// These bytes came from the other side. False: it has sent too much that carries nothing.
    pub fn received(&mut self, bytes: &[u8], now: impl FnOnce() -> Millis) -> bool {
        let Allowance { left, row, head_of, received, .. } = self;
        received.pass(bytes, |frame| {
            *left = (*left + frame.earns()).min(ALLOWANCE);
            *row = match frame.kind {
                DATA if frame.is_void() => *row + HEADS_PER_EMPTY,
                HEADERS if frame.stream == *head_of => *row + 1,
                DATA | HEADERS => 0,
                _ => *row,
            };
            if frame.kind == HEADERS {
                *head_of = frame.stream;
            }
        });
        self.row <= HEADS_IN_A_ROW && (self.left >= 0 || self.has_waited(now()))
    }

    /// These bytes went to the other side. Only what they carry counts.
    pub fn sent(&mut self, bytes: &[u8]) {
        let Allowance { left, sent, .. } = self;
        sent.pass(bytes, |frame| *left = (*left + frame.earns().max(0)).min(ALLOWANCE));
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
}

impl Frame {
    /// What it adds to the allowance, or takes from it. A frame of DATA without data carries nothing.
    fn earns(&self) -> i64 {
        let length = i64::from(self.length);
        match self.kind {
            DATA if length == 0 => -9,
            DATA | HEADERS | CONTINUATION => PER_FRAME + length / PER_BYTE,
            _ => -9 - length,
        }
    }

    fn is_void(&self) -> bool {
        self.length == 0 && self.flags & END_STREAM == 0
    }
}

impl Place {
    fn pass(&mut self, mut bytes: &[u8], mut frame: impl FnMut(Frame)) {
        loop {
            let skipped = bytes.len().min(self.payload as usize);
            self.payload -= skipped as u32;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = bytes.len().min(self.head.len() - self.begun);
            self.head[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            bytes = &bytes[taken..];
            if self.begun < self.head.len() {
                return;
            }
            let [high, middle, low, kind, flags, stream @ ..] = self.head;
            self.begun = 0;
            self.payload = u32::from_be_bytes([0, high, middle, low]);
            frame(Frame { kind, flags, stream: u32::from_be_bytes(stream), length: self.payload });
        }
    }
}

#[cfg(test)]
mod tests;
