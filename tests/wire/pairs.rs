//! Every pair of protocols carries every kind of exchange unchanged.

use http::{Method, Request, Response};

use crate::support::h2_backend::{H2Backend, H2Seen};
use crate::support::h2_client::{H2Client, finish, soon};
use crate::support::objects::{ingress, rule, service, service_speaking};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate};

/// What a backend saw, in whatever protocol.
#[derive(Debug, PartialEq)]
struct Came {
    method: String,
    target: String,
    length: Option<String>,
    body: Vec<u8>,
}

/// A proxy before an HTTP/1.1 backend at `one.example` and an h2c one at `two.example`. Both answer by path.
struct World {
    proxy: Headgate,
    one: Backend,
    two: H2Backend,
}

const BODY: &[u8] = b"a body of bytes \x00\xff\r\n\r\n0\r\n\r\n";

impl World {
    fn new() -> Self {
        let one = Backend::scripted(|exchange| {
            exchange.body()?;
            match exchange.seen.target() {
                "/304" => exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n")?,
                "/204" => exchange.send("HTTP/1.1 204 No Content\r\n\r\n")?,
                _ => return exchange.reply("200 OK", "answer"),
            }
            Ok(crate::support::Then::KeepAlive)
        });
        let two = H2Backend::scripted(async |mut exchange| {
            exchange.body().await?;
            let status = exchange.request.uri().path()[1..].parse::<u16>().unwrap_or(200);
            let head = Response::builder().status(status).header("etag", "\"e\"").body(()).unwrap();
            let text = if status == 200 && exchange.request.method() != Method::HEAD { "answer" } else { "" };
            exchange.reply(head, text)
        });
        let mut objects = vec![ingress(
            "both",
            &[rule("one.example", "/", "Prefix", "one"), rule("two.example", "/", "Prefix", "two")],
        )];
        objects.extend(service("one", &[one.address]));
        objects.extend(service_speaking("two", &[two.address], Some("kubernetes.io/h2c")));
        World { proxy: Headgate::serve(&objects), one, two }
    }

    /// What came last at the backend of this host.
    fn came(&self, host: &str) -> Came {
        if host == "one.example" {
            let seen = self.one.last();
            let (method, target) = (seen.method().to_owned(), seen.target().to_owned());
            return Came { method, target, length: seen.header("content-length"), body: seen.body };
        }
        let H2Seen { method, uri, headers, body, .. } = until("a request", || self.two.seen().pop());
        let target = uri.strip_prefix("http://two.example").unwrap().to_owned();
        let length = headers.get("content-length").map(|length| length.to_str().unwrap().to_owned());
        Came { method, target, length, body }
    }
}

fn came(method: &str, target: &str, length: Option<usize>, body: &[u8]) -> Came {
    Came {
        method: method.into(),
        target: target.into(),
        length: length.map(|length| length.to_string()),
        body: body.into(),
    }
}

