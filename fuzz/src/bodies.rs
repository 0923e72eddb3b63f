//! Bodies in chunks and of a length, with a request behind them: they end where RFC 9112 says, and nothing else does.

use super::requests;

const HEADS: [&str; 4] = [
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n",
    "POST / HTTP/1.1\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET / HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
];

/// The first byte says which head is before the others.
pub fn judge(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let head = HEADS[usize::from(*first) % HEADS.len()];
    let behind = b"GET /behind HTTP/1.1\r\n\r\n";
    requests::judge(&[head.as_bytes(), body].concat());
    requests::judge(&[head.as_bytes(), body, behind].concat());
}
