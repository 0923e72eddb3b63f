//! Frames of a client in any order through the whole proxy: what reaches the backend is legal, and the connection either
//! serves on or ends.

use std::io::Write;
use std::net::Shutdown;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};

use super::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, block, literal, until,
};
use super::served::Served;

static SERVED: OnceLock<Served> = OnceLock::new();

const NAMES: [&[u8]; 24] = [
    b":method",
    b":path",
    b":scheme",
    b":authority",
    b":protocol",
    b":status",
    b"host",
    b"content-length",
    b"te",
    b"cookie",
    b"connection",
    b"transfer-encoding",
    b"expect",
    b"upgrade",
    b"x-forwarded-for",
    b"x-real-ip",
    b"trailer",
    b"X-Upper",
    b"x_under",
    b"a",
    b"",
    b"a b",
    b"forwarded",
    b"keep-alive",
];
const VALUES: [&[u8]; 20] = [
    b"GET",
    b"POST",
    b"CONNECT",
    b"/",
    b"/a/../b",
    b"*",
    b"http",
    b"https",
    b"a.test",
    b"b.test",
    b"u@a.test",
    b"5",
    b"+5",
    b"trailers",
    b"a=b",
    b"chunked",
    b"100-continue",
    b"1.2.3.4",
    b"a\r\nb: c",
    b" x ",
];
/// A request that is fine, of which some fields are changed.
const REQUEST: [(&[u8], &[u8]); 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/x")];

pub fn judge(data: &[u8]) {
    let mut frames = Vec::new();
    // An error is an input that ends too soon.
    _ = read(&mut Unstructured::new(data), &mut frames);
    let served = SERVED.get_or_init(Served::start);
    let mut client = served.connect();
    let mut bytes = [PREFACE, &Frame::new(4, 0, 0, Vec::new()).bytes()].concat();
    frames.iter().for_each(|frame| bytes.extend(frame.bytes()));
    let last = frames.iter().map(|frame| frame.stream & 0x7fff_ffff).max().unwrap_or(0).min(0x7fff_fffd);
    let last = (last + 1) | 1;
    bytes.extend(Frame::new(HEADERS, END_STREAM | END_HEADERS, last, block(&REQUEST)).bytes());
    // It may have had enough.
    _ = client.write_all(&bytes);
    until(&mut client, |frame| {
        let over = matches!(frame.kind, HEADERS | RST_STREAM) && frame.stream == last;
        over || frame.kind == GOAWAY
    });
    _ = client.shutdown(Shutdown::Both);
    served.check();
}

fn read(input: &mut Unstructured<'_>, frames: &mut Vec<Frame>) -> Result<()> {
    while !input.is_empty() && frames.len() < 300 {
        let stream = match input.int_in_range(0..=7)? {
            0 => 0,
            7 => input.arbitrary()?,
            odd => 2 * odd - 1,
        };
        let frame = match input.int_in_range(0..=9)? {
            0..3 => Frame::new(HEADERS, *input.choose(&[5, 5, 4, 1, 0, 0x25, 0x0c])?, stream, fields(input)?),
            3 => Frame::new(DATA, *input.choose(&[0, 1, 8, 9])?, stream, input.arbitrary::<&[u8]>()?.to_vec()),
            4 => Frame::new(9, *input.choose(&[0, 4])?, stream, fields(input)?),
            5 => Frame::new(RST_STREAM, 0, stream, input.arbitrary::<[u8; 4]>()?.to_vec()),
            6 => Frame::new(8, 0, stream, input.arbitrary::<[u8; 4]>()?.to_vec()),
            7 => Frame::new(
                4,
                0,
                0,
                [&input.int_in_range(1..=9_u16)?.to_be_bytes()[..], &input.arbitrary::<[u8; 4]>()?].concat(),
            ),
            8 => Frame::new(6, 0, 0, input.arbitrary::<[u8; 8]>()?.to_vec()),
            _ => Frame::new(input.arbitrary()?, input.arbitrary()?, stream, input.arbitrary::<&[u8]>()?.to_vec()),
        };
        let repeated = if input.ratio(1, 16)? { input.int_in_range(2..=120)? } else { 1 };
        for _ in 0..repeated {
            frames.push(Frame { payload: frame.payload.clone(), ..frame });
        }
    }
    Ok(())
}

/// A header block: a request with some fields changed or added, or any bytes.
fn fields(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if input.ratio(1, 8)? {
        return Ok(input.arbitrary::<&[u8]>()?.to_vec());
    }
    let mut bytes = Vec::new();
    for (name, value) in REQUEST {
        match input.int_in_range(0..=15)? {
            0 => {}
            1 => literal(&mut bytes, name, input.choose(&VALUES)?),
            2 => literal(&mut bytes, input.choose(&NAMES)?, value),
            _ => literal(&mut bytes, name, value),
        }
    }
    while !input.is_empty() && input.ratio(1, 2)? {
        let name = *input.choose(&NAMES)?;
        match input.ratio(1, 4)? {
            true => literal(&mut bytes, name, input.arbitrary()?),
            false => literal(&mut bytes, name, input.choose(&VALUES)?),
        }
    }
    Ok(bytes)
}
