use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::proxy::backend_sockets::BackendSockets;

/// More than sockets hold.
const LARGE: usize = 32 << 20;

/// A connection whose answer is over, while so much of the request is still to be written; and the endpoint's side.
async fn answered_early() -> (Http1, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (endpoint, _) = listener.accept().await.unwrap();
    let place = BackendSockets::new(1).take().unwrap();
    let mut connection = Http1::new(BackendTransport::Plain(stream), place);
    connection.wire.borrow_mut().begin();
    connection.keeps = true;
    let sending = Sending::rest(vec![b'x'; LARGE]);
    connection.sending_on = Some(SendingOn::start(connection.wire.clone(), sending));
    (connection, endpoint)
}

/// What comes of a request whose connection is then closed.
async fn comes(mut endpoint: TcpStream) -> usize {
    let mut request = Vec::new();
    endpoint.read_to_end(&mut request).await.unwrap();
    request.len()
}

#[tokio::test]
async fn the_rest_of_a_request_is_written_behind_its_answer_and_then_the_connection_is_closed() {
    let work = async {
        let (connection, endpoint) = answered_early().await;
        assert!(connection.reusable(|| Duration::from_secs(60)).is_none());
        assert_eq!(comes(endpoint).await, LARGE);
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_take_it_is_left_in_time() {
    let work = async {
        let (connection, endpoint) = answered_early().await;
        assert!(connection.reusable(|| Duration::from_millis(50)).is_none());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(comes(endpoint).await < LARGE);
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test]
async fn a_connection_that_is_dropped_is_closed_whatever_is_still_to_be_written() {
    let work = async {
        let (connection, endpoint) = answered_early().await;
        drop(connection);
        assert!(comes(endpoint).await < LARGE);
    };
    LocalSet::new().run_until(work).await;
}
