//! Connections to backends over HTTP/1.1: whatever pieces an answer comes in, in whatever order the two directions go on, and
//! what becomes of a connection when nobody asks anything of it.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::frames::{DATA, END_STREAM, Frames, WINDOW_UPDATE};
use crate::support::wait::{until, within};
use crate::support::{
    Backend, Client, Exchange, Headgate, TestCertificate, Then, client, get, objects, ports, request,
};

const LARGE: usize = 32 << 20;

/// One worker, so that there is one pool.
fn one_worker(backend: &Backend) -> Headgate {
    Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "1").start()
}

fn over_tls(backend: &Backend) -> Headgate {
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("https")));
    Headgate::with(&site).flag("--workers", "1").start()
}

#[test]
fn an_answer_may_come_in_single_bytes() {
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
    ];
    let script = move |exchange: &mut Exchange<'_>| -> std::io::Result<Then> {
        let answer = answers[exchange.seen.target()[1..].parse::<usize>().unwrap()];
        answer.bytes().try_for_each(|byte| exchange.send([byte]))?;
        Ok(Then::KeepAlive)
    };
    let certificate = TestCertificate::for_names(&["a.example"]);
    for (backend, proxy) in [
        (Backend::scripted(script), one_worker as fn(&Backend) -> Headgate),
        (Backend::tls(certificate, script), over_tls as fn(&Backend) -> Headgate),
    ] {
        let proxy = proxy(&backend);
        for number in 0..answers.len() {
            assert_eq!(get(proxy.http, "a.example", &format!("/{number}")).text(), "hello", "{number}");
        }
        assert_eq!(backend.accepted(), 1);
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"] {
        let backend = Backend::scripted(move |exchange| {
            exchange.send(head)?;
            exchange.send("x".repeat(100_000))?;
            Ok(Then::Close)
        });
        let proxy = one_worker(&backend);
        for _ in 0..3 {
            assert_eq!(get(proxy.http, "a.example", "/").body.len(), 100_000);
        }
        assert!(proxy.log().iter().all(|line| line["flag"] == ""));
    }
}

#[test]
fn an_answer_of_http_1_0_is_the_last_of_its_connection() {
    let backend = Backend::sending("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
    let proxy = one_worker(&backend);
    for number in 1..=3 {
        assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
        assert_eq!(backend.accepted(), number);
    }
}

#[test]
fn chunks_that_come_together_are_few_frames() {
    const BYTES: usize = 6000;
    let chunks = "1\r\nx\r\n".repeat(BYTES);
    let backend = Backend::sending(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
    let proxy = one_worker(&backend);
    let mut frames = Frames::connect(proxy.http);
    frames.get(1, "a.example", "/");
    let (mut received, mut pieces, mut over) = (0, 0, false);
    while !over {
        let data = frames.until(DATA, |frame| frame.stream == 1).expect("the connection stays");
        received += data.payload.len();
        pieces += 1;
        over = data.flags & END_STREAM != 0;
        if !over && !data.payload.is_empty() {
            let window = (data.payload.len() as u32).to_be_bytes();
            [0, 1].iter().for_each(|stream| frames.send(WINDOW_UPDATE, 0, *stream, &window));
        }
    }
    assert_eq!(received, BYTES);
    // 36 KB, of which a read takes 8 or more once they are all there.
    assert!(pieces < 100, "{pieces}");
}

#[test]
fn a_client_may_send_its_whole_body_before_it_takes_anything_of_a_large_answer() {
    let listener = ports::listener();
    let proxy = Headgate::serve(&objects::site("a.example", &[listener.local_addr().unwrap()]));
    let backend = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut reader = stream.try_clone().unwrap();
        let mut buffer = vec![0; 256 << 10];
        let mut read = reader.read(&mut buffer).unwrap();
        let writer = std::thread::spawn(move || {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).unwrap();
            stream.write_all(&vec![b'y'; LARGE]).unwrap();
        });
        while read < LARGE {
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        writer.join().unwrap();
        read
    });
    let mut client = Client::connect(proxy.http);
    client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {LARGE}\r\n\r\n"));
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..LARGE / piece.len() {
        client.send(&piece);
    }
    let response = client.response();
    assert_eq!((response.status, response.body.len()), (200, LARGE));
    assert!(backend.join().unwrap() >= LARGE);
}

#[test]
fn a_large_answer_over_tls_waits_for_a_client_that_pauses() {
    let backend = Backend::tls(TestCertificate::for_names(&["a.example"]), |exchange| {
        let length = exchange.seen.target()[1..].parse::<usize>().unwrap();
        exchange.reply("200 OK", &"x".repeat(length))
    });
    let proxy = over_tls(&backend);
    let mut client = Client::connect(proxy.http);
    for length in [16 << 20, 1, 100_000, 0, 16 << 10, 2 << 20] {
        client.send(format!("GET /{length} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(client.response().body.len(), length);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_connection_is_let_go_soon_after_its_backend_has_closed_it() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&backend);
    get(proxy.http, "a.example", "/");
    until("the end of the client's connection", || {
        (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(())
    });
    let before = proxy.descriptors();
    backend.close_connections();
    // Far sooner than it would be closed for its age.
    let gone = within(Duration::from_secs(1), || (proxy.descriptors() < before).then_some(()));
    assert!(gone.is_some(), "still {before} descriptors");
}

#[test]
fn a_connection_on_which_something_comes_that_nobody_asked_for_is_closed() {
    let certificate = TestCertificate::for_names(&["a.example"]);
    let script = |exchange: &mut Exchange<'_>| -> std::io::Result<Then> {
        exchange.reply("200 OK", "ok")?;
        std::thread::sleep(Duration::from_millis(50));
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
        Ok(Then::KeepAlive)
    };
    for (backend, proxy) in [
        (Backend::scripted(script), one_worker as fn(&Backend) -> Headgate),
        (Backend::tls(certificate, script), over_tls as fn(&Backend) -> Headgate),
    ] {
        let proxy = proxy(&backend);
        assert_eq!(get(proxy.http, "a.example", "/").text(), "ok");
        let closed = within(Duration::from_secs(1), || (backend.open() == 0).then_some(()));
        assert!(closed.is_some(), "still open");
    }
}

#[test]
fn a_post_meets_no_connection_that_was_closed_before() {
    let backend = Backend::answering("ok");
    let proxy = one_worker(&backend);
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    std::thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| assert_eq!(request(proxy.http, post).status, 200))));
    });
    backend.close_connections();
    until("the connections' end", || (backend.open() == 0).then_some(()));
    for _ in 0..8 {
        assert_eq!(request(proxy.http, post).status, 200);
    }
}

/// Its end is the connection's, and a reset is none: whoever meets it, a read of the answer or a write of the request.
#[test]
fn a_body_without_a_length_that_ends_in_a_reset_is_not_whole() {
    let listener = ports::listener();
    let proxy = Headgate::serve(&objects::site("a.example", &[listener.local_addr().unwrap()]));
    let backend = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.read_exact(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // More than the client's side takes while the client reads nothing, less than waits for ever.
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let _ = stream.write_all(&vec![b'y'; 4 << 20]);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut client = Client::connect(proxy.http);
    client.send(format!("POST /reset HTTP/1.1\r\nHost: a.example\r\nContent-Length: {LARGE}\r\n\r\n"));
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..LARGE / piece.len() {
        client.send(&piece);
    }
    backend.join().unwrap();
    let mut response = client.head();
    assert_eq!(response.status, 200);
    assert!(client::closed(&client.try_body(&mut response).unwrap_err()));
    assert_eq!(proxy.log_of("/reset")["flag"], "UC");
}
