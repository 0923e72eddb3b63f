//! Websockets: a handshake whose outcome is known beforehand, then small messages there and back.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::args::Args;
use crate::http1::Connection;

/// Opens a websocket, with the key of the example in RFC 6455.
pub(crate) async fn upgrade(connection: &mut Connection, args: &Args) -> Result<()> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        args.path, args.host
    );
    let (status, _) = connection.exchange(request.as_bytes()).await?;
    ensure!(status == 101, "no websocket: {status}");
    Ok(())
}

/// Sends a message and waits until it has come back.
pub(crate) async fn message(connection: &mut Connection, payload: u8) -> Result<()> {
    let length = usize::from(payload);
    ensure!(length < 126, "longer messages have another form");
    let mut frame = vec![0x82, 0x80 | payload, 1, 2, 3, 4];
    frame.extend((0..length).map(|at| b'x' ^ [1, 2, 3, 4][at % 4]));
    connection.stream.write_all(&frame).await.context("message")?;
    connection.stream.flush().await.context("message")?;
    let mut back = [0; 128];
    let back = &mut back[..2 + length];
    connection.stream.read_exact(back).await.context("echo")?;
    ensure!(back[..2] == [0x82, payload] && back[2..].iter().all(|&byte| byte == b'x'), "not what was sent");
    Ok(())
}
