//! Streams of many small messages, as gRPC has them, one side of which is slow: HTTP/2 libraries bound such frames by
//! the connection's window, and end the whole connection beyond that.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::timeout;

use crate::support::Headgate;
use crate::support::h2_backend::H2Backend;
use crate::support::h2_client::{H2Client, body, soon};
use crate::support::objects::{ingress, rule, service_speaking};

const MESSAGE: &[u8] = b"\0\0\0\0\x01m";
const MESSAGES: usize = 40_000;
const SLOW: Duration = Duration::from_secs(1);
/// What all messages may take: an unoptimised build on a busy machine.
const LONG: Duration = Duration::from_secs(90);

fn before(backend: &H2Backend) -> Headgate {
    let mut site = vec![ingress("a", &[rule("a.example", "/", "Prefix", "a")])];
    site.extend(service_speaking("a", &[backend.address], Some("grpc")));
    Headgate::with(&site).flag("--workers", "1").start()
}

fn call(path: &str) -> Request<()> {
    let request = Request::post(format!("http://a.example{path}")).header("content-type", "application/grpc");
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_backend_that_reads_late_gets_every_small_message() {
    let backend = H2Backend::scripted(async |mut exchange| {
        tokio::time::sleep(SLOW).await;
        let whole = exchange.body().await?.len() == MESSAGES * MESSAGE.len();
        exchange.reply(Response::new(()), if whole { "whole" } else { "cut" })
    });
    let proxy = before(&backend);
    let client = H2Client::plain(proxy.http).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        let (response, mut send) = client.open(call("/up"), false).await.unwrap();
        for number in 1..=MESSAGES {
            send.send_data(Bytes::from_static(MESSAGE), number == MESSAGES).unwrap();
        }
        calls.push(response);
    }
    for response in calls {
        let answer = async { body(&mut response.await.unwrap().into_body()).await.unwrap() };
        assert_eq!(timeout(LONG, answer).await.unwrap(), b"whole");
    }
}

#[tokio::test]
async fn a_client_that_reads_late_gets_every_small_message_and_disturbs_nobody() {
    let backend = H2Backend::scripted(async |mut exchange| {
        if exchange.request.uri().path() == "/other" {
            return exchange.reply(Response::new(()), "other");
        }
        let mut send = exchange.respond.send_response(Response::new(()), false)?;
        for number in 1..=MESSAGES {
            send.send_data(Bytes::from_static(MESSAGE), number == MESSAGES)?;
        }
        Ok(())
    });
    let proxy = before(&backend);
    let stream = tokio::net::TcpStream::connect(proxy.http).await.unwrap();
    let slow = H2Client::with(
        h2::client::Builder::new().initial_connection_window_size(1 << 20).data_frame_budget(1 << 30),
        stream,
    )
    .await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        let (response, _send) = slow.open(call("/down"), true).await.unwrap();
        calls.push(soon(response).await.unwrap());
    }
    tokio::time::sleep(SLOW).await;
    let other = H2Client::plain(proxy.http).await;
    assert_eq!(soon(other.request(call("/other"), b"")).await.text(), "other");
    for response in calls {
        let received = timeout(LONG, body(&mut response.into_body())).await.unwrap().unwrap();
        assert_eq!(received.len(), MESSAGES * MESSAGE.len());
    }
    assert_eq!(backend.accepted(), 1);
}
