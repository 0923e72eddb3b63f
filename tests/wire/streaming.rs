//! Bodies stream both ways, at the pace of the slower side, without being kept.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::support::h2_client::{H2Client, soon};
use crate::support::wait::{stays, until};
use crate::support::{Backend, Client, Exchange, Headgate, TestCertificate, Then, objects, tls};

/// Bodies of this size pass in the tests; no buffer of ours could hold them.
const LARGE: u64 = 256 << 20;
/// What the proxy's memory may grow by meanwhile.
const ROOM: u64 = 30 << 20;
/// What may be held at one place on the way: buffers of two kernels' sockets, far below [`LARGE`].
const HELD: u64 = 24 << 20;

/// Sends a body of `LARGE` to `/down`, counts one at `/up`.
fn large() -> Backend {
    Backend::scripted(|exchange| {
        if exchange.seen.target() == "/up" {
            let count = count_body(exchange)?;
            return exchange.reply("200 OK", &count.to_string());
        }
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
        send_block(LARGE, |block| exchange.send(block))?;
        Ok(Then::KeepAlive)
    })
}

/// Reads a body of `LARGE` with a length, without keeping it.
fn count_body(exchange: &mut Exchange<'_>) -> std::io::Result<u64> {
    let mut count = exchange.read_ahead().len() as u64;
    let mut buffer = vec![0; 256 << 10];
    while count < LARGE {
        match exchange.stream().read(&mut buffer)? {
            0 => break,
            read => count += read as u64,
        }
    }
    Ok(count)
}

fn send_block(total: u64, mut send: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let block = vec![b'x'; 256 << 10];
    (0..total / block.len() as u64).try_for_each(|_| send(&block))
}

/// Runs `work` and panics if the proxy's memory grew by more than [`ROOM`] meanwhile.
#[track_caller]
fn within_memory(proxy: &Headgate, work: impl FnOnce() + Send) {
    let before = proxy.resident();
    let mut most = before;
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        while !work.is_finished() {
            most = most.max(proxy.resident());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(most < before + ROOM, "{} MiB more", (most - before) >> 20);
}

#[test]
fn a_large_download_costs_no_memory() {
    let backend = large();
    let proxy = Headgate::before(&backend);
    within_memory(&proxy, || {
        let mut client = Client::connect(proxy.http);
        client.send("GET /down HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.head().header("content-length"), Some(LARGE.to_string().as_str()));
        // The bytes read ahead with the head are in `client`, so the rest is a little less.
        assert!(count_rest(&mut client.stream, LARGE - (1 << 20)) >= LARGE - (1 << 20));
    });
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_large_download_over_tls_costs_no_memory() {
    let backend = large();
    let proxy = Headgate::serve(&objects::tls_site(
        "a.example",
        &[backend.address],
        &TestCertificate::for_names(&["a.example"]),
    ));
    within_memory(&proxy, || {
        let mut client = tls::Tls::to("a.example").connect(proxy.https);
        client.send("GET /down HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.head().status, 200);
        count_rest(&mut client.stream, 64 << 20);
    });
}

#[test]
fn a_large_upload_costs_no_memory() {
    let backend = large();
    let proxy = Headgate::before(&backend);
    within_memory(&proxy, || {
        let mut client = Client::connect(proxy.http);
        client.send(format!("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: {LARGE}\r\n\r\n"));
        send_block(LARGE, |block| client.stream.write_all(block)).unwrap();
        assert_eq!(client.response().text(), LARGE.to_string());
    });
}

#[tokio::test]
async fn a_large_download_over_http_2_costs_no_memory() {
    let backend = large();
    let proxy = Headgate::before(&backend);
    let before = proxy.resident();
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(http::Request::get("http://a.example/down").body(()).unwrap(), true).await.unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let mut count = 0;
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        count += data.len() as u64;
    }
    assert_eq!(count, LARGE);
    assert!(proxy.resident() < before + ROOM);
}

fn count_rest(stream: &mut impl Read, enough: u64) -> u64 {
    let mut buffer = vec![0; 256 << 10];
    let mut count = 0;
    while count < enough {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => count += read as u64,
        }
    }
    count
}

#[test]
fn slow_readers_stall_the_backend() {
    const READERS: u64 = 10;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let backend = Backend::scripted(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))?;
        send_block(LARGE, |block| {
            counted.fetch_add(block.len() as u64, SeqCst);
            exchange.send(block)
        })?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let before = warm(&proxy);
    let mut clients: Vec<_> = (0..READERS).map(|_| Client::connect(proxy.http)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.head().status, 200);
    }
    stalls(&sent, READERS * HELD);
    let growth = proxy.resident().saturating_sub(before);
    assert!(growth < READERS * (1 << 20), "{} KiB each", (growth / READERS) >> 10);
    let at = sent.load(SeqCst);
    count_rest(&mut clients[0].stream, 64 << 20);
    assert!(sent.load(SeqCst) > at + (32 << 20), "it goes on once it is read");
}

