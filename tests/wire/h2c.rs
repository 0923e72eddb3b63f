//! Backends that are spoken to in HTTP/2: what a client's cancel means to them, and what is sent to them again.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};

use crate::support::client::closed;
use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, frame};
use crate::support::h2_backend::H2Backend;
use crate::support::h2_client::{H2Client, soon};
use crate::support::objects::{ingress, rule, service_speaking};
use crate::support::wait::{PATIENCE, until};
use crate::support::{Client, Headgate, get};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n";

/// A proxy with one worker before this address, which is spoken to in HTTP/2.
fn before(address: SocketAddr) -> Headgate {
    before_all(&[address])
}

fn before_all(addresses: &[SocketAddr]) -> Headgate {
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", addresses, Some("grpc")));
    Headgate::with(&site).flag("--workers", "1").start()
}

/// Reads bodies until they break, answering first if the path says so; the reasons with which they broke.
fn listening() -> (H2Backend, Arc<Mutex<Vec<Option<Reason>>>>) {
    let reasons = Arc::<Mutex<Vec<_>>>::default();
    let kept = Arc::clone(&reasons);
    let backend = H2Backend::scripted(async move |mut exchange| {
        let early = exchange.request.uri().path() == "/early";
        let _answer = if early { Some(exchange.respond.send_response(Response::new(()), false)?) } else { None };
        let broke = exchange.body().await.expect_err("the body breaks off");
        kept.lock().unwrap().push(broke.reason());
        Ok(())
    });
    (backend, reasons)
}

#[tokio::test]
async fn a_stream_that_a_client_cancels_is_cancelled_at_the_backend() {
    let (backend, reasons) = listening();
    let proxy = before(backend.address);
    let client = H2Client::plain(proxy.http).await;
    for (number, path) in ["/late", "/early"].into_iter().enumerate() {
        let request = Request::post(format!("http://a.example{path}")).header("content-type", "application/grpc");
        let (response, mut send) = client.open(request.body(()).unwrap(), false).await.unwrap();
        send.send_data(Bytes::from_static(b"one"), false).unwrap();
        let response = if path == "/early" { Ok(soon(response).await.unwrap()) } else { Err(response) };
        let seen = tokio::task::spawn_blocking({
            let reasons = Arc::clone(&reasons);
            move || until("the reset", || (reasons.lock().unwrap().len() > number).then_some(()))
        });
        while backend.seen().len() <= number {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        send.send_reset(Reason::CANCEL);
        seen.await.unwrap();
        drop(response);
    }
    assert_eq!(*reasons.lock().unwrap(), [Some(Reason::CANCEL); 2]);
}

#[test]
fn a_stream_whose_client_disconnects_is_cancelled_at_the_backend() {
    let (backend, reasons) = listening();
    let proxy = before(backend.address);
    for (number, path) in ["/late", "/early"].into_iter().enumerate() {
        let mut client = Client::connect(proxy.http);
        client
            .send(format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"));
        until("the request", || (backend.seen().len() > number).then_some(()));
        client.reset();
        until("the reset", || (reasons.lock().unwrap().len() > number).then_some(()));
    }
    assert_eq!(*reasons.lock().unwrap(), [Some(Reason::CANCEL); 2]);
}

/// The next request's stream.
fn head(frames: &mut Frames) -> u32 {
    frames.until(HEADERS, |_| true).unwrap().stream
}

fn answer(frames: &mut Frames, stream: u32) {
    // `:status: 200`.
    frames.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88]);
}

fn data(frames: &mut Frames) -> Vec<u8> {
    frames.until(DATA, |frame| !frame.payload.is_empty()).unwrap().payload
}

/// What becomes of a connection.
enum Goes {
    On,
    Down,
}

/// A backend that answers one request, leaves the second undone in this way, and answers the third. It gives the third's
/// body, and tells when its head is there.
fn undoing(
    undo: impl FnOnce(&mut Frames, u32) -> Goes + Send + 'static,
) -> (SocketAddr, Receiver<()>, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, third) = channel();
    let backend = std::thread::spawn(move || {
        let mut frames = Frames::accept(&listener);
        let first = head(&mut frames);
        answer(&mut frames, first);
        let second = head(&mut frames);
        if let Goes::Down = undo(&mut frames, second) {
            frames = Frames::accept(&listener);
        }
        let stream = head(&mut frames);
        sender.send(()).unwrap();
        let body = data(&mut frames);
        answer(&mut frames, stream);
        body
    });
    (address, third, backend)
}

fn refuse(frames: &mut Frames, stream: u32) -> Goes {
    frames.send(RST_STREAM, 0, stream, &7u32.to_be_bytes());
    Goes::On
}

fn leave_out(frames: &mut Frames, stream: u32) -> Goes {
    frames.send(GOAWAY, 0, 0, &[(stream - 2).to_be_bytes(), 0u32.to_be_bytes()].concat());
    Goes::Down
}

#[test]
fn a_request_whose_body_was_not_touched_is_sent_again_with_it() {
    for undo in [refuse, leave_out] {
        let (address, third, backend) = undoing(undo);
        let proxy = before(address);
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
        let mut client = Client::connect(proxy.http);
        client.send(HEAD);
        third.recv_timeout(PATIENCE).unwrap();
        client.send("abc");
        assert_eq!(client.response().status, 200);
        assert_eq!(backend.join().unwrap(), b"abc");
        let line = proxy.log_line("the second request", |line| line["method"] == "POST");
        assert_eq!((&line["retries"], &line["bytes_received"]), (&1.into(), &3.into()), "{line}");
    }
}

