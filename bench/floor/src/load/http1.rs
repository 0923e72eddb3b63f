//! HTTP/1.1 with as little work as will do: the request is bytes, of the answer only status and length are read.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connect::Stream;

pub(crate) struct Connection {
    pub(crate) stream: Box<dyn Stream>,
    /// Its TLS session was taken up again.
    pub(crate) resumed: bool,
    buffer: Vec<u8>,
}

pub(crate) struct Head {
    pub(crate) status: u16,
    length: usize,
    /// What of the body came with the head.
    had: usize,
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Stream>, resumed: bool) -> Self {
        Self { stream, resumed, buffer: vec![0; 64 << 10] }
    }

    /// Status, and length of the body, of the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<(u16, usize)> {
        let head = self.ask(request).await?;
        let mut had = head.had;
        while had < head.length {
            let read = self.stream.read(&mut self.buffer).await.context("body")?;
            ensure!(read > 0, "the answer broke off after {had} of {} bytes", head.length);
            had += read;
        }
        ensure!(had == head.length, "more came than the length of {}", head.length);
        Ok((head.status, head.length))
    }

    /// Sends a request, and reads the head of its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Head> {
        self.stream.write_all(request).await.context("request")?;
        self.stream.flush().await.context("request")?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.context("head")?;
            ensure!(read > 0, "closed before the answer");
            filled += read;
            if let Some(end) = memchr::memmem::find(&self.buffer[..filled], b"\r\n\r\n") {
                return head(&self.buffer[..end + 2], filled - end - 4);
            }
            ensure!(filled < self.buffer.len(), "the head of the answer does not end");
        }
    }
}

fn head(text: &[u8], had: usize) -> Result<Head> {
    let status = text.get(9..12).context("short status line")?;
    let status = std::str::from_utf8(status)?.parse().context("status")?;
    if status == 101 {
        return Ok(Head { status, length: had, had });
    }
    for line in text.split(|&byte| byte == b'\n') {
        if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
            let length = std::str::from_utf8(&line[15..])?.trim().parse().context("content-length")?;
            return Ok(Head { status, length, had });
        }
    }
    bail!("an answer without length: {}", String::from_utf8_lossy(text))
}
