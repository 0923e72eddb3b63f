//! Bodies of requests that go on when their answer is whole.

use bytes::Bytes;
use http::{Request, Response};

use crate::support::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, encode};
use crate::support::h2_backend::H2Backend;
use crate::support::h2_client::{H2Client, finish};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, Then, get, objects};

/// Answers at once, and would read the body then.
fn hasty() -> Backend {
    Backend::scripted(|exchange| {
        exchange.reply("200 OK", "done")?;
        exchange.body()?;
        Ok(Then::KeepAlive)
    })
}

#[test]
fn over_http_1_it_is_read_for_nothing_and_its_connections_serve_no_other_request() {
    let backend = hasty();
    let proxy = Headgate::before(&backend);
    for rest in ["right.", "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"] {
        let mut client = Client::connect(proxy.http);
        client.send("POST /upload HTTP/1.1\r\nHost: a.example\r\nContent-Length: 11\r\n\r\nleft ");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "done"));
        assert_eq!(response.header("connection"), Some("close"));
        client.send(format!("{rest}GET /behind HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        client.expect_close();
        assert_eq!(get(proxy.http, "a.example", "/next").status, 200);
    }
    let seen = backend.seen();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target()).collect();
    assert_eq!(targets, ["/upload", "/next", "/upload", "/next"]);
    assert!(seen.chunks(2).all(|pair| pair[0].connection != pair[1].connection), "{seen:#?}");
}

#[test]
fn over_http_2_to_an_http_1_backend_its_stream_is_reset_without_an_error() {
    let backend = hasty();
    let proxy = Headgate::before(&backend);
    let mut client = Frames::connect(proxy.http);
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", "/upload")];
    client.send(HEADERS, END_HEADERS, 1, &encode(&fields));
    client.send(DATA, 0, 1, b"left ");
    assert_eq!(client.status(1), 200);
    assert_eq!(client.until(DATA, |data| data.flags & END_STREAM != 0).unwrap().payload, b"done");
    assert_eq!(client.reset_code(1), Some(0));
    client.send(DATA, END_STREAM, 1, b"right.");
    client.get(3, "a.example", "/next");
    assert_eq!(client.status(3), 200);
    let seen = backend.seen();
    assert_eq!((seen.len(), seen[0].connection, seen[1].connection), (2, 0, 1));
    until("the end of its connection", || (backend.open() == 1).then_some(()));
}

#[tokio::test]
async fn over_http_2_to_an_h2c_backend_it_arrives_to_its_end() {
    let backend = H2Backend::scripted(async |mut exchange| {
        exchange.reply(Response::new(()), "done")?;
        exchange.body().await?;
        Ok(())
    });
    let mut site = vec![objects::ingress("a", &[objects::rule("a.example", "/", "Prefix", "a")])];
    site.extend(objects::service_speaking("a", &[backend.address], Some("kubernetes.io/h2c")));
    let proxy = Headgate::serve(&site);
    let client = H2Client::plain(proxy.http).await;
    let request = Request::post("http://a.example/upload").body(()).unwrap();
    let (response, mut send) = client.open(request, false).await.unwrap();
    send.send_data(Bytes::from_static(b"left "), false).unwrap();
    let response = finish(response).await.unwrap();
    assert_eq!((response.status, response.body), (200, b"done".to_vec()));
    // More than the windows let come at once.
    for _ in 0..100 {
        send.send_data(Bytes::from_static(&[b'-'; 10_000]), false).unwrap();
    }
    assert_eq!(client.get("http://b.example/").await.status, 404);
    send.send_data(Bytes::from_static(b"right."), true).unwrap();
    let whole = [b"left ", &[b'-'; 1_000_000][..], b"right."].concat();
    tokio::task::spawn_blocking(move || until("all of it", || (backend.seen()[0].body == whole).then_some(())))
        .await
        .unwrap();
}
