//! Lines as a log pipeline reads them, and the queue and the thread behind them.

mod lines;
mod writing;

use super::*;

/// An ordinary request with one try.
fn entry<'a>(tries: &'a [Try]) -> Entry<'a> {
    Entry {
        start: SystemTime::UNIX_EPOCH + Duration::from_millis(1_798_761_599_250),
        duration: Duration::from_micros(1_234_567),
        client: "203.0.113.7".parse().unwrap(),
        peer: "10.0.0.1:40000".parse().unwrap(),
        method: "GET",
        scheme: "https",
        host: b"shop.example",
        path: b"/cart",
        query: b"id=1",
        protocol: "HTTP/2.0",
        status: 200,
        bytes_sent: 512,
        bytes_received: 33,
        referer: b"https://shop.example/",
        user_agent: b"curl/8.9",
        request_id: "5f3c",
        namespace: "shop",
        ingress: "web",
        service: "cart",
        route: "shop/web shop.example /cart",
        backend: "shop-cart-80",
        tries,
        flag: "",
        tls_version: "1.3",
    }
}

fn attempt(endpoint: &str, millis: u64, status: u16, response_bytes: u64) -> Try {
    Try { endpoint: endpoint.parse().unwrap(), duration: Duration::from_millis(millis), status, response_bytes }
}

fn written(format: Format, entry: &Entry<'_>) -> String {
    let (mut out, clock) = (Vec::new(), &mut Clock::default());
    match format {
        Format::Json => json::line(&mut out, clock, entry),
        Format::Upstreaminfo => upstreaminfo::line(&mut out, clock, entry),
    }
    String::from_utf8(out).unwrap()
}