#[test]
fn http_1_in_front_carries_every_exchange_to_both() {
    let world = World::new();
    for host in ["one.example", "two.example"] {
        let mut client = Client::connect(world.proxy.http);
        assert_eq!(client.get(host, "/get?q").text(), "answer");
        assert_eq!(world.came(host), came("GET", "/get?q", None, b""));

        let head = format!("POST /length HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", BODY.len());
        client.send([head.as_bytes(), BODY].concat());
        assert_eq!(client.response().text(), "answer");
        assert_eq!(world.came(host), came("POST", "/length", Some(BODY.len()), BODY));

        let head =
            format!("POST /stream HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", BODY.len());
        client.send([head.as_bytes(), BODY, b"\r\n0\r\n\r\n"].concat());
        assert_eq!(client.response().text(), "answer");
        assert_eq!(world.came(host), came("POST", "/stream", None, BODY));

        client.send(format!("HEAD /head HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response_to("HEAD").status, 200);
        assert_eq!(world.came(host), came("HEAD", "/head", None, b""));

        for status in [204, 304] {
            let response = client.get(host, &format!("/{status}"));
            assert_eq!((response.status, response.header("transfer-encoding")), (status, None), "{host}");
        }
        assert_eq!(client.get(host, "/after").text(), "answer", "the connection is in order");
    }
}

#[tokio::test]
async fn http_2_in_front_carries_every_exchange_to_both() {
    let world = World::new();
    let client = H2Client::plain(world.proxy.http).await;
    for host in ["one.example", "two.example"] {
        let url = |path: &str| format!("http://{host}{path}");
        assert_eq!(client.get(&url("/get?q")).await.text(), "answer");
        assert_eq!(world.came(host), came("GET", "/get?q", None, b""));

        let request = Request::post(url("/length")).header("content-length", BODY.len());
        assert_eq!(client.request(request.body(()).unwrap(), BODY).await.text(), "answer");
        assert_eq!(world.came(host), came("POST", "/length", Some(BODY.len()), BODY));

        assert_eq!(client.request(Request::post(url("/stream")).body(()).unwrap(), BODY).await.text(), "answer");
        assert_eq!(world.came(host), came("POST", "/stream", None, BODY));

        assert_eq!(client.request(Request::head(url("/head")).body(()).unwrap(), b"").await.status, 200);
        assert_eq!(world.came(host), came("HEAD", "/head", None, b""));

        for status in [204, 304] {
            let response = client.get(&url(&format!("/{status}"))).await;
            assert_eq!((response.status, response.body.len()), (status, 0), "{host}");
        }
    }
}

#[tokio::test]
async fn an_h2c_backend_that_resets_a_stream_is_502_and_keeps_its_connection() {
    let backend = H2Backend::scripted(async |mut exchange| {
        if exchange.request.uri().path() == "/broken" {
            exchange.respond.send_reset(h2::Reason::INTERNAL_ERROR);
            return Ok(());
        }
        exchange.reply(Response::new(()), "ok")
    });
    let proxy = h2c_site(&[backend.address]);
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get("http://a.example/").await.text(), "ok");
    assert_eq!(client.request(Request::post("http://a.example/broken").body(()).unwrap(), b"x").await.status, 502);
    assert_eq!(client.get("http://a.example/").await.text(), "ok");
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_resets_the_stream_at_an_h2c_backend() {
    let (told, canceled) = std::sync::mpsc::channel();
    let backend = H2Backend::scripted(async move |mut exchange| {
        let reason = futures_util::future::poll_fn(|cx| exchange.respond.poll_reset(cx)).await;
        told.send(reason).unwrap();
        Ok(())
    });
    let proxy = h2c_site(&[backend.address]);
    let client = H2Client::plain(proxy.http).await;
    let (response, mut send) = client.open(Request::post("http://a.example/").body(()).unwrap(), false).await.unwrap();
    while backend.seen().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    let reason =
        soon(tokio::task::spawn_blocking(move || canceled.recv_timeout(std::time::Duration::from_secs(1)))).await;
    assert!(reason.unwrap().expect("within a second").is_ok());
}

#[tokio::test]
async fn an_h2c_backend_that_falls_away_within_a_body_breaks_the_response_off() {
    let backend = H2Backend::scripted(async |mut exchange| {
        let mut send = exchange.respond.send_response(Response::new(()), false)?;
        send.send_data("half".into(), false)?;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        send.send_reset(h2::Reason::INTERNAL_ERROR);
        Ok(())
    });
    let proxy = h2c_site(&[backend.address]);
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(Request::get("http://a.example/").body(()).unwrap(), true).await.unwrap();
    assert!(finish(response).await.unwrap_err().is_reset());
    let address = proxy.http;
    let outcome = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(address);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.try_response()
    });
    assert!(crate::support::client::closed(&outcome.await.unwrap().unwrap_err()));
}

fn h2c_site(addresses: &[std::net::SocketAddr]) -> Headgate {
    let mut objects = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    objects.extend(service_speaking("a", addresses, Some("kubernetes.io/h2c")));
    Headgate::with(&objects).flag("--workers", "1").start()
}

#[tokio::test]
async fn a_stream_that_an_h2c_backend_refuses_goes_to_the_next_endpoint_also_a_post() {
    let refusing = H2Backend::scripted(async |mut exchange| {
        exchange.respond.send_reset(h2::Reason::REFUSED_STREAM);
        Ok(())
    });
    let taking = H2Backend::answering("taken");
    let proxy = h2c_site(&[refusing.address, taking.address]);
    let client = H2Client::plain(proxy.http).await;
    for number in 0..6 {
        let request = Request::post(format!("http://a.example/{number}")).body(()).unwrap();
        let response = client.request(request, b"").await;
        assert_eq!((response.status, response.text().as_str()), (200, "taken"), "{number}");
    }
    assert!(!refusing.seen().is_empty(), "it was asked");
}
