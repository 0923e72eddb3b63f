//! `rateLimit` and `connectionLimit` of a policy where requests are streams, and where one becomes a tunnel.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use super::upgrade::{WEBSOCKET, echo};
use crate::support::h2_client::{H2Client, body, soon};
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get, objects};

const HOST: &str = "a.example";
const URL: &str = "http://a.example/";

fn limited(backend: &Backend, fields: Value) -> Headgate {
    Headgate::serve(&objects::site_with_policy(HOST, &[backend.address], fields))
}

#[tokio::test]
async fn streams_of_one_connection_are_counted_one_by_one() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, json!({ "rateLimit": { "requests": 2, "per": "1h" } }));
    let client = H2Client::plain(proxy.http).await;
    let responses = [client.get(URL).await, client.get(URL).await, client.get(URL).await];
    assert_eq!(responses.each_ref().map(|response| response.status), [200, 200, 429]);
    let refused = &responses[2];
    assert_eq!(refused.text(), "429 Too Many Requests\n");
    assert_eq!(refused.header("retry-after"), Some("1800"));
    assert!(refused.header("ratelimit").is_some() && refused.header("ratelimit-policy").is_some(), "{refused:?}");
    assert_eq!(get(proxy.http, HOST, "/").status, 429, "HTTP/1.1 takes from the same bucket");
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn the_host_is_that_of_the_target() {
    let backend = Backend::answering("ok");
    let limit = json!({ "requests": 2, "per": "1h", "key": { "type": "Header", "name": "Host" } });
    let proxy = limited(&backend, json!({ "rateLimit": limit, "request": { "requiredHeaders": ["Host"] } }));
    let client = H2Client::plain(proxy.http).await;
    assert_eq!(client.get(URL).await.status, 200);
    let mut other = Client::connect_from([127, 0, 0, 9].into(), proxy.http);
    assert_eq!([other.get(HOST, "/").status, other.get(HOST, "/").status], [200, 429]);
    assert_eq!(client.get(URL).await.status, 429);
}

#[tokio::test]
async fn a_grpc_call_that_is_refused_is_told_so_in_its_own_way() {
    let backend = Backend::answering("ok");
    let proxy = limited(&backend, json!({ "rateLimit": { "requests": 1, "per": "1h" } }));
    let client = H2Client::plain(proxy.http).await;
    client.get(URL).await;
    let call =
        Request::post("http://a.example/s/m").header("content-type", "application/grpc").header("te", "trailers");
    let refused = client.request(call.body(()).unwrap(), b"").await;
    assert_eq!(refused.header("grpc-status"), Some("14"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_stream_is_in_flight_until_its_answer_has_ended_or_it_is_reset() {
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let backend = Backend::scripted(move |exchange| match exchange.seen.target() {
        "/drip" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")?;
            let _ = may_go.lock().unwrap().recv();
            exchange.send("2")?;
            Ok(crate::support::Then::KeepAlive)
        }
        "/hold" => exchange.until_abandoned(),
        _ => exchange.reply("200 OK", "ok"),
    });
    let proxy = limited(&backend, json!({ "connectionLimit": { "perClient": 1 } }));
    let client = H2Client::plain(proxy.http).await;
    let ask =
        async |path: &str| client.open(Request::get(format!("{URL}{path}")).body(()).unwrap(), true).await.unwrap();

    let (dripping, _) = ask("drip").await;
    let mut dripping = soon(dripping).await.unwrap().into_body();
    assert_eq!(client.get(URL).await.status, 429);
    go.send(()).unwrap();
    assert_eq!(body(&mut dripping).await.unwrap(), b"12");
    soon(async { while client.get(URL).await.status != 200 {} }).await;

    let (held, mut handle) = ask("hold").await;
    let has_come = || backend.seen().iter().any(|seen| seen.target() == "/hold");
    soon(async {
        while !has_come() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(client.get(URL).await.status, 429);
    handle.send_reset(h2::Reason::CANCEL);
    drop(held);
    soon(async { while client.get(URL).await.status != 200 {} }).await;
}

#[test]
fn a_tunnel_is_in_flight_until_it_ends() {
    let backend = Backend::scripted(|exchange| match exchange.seen.target() {
        "/ws" => echo(exchange),
        _ => exchange.reply("200 OK", "ok"),
    });
    let proxy = limited(&backend, json!({ "connectionLimit": { "perClient": 1 } }));
    let mut tunnel = Client::connect(proxy.http);
    tunnel.send(WEBSOCKET);
    assert_eq!(tunnel.response().status, 101);
    assert_eq!(get(proxy.http, HOST, "/").status, 429);
    tunnel.send("through");
    assert_eq!(tunnel.exactly(7), b"through");
    assert_eq!(get(proxy.http, HOST, "/").status, 429);
    drop(tunnel);
    until("a place", || (get(proxy.http, HOST, "/").status == 200).then_some(()));
}