#[test]
fn a_slow_backend_stalls_the_client() {
    let backend = Backend::scripted(|exchange| {
        std::thread::sleep(Duration::from_secs(3));
        let count = count_body(exchange)?;
        exchange.reply("200 OK", &count.to_string())
    });
    let proxy = Headgate::before(&backend);
    let before = warm(&proxy);
    let sent = AtomicU64::new(0);
    let mut client = Client::connect(proxy.http);
    client.send(format!("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut stream = client.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            send_block(LARGE, |block| {
                sent.fetch_add(block.len() as u64, SeqCst);
                stream.write_all(block)
            })
            .unwrap();
        });
        stalls(&sent, HELD);
        let growth = proxy.resident().saturating_sub(before);
        assert!(growth < 8 << 20, "{} KiB", growth >> 10);
        assert_eq!(client.response().text(), LARGE.to_string());
    });
}

/// What the proxy holds once every worker has served something.
fn warm(proxy: &Headgate) -> u64 {
    for _ in 0..20 {
        crate::support::get(proxy.http, "unknown.example", "/");
    }
    proxy.resident()
}

/// Waits until the counter has stood still for a while, far from the end.
#[track_caller]
fn stalls(sent: &AtomicU64, held: u64) {
    let still = until("the sender to stall", || {
        let now = sent.load(SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        (now > 0 && sent.load(SeqCst) == now).then_some(now)
    });
    assert!(still < held, "{} MiB were taken from the sender", still >> 20);
    stays("the stall", Duration::from_millis(300), || sent.load(SeqCst) == still);
}

#[test]
fn each_part_of_a_response_is_handed_on_at_once() {
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let backend = Backend::scripted(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        for number in 0..3 {
            may_go.lock().unwrap().recv().unwrap();
            exchange.send(format!("7\r\nevent {number}\r\n"))?;
        }
        exchange.send("0\r\n\r\n")?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut head = client.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"), "the head waits for no body");
    for number in 0..3 {
        go.send(()).unwrap();
        assert_eq!(client.exactly(12), format!("7\r\nevent {number}\r\n").as_bytes());
    }
    client.body(&mut head, "GET");
}

#[test]
fn each_part_of_a_request_is_handed_on_at_once() {
    let (told, came) = std::sync::mpsc::channel();
    let backend = Backend::scripted(move |exchange| {
        for _ in 0..3 {
            let line = exchange.read_line()?;
            let part = exchange.read_line()?;
            told.send((line, part)).unwrap();
        }
        assert_eq!(exchange.exactly(5)?, b"0\r\n\r\n");
        exchange.stream();
        exchange.reply("200 OK", "ok")
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    for number in 0..3 {
        client.send(format!("6\r\npart {number}\r\n"));
        let (size, part) = came.recv_timeout(crate::support::wait::PATIENCE).unwrap();
        assert_eq!((size, part), (b"6\r\n".to_vec(), format!("part {number}\r\n").into_bytes()));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_response_may_begin_before_the_request_has_ended() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n")?;
        let body = exchange.body()?;
        exchange.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", body.len(), String::from_utf8(body).unwrap()))?;
        Ok(Then::KeepAlive)
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\n");
    let mut head = client.head();
    assert_eq!(client.exactly(10), b"5\r\nearly\r\n");
    client.send("late");
    client.body(&mut head, "POST");
    assert_eq!(head.text(), "late");
}

#[test]
fn a_client_that_goes_away_within_a_download_stops_the_backend() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            exchange.send("1\r\nx\r\n")?;
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("GET /gone HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.head().status, 200);
    drop(client);
    let start = std::time::Instant::now();
    until("the backend's end", || (backend.open() == 0).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(1));
    let line = proxy.log_of("/gone");
    assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"DC".into()));
}

#[test]
fn a_client_that_goes_away_within_an_upload_stops_the_backend_request() {
    let backend = Backend::answering("never");
    let proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nhalf");
    backend.only();
    drop(client);
    until("the end of the backend's request", || backend.only().abandoned.then_some(()));
}