#[tokio::test]
async fn a_body_of_an_http_2_client_is_sent_again_too() {
    let (address, third, backend) = undoing(refuse);
    let proxy = before(address);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://a.example/").await.status, 200);
    let (response, mut send) = client.open(Request::post("http://a.example/").body(()).unwrap(), false).await.unwrap();
    tokio::task::spawn_blocking(move || third.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    send.send_data(Bytes::from_static(b"abc"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    assert_eq!(backend.join().unwrap(), b"abc");
}

#[test]
fn a_request_whose_body_was_handed_out_is_not_sent_again() {
    let (address, third, _backend) = undoing(|frames, stream| {
        assert_eq!(data(frames), b"abc");
        refuse(frames, stream)
    });
    let proxy = before(address);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    let mut client = Client::connect(proxy.http);
    client.send(format!("{HEAD}abc"));
    assert_eq!(client.response().status, 502);
    assert!(third.try_recv().is_err());
}

/// A backend that resets every stream with this reason.
fn resetting(reason: Reason) -> H2Backend {
    H2Backend::scripted(async move |mut exchange| {
        exchange.respond.send_reset(reason);
        Ok(())
    })
}

#[test]
fn a_stream_that_is_reset_is_one_try_and_costs_no_connection() {
    for reason in [Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::CANCEL, Reason::NO_ERROR] {
        let backend = resetting(reason);
        let proxy = before(backend.address);
        for _ in 0..5 {
            assert_eq!(get(proxy.http, "a.example", "/").status, 502, "{reason:?}");
        }
        assert_eq!((backend.seen().len(), backend.accepted()), (5, 1), "{reason:?}");
        assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "reset")]), 5.0, "{reason:?}");
    }
}

#[test]
fn a_refused_stream_is_tried_once_more_on_the_same_connection() {
    let backend = resetting(Reason::REFUSED_STREAM);
    let proxy = before(backend.address);
    for _ in 0..5 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 502);
    }
    assert_eq!((backend.seen().len(), backend.accepted()), (10, 1));
    assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "reset")]), 10.0);
}

#[test]
fn a_refused_stream_goes_to_another_endpoint_first() {
    let (refusing, willing) = (resetting(Reason::REFUSED_STREAM), H2Backend::answering("ok"));
    let proxy = before_all(&[refusing.address, willing.address]);
    for _ in 0..10 {
        assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    }
    assert!(refusing.seen().len() <= 10, "asked once a request");
    assert_eq!((willing.seen().len(), refusing.accepted(), willing.accepted()), (10, 1, 1));
}

/// A backend that answers its only request with these frames (kind, flags, payload) at once.
fn sending(frames: &[(u8, u8, &'static [u8])]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let sent = frames.to_vec();
    std::thread::spawn(move || {
        let mut frames = Frames::accept(&listener);
        let request = head(&mut frames);
        let on = |kind| if kind == GOAWAY { 0 } else { request };
        let bytes = sent.into_iter().flat_map(|(kind, flags, payload)| frame(kind, flags, on(kind), payload));
        frames.client.send(bytes.collect::<Vec<u8>>());
        frames.until(GOAWAY, |_| false);
    });
    address
}

const OK: (u8, u8, &[u8]) = (HEADERS, END_HEADERS, &[0x88]);
const RESET_WITHOUT_ERROR: (u8, u8, &[u8]) = (RST_STREAM, 0, &[0; 4]);
const GO_AWAY_WITHOUT_ERROR: (u8, u8, &[u8]) = (GOAWAY, 0, &[0; 8]);

#[test]
fn an_answer_that_is_cut_without_an_error_is_not_complete() {
    for cut in [RESET_WITHOUT_ERROR, GO_AWAY_WITHOUT_ERROR] {
        let proxy = before(sending(&[OK, (DATA, 0, b"part"), cut]));
        let mut client = Client::connect(proxy.http);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert!(closed(&client.try_response().unwrap_err()), "{cut:?}");
        assert_eq!(proxy.log_of("/")["flag"], "UC", "{cut:?}");
        assert_eq!(proxy.metrics().value("proxy_backend_errors_total", &[("reason", "reset")]), 1.0, "{cut:?}");
    }
}

#[test]
fn an_answer_that_is_cut_behind_its_head_is_502() {
    for cut in [RESET_WITHOUT_ERROR, GO_AWAY_WITHOUT_ERROR] {
        let proxy = before(sending(&[OK, cut]));
        assert_eq!(get(proxy.http, "a.example", "/").status, 502, "{cut:?}");
        assert_eq!(proxy.log_of("/")["flag"], "UC", "{cut:?}");
    }
}

#[test]
fn an_early_answer_whose_stream_is_then_reset_without_error_is_complete() {
    let proxy = before(sending(&[OK, (DATA, END_STREAM, b"whole"), RESET_WITHOUT_ERROR]));
    let mut client = Client::connect(proxy.http);
    client.send(HEAD);
    assert_eq!(client.response().text(), "whole");
    assert_eq!(proxy.log_of("/")["flag"], "");
}

#[test]
fn a_body_of_an_answer_that_has_none_goes_no_further() {
    // `:status: 204`.
    let proxy = before(sending(&[(HEADERS, END_HEADERS, &[0x89]), (DATA, 0, b"none"), (DATA, END_STREAM, b"at all")]));
    let mut client = Frames::connect(proxy.http);
    client.get(1, "a.example", "/");
    assert_eq!(client.status(1), 204);
    let end = client.until(DATA, |frame| frame.stream == 1).unwrap();
    assert_eq!((end.flags & END_STREAM, end.payload), (END_STREAM, Vec::new()));
}
