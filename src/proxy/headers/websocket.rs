//! The handshake of a websocket (RFC 6455 §4) with a backend, which has to prove that it knows what it agrees to. Its
//! client is ours, or we ourselves where that opened the websocket by extended CONNECT over HTTP/2 (RFC 8441).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use sha1::{Digest, Sha1};

use super::only;

/// One handshake under way.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// 16 random bytes in base64.
    key: [u8; 24],
}

impl Handshake {
    /// That of a client, if these fields are a request's that asks for a websocket.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let websocket = only(headers, &UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
        let key = only(headers, &SEC_WEBSOCKET_KEY)?.as_bytes().try_into().ok()?;
        websocket.then_some(Handshake { key })
    }

    /// Makes a GET with these fields, which have been through `to_backend`, ask for a websocket.
    pub fn offer(headers: &mut HeaderMap, random: u128) -> Self {
        let mut key = [0; 24];
        encode(&random.to_be_bytes(), &mut key);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_bytes(&key).expect("base64 is visible ASCII"));
        headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
        Handshake { key }
    }

    /// A 101 with these fields answers this handshake.
    pub fn is_accepted(&self, headers: &HeaderMap) -> bool {
        let upgraded = only(headers, &UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let proven = only(headers, &SEC_WEBSOCKET_ACCEPT).is_some_and(|proof| proof.as_bytes() == self.proof());
        upgraded && proven
    }

    /// What Sec-WebSocket-Accept must be (RFC 6455 §4.2.2).
    fn proof(&self) -> [u8; 28] {
        let digest =
            Sha1::new().chain_update(self.key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
        let mut proof = [0; 28];
        encode(digest.as_ref(), &mut proof);
        proof
    }
}

fn encode(bytes: &[u8], text: &mut [u8]) {
    let length = STANDARD.encode_slice(bytes, text).expect("the text has room for the bytes");
    debug_assert_eq!(length, text.len());
}
