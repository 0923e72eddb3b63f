//! Requests that clients cancel on a connection to a backend which others share: servers end a connection that has many.

use std::net::{SocketAddr, TcpListener};

use socket2::SockRef;

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM};
use crate::support::objects::{ingress, rule, service_speaking};
use crate::support::wait::PATIENCE;
use crate::support::{Client, Headgate};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    // Of `accept`, in Linux.
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn before(addresses: &[SocketAddr]) -> Headgate {
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", addresses, Some("kubernetes.io/h2c")));
    Headgate::with(&site).flag("--workers", "1").start()
}

fn asks(proxy: &Headgate, request: &str) -> Client {
    let mut client = Client::connect(proxy.http);
    client.send(request);
    client
}

/// The next request's stream.
fn head(backend: &mut Frames) -> u32 {
    backend.until(HEADERS, |_| true).unwrap().stream
}

fn heads(backend: &mut Frames, requests: usize) {
    for _ in 0..requests {
        head(backend);
    }
}

fn resets(backend: &mut Frames, requests: usize) {
    for _ in 0..requests {
        backend.until(RST_STREAM, |_| true).unwrap();
    }
}

fn answer(backend: &mut Frames, stream: u32) {
    // `:status: 200`.
    backend.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x88]);
}

/// So many clients ask and go away once the backend has all of their requests.
fn cancel(proxy: &Headgate, backend: &mut Frames, requests: usize) {
    let clients: Vec<_> = (0..requests).map(|_| asks(proxy, GET)).collect();
    heads(backend, requests);
    clients.into_iter().for_each(Client::reset);
    resets(backend, requests);
}

#[test]
fn a_connection_with_many_cancelled_requests_takes_no_more_and_ends_with_those_it_has() {
    let (listener, address) = listener();
    let proxy = before(&[address]);
    let mut patient = asks(&proxy, POST);
    let mut first = Frames::accept(&listener);
    let kept = head(&mut first);
    cancel(&proxy, &mut first, 10);
    let mut other = asks(&proxy, GET);
    let mut second = Frames::accept(&listener);
    let stream = head(&mut second);
    answer(&mut second, stream);
    assert_eq!(other.response().status, 200);
    answer(&mut first, kept);
    assert_eq!(patient.response().status, 200);
    assert!(first.until(DATA, |frame| frame.stream != kept).is_none(), "closed once nothing is in flight");
}

#[test]
fn a_few_that_are_cancelled_cost_no_connection() {
    let (listener, address) = listener();
    let proxy = before(&[address]);
    let mut served = asks(&proxy, GET);
    let mut backend = Frames::accept(&listener);
    for _ in 0..2 {
        let stream = head(&mut backend);
        answer(&mut backend, stream);
        assert_eq!(served.response().status, 200);
        cancel(&proxy, &mut backend, 9);
        // Those before do not count for ever.
        std::thread::sleep(std::time::Duration::from_millis(1200));
        served = asks(&proxy, GET);
    }
    head(&mut backend);
}

#[test]
fn an_endpoint_that_ends_such_a_connection_is_not_ejected() {
    let (listener, address) = listener();
    // Takes connections and answers nothing.
    let (_silent, other) = self::listener();
    let proxy = before(&[address, other]);
    let clients: Vec<_> = (0..20).map(|_| asks(&proxy, GET)).collect();
    let mut backend = Frames::accept(&listener);
    heads(&mut backend, 10);
    let _patient: Vec<_> = (0..12).map(|_| asks(&proxy, POST)).collect();
    heads(&mut backend, 6);
    clients.into_iter().for_each(Client::reset);
    resets(&mut backend, 10);
    drop(backend);
    proxy.counted("proxy_requests_total", &[("status", "502")], 6.0);
    assert_eq!(proxy.counted("proxy_backend_errors_total", &[("reason", "reset")], 6.0), 6.0);
    let _others = [asks(&proxy, GET), asks(&proxy, GET)];
    head(&mut Frames::accept(&listener));
}
