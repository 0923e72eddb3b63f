//! The time that a whole request may take: no object sets it yet, so a policy made here does.

use super::*;

fn within(time: u64) -> RoutePolicy {
    RoutePolicy { request_timeout: Some(Duration::from_millis(time)), ..RoutePolicy::default() }
}

fn timeouts(running: &Running) -> String {
    let text = running.metrics.encode();
    let counted = |line: &&str| line.starts_with("proxy_backend_errors_total{") && line.contains("\"timeout\"");
    text.lines().find(counted).and_then(|line| line.rsplit(' ').next()).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_request_past_its_deadline_is_504_and_one_error_of_the_backend() {
    let running = Running::with(within(300), &[]).await;
    let answer = rest(running.send(&closing("/held")).await).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(running.line("/held").await["flag"], "UT");
    assert_eq!(timeouts(&running), "1");
}

#[tokio::test]
async fn a_deadline_that_the_client_misses_is_no_error_of_the_backend() {
    let running = Running::with(within(300), &[]).await;
    let post = "POST /held HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nh";
    let answer = rest(running.send(post).await).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert_eq!(timeouts(&running), "none");
}

#[tokio::test]
async fn a_stalled_stream_is_cut_also_past_its_deadline() {
    let running = Running::with(within(200), &["--write-timeout=1s"]).await;
    let stream = TcpStream::connect(running.proxy.http_address().unwrap()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut body = ask(client, "/large", None).await.unwrap().into_body();
    let cut = async { while let Some(Ok(_)) = body.data().await {} };
    timeout(PATIENCE, cut).await.expect("the stream is reset");
    let line = running.line("/large").await;
    assert_eq!((&line["status"], &line["flag"]), (&200.into(), &"UT".into()));
}
