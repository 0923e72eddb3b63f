//! A backend for what nginx does not do cheaply: `/ws` is a websocket that sends each message back, `/upload` is read to its
//! end, any other path is answered by half of a body, whose other half never comes. One thread; understands just what
//! `load` sends through a proxy.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The answer to the key of the example in RFC 6455, which `load` uses.
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\nX-Accel-Buffering: no\r\n\r\n";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address: SocketAddr = std::env::args().nth(1).context("usage: echo ADDRESS:PORT")?.parse()?;
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let mut filled = 0;
        let end = loop {
            filled += some(stream.read(&mut buffer[filled..]).await?)?;
            if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break end;
            }
        };
        if buffer.starts_with(b"GET /ws ") {
            stream.write_all(SWITCH).await?;
            return echo(stream, buffer).await;
        }
        if !buffer.starts_with(b"POST /upload ") {
            stream.write_all(HALF).await?;
            // Less than this, and some proxies would wait for more of it.
            stream.write_all(&[b'x'; 32 << 10]).await?;
            while some(stream.read(&mut buffer).await?).is_ok() {}
            return Ok(());
        }
        let mut had = filled - end - 4;
        let length = length(&buffer[..end]).context("an upload of unknown length")?;
        while had < length {
            had += some(stream.read(&mut buffer).await?)?;
        }
        stream.write_all(WHOLE).await?;
    }
}

fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
    let (_, rest) = head.split_once("\r\ncontent-length:")?;
    rest.lines().next()?.trim().parse().ok()
}

/// Takes frames of less than 126 bytes, which clients mask, and sends them back as servers do.
async fn echo(mut stream: TcpStream, mut buffer: Vec<u8>) -> Result<()> {
    let (mut filled, mut back) = (0, Vec::new());
    loop {
        filled += some(stream.read(&mut buffer[filled..]).await?)?;
        let mut taken = 0;
        while let [kind, length, mask @ ..] = &buffer[taken..filled] {
            let length = usize::from(length & 0x7f);
            let Some((mask, payload)) = mask.split_first_chunk::<4>() else { break };
            let Some(payload) = payload.get(..length) else { break };
            back.extend([*kind, length as u8]);
            back.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            taken += 6 + length;
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        stream.write_all(&back).await?;
        back.clear();
    }
}

fn some(read: usize) -> Result<usize> {
    (read > 0).then_some(read).context("closed")
}
