//! Websocket (RFC 6455) as an echo needs it: the handshake, then every frame back as it came, pings answered, a close
//! answered and the connection ended. A frame is passed on while it is read, so its length costs no memory.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};

use super::answer::AnswerBody;

/// Proves that the server understood the handshake (RFC 6455 §1.3).
const HANDSHAKE_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const PROTOCOL_ERROR: u16 = 1002;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The value of `Sec-WebSocket-Accept`, if the request is a websocket handshake.
pub(super) fn accept_value<B>(request: &Request<B>) -> Option<HeaderValue> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY)?;
    if !asks_for_websocket(request.headers()) {
        return None;
    }
    let proof = Sha1::new().chain_update(key.as_bytes()).chain_update(HANDSHAKE_SUFFIX).finalize();
    HeaderValue::from_str(&BASE64_STANDARD.encode(proof)).ok()
}

/// Answers 101 and echoes once the connection is ours.
pub(super) fn switch(mut request: Request<Incoming>, accept: HeaderValue) -> Response<AnswerBody> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            // A connection that breaks is its client's affair.
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    let mut response = Response::new(Either::Left(Full::new(Bytes::new())));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

async fn echo(stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::new(reader);
    let mut writer = BufWriter::new(writer);
    loop {
        let frame = FrameHead::read(&mut reader).await?;
        if frame.breaks_protocol() {
            write_head(&mut writer, 0x80 | CLOSE, 2).await?;
            writer.write_u16(PROTOCOL_ERROR).await?;
            return writer.shutdown().await;
        }
        match frame.opcode() {
            PONG => frame.payload_to(&mut reader, &mut tokio::io::sink()).await?,
            PING => {
                write_head(&mut writer, 0x80 | PONG, frame.length).await?;
                frame.payload_to(&mut reader, &mut writer).await?;
            }
            _ => {
                write_head(&mut writer, frame.first, frame.length).await?;
                frame.payload_to(&mut reader, &mut writer).await?;
            }
        }
        writer.flush().await?;
        if frame.opcode() == CLOSE {
            return writer.shutdown().await;
        }
    }
}

/// What stands before a client's payload (RFC 6455 §5.2).
struct FrameHead {
    /// FIN, reserved bits and opcode.
    first: u8,
    masked: bool,
    length: u64,
    mask: [u8; 4],
}

impl FrameHead {
    async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let first = reader.read_u8().await?;
        let second = reader.read_u8().await?;
        let masked = second & 0x80 != 0;
        let length = match second & 0x7F {
            126 => u64::from(reader.read_u16().await?),
            127 => reader.read_u64().await?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        if masked {
            reader.read_exact(&mut mask).await?;
        }
        Ok(FrameHead { first, masked, length, mask })
    }

    fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    /// Clients mask; nobody uses reserved bits or opcodes unasked; control frames are short and whole.
    fn breaks_protocol(&self) -> bool {
        let control_in_parts = self.opcode() >= CLOSE && (self.length > 125 || self.first & 0x80 == 0);
        let known = matches!(self.opcode(), 0..=2 | CLOSE | PING | PONG);
        !self.masked || self.first & 0x70 != 0 || !known || control_in_parts
    }

    async fn payload_to(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut buffer = [0; 8 << 10];
        let mut payload = reader.take(self.length);
        let mut position = 0;
        while payload.limit() > 0 {
            let length = payload.read(&mut buffer).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for byte in &mut buffer[..length] {
                *byte ^= self.mask[position];
                position = (position + 1) % 4;
            }
            writer.write_all(&buffer[..length]).await?;
        }
        Ok(())
    }
}

/// A server's frames are not masked.
async fn write_head(writer: &mut (impl AsyncWrite + Unpin), first: u8, length: u64) -> io::Result<()> {
    writer.write_u8(first).await?;
    match length {
        0..=125 => writer.write_u8(length as u8).await,
        126..=0xFFFF => {
            writer.write_u8(126).await?;
            writer.write_u16(length as u16).await
        }
        _ => {
            writer.write_u8(127).await?;
            writer.write_u64(length).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the echo sends back for `sent`, to the end of the connection.
    async fn echoed(sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let echo = tokio::spawn(echo(server));
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        // It ends with the connection; how is told by the bytes.
        let _ = echo.await.unwrap();
        received
    }

    /// A masked frame with a payload of `length` zeros.
    fn zeros(first: u8, length: u16) -> Vec<u8> {
        let mut frame = match length {
            0..=125 => vec![first, 0x80 | length as u8],
            _ => [vec![first, 0xFE], length.to_be_bytes().to_vec()].concat(),
        };
        frame.extend([1, 2, 3, 4]);
        frame.extend([1, 2, 3, 4].iter().cycle().take(usize::from(length)));
        frame
    }

    #[test]
    fn the_handshake_of_the_rfc_is_answered_as_there() {
        let request = Request::builder()
            .header("Upgrade", "WebSocket")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        assert_eq!(accept_value(&request).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept_value(&Request::new(())), None);
    }

    #[tokio::test]
    async fn a_masked_text_comes_back_unmasked() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(echoed(&hello).await, b"\x81\x05Hello");
    }

    #[tokio::test]
    async fn lengths_around_each_edge_come_back_whole() {
        for length in [0, 1, 125, 126, 8191, 8193, 65535] {
            let back = echoed(&zeros(0x82, length)).await;
            let head = if length <= 125 { 2 } else { 4 };
            assert_eq!(back.len(), head + usize::from(length));
            assert!(back[head..].iter().all(|byte| *byte == 0), "{length}");
        }
    }

    #[tokio::test]
    async fn a_ping_is_answered_between_the_parts_of_a_message() {
        let sent = [zeros(0x01, 1), zeros(0x89, 2), zeros(0x80, 1)].concat();
        assert_eq!(echoed(&sent).await, b"\x01\x01\0\x8A\x02\0\0\x80\x01\0");
    }

    #[tokio::test]
    async fn nothing_is_echoed_after_a_close() {
        let sent = [zeros(0x88, 2), zeros(0x81, 1)].concat();
        assert_eq!(echoed(&sent).await, b"\x88\x02\0\0");
    }

    #[tokio::test]
    async fn a_frame_that_no_client_may_send_ends_the_connection() {
        for frame in [b"\x81\x01a".to_vec(), zeros(0xC1, 1), zeros(0x83, 1), zeros(0x09, 1), zeros(0x89, 126)] {
            assert_eq!(echoed(&frame).await, b"\x88\x02\x03\xEA", "{frame:?}");
        }
    }
}
