use std::future::poll_fn;
use std::time::Duration;

use bytes::Buf;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::proxy::backend_sockets::BackendSockets;
use crate::proxy::rounds;

/// A wire, and the endpoint's side of it.
async fn wire() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (endpoint, _) = listener.accept().await.unwrap();
    let place = BackendSockets::new(1).take().unwrap();
    (Wire::new(BackendTransport::Plain(stream), place), endpoint)
}

async fn more(wire: &mut Wire) -> io::Result<bool> {
    rounds::counted(poll_fn(|cx| wire.poll_more(cx))).await
}

#[test]
fn reads_grow_while_they_are_filled_and_shrink_again() {
    let mut size = Size { bytes: FIRST, shrinks: false };
    let after = |size: &mut Size, read: usize| {
        size.found(read);
        size.bytes >> 10
    };
    assert_eq!([100, 8 << 10, 16 << 10, 32 << 10, 64 << 10].map(|read| after(&mut size, read)), [8, 16, 32, 64, 64]);
    assert_eq!([40 << 10, 100, 40 << 10, 100, 100].map(|read| after(&mut size, read)), [64, 64, 64, 64, 32]);
    assert_eq!([0; 8].map(|read| after(&mut size, read)), [32, 16, 16, 8, 8, 8, 8, 8]);
}

#[tokio::test]
async fn what_comes_is_read_behind_what_is_there() {
    let (mut wire, mut endpoint) = wire().await;
    for piece in ["one ", "two ", "three"] {
        endpoint.write_all(piece.as_bytes()).await.unwrap();
        assert!(more(&mut wire).await.unwrap());
    }
    assert_eq!(wire.ahead, "one two three");
    wire.size.bytes = MOST;
    endpoint.write_all(b" four").await.unwrap();
    assert!(more(&mut wire).await.unwrap());
    assert_eq!(wire.ahead, "one two three four");
    drop(endpoint);
    assert!(!more(&mut wire).await.unwrap());
    assert_eq!(wire.ahead, "one two three four");
}

#[tokio::test]
async fn no_more_is_read_ahead_than_there_is_room_for() {
    let (mut wire, mut endpoint) = wire().await;
    let writing = tokio::spawn(async move {
        endpoint.write_all(&vec![b'x'; 4 * MOST]).await.unwrap();
        endpoint
    });
    let mut reads = Vec::new();
    while !wire.is_full() {
        let before = wire.ahead.len();
        assert!(more(&mut wire).await.unwrap());
        reads.push(wire.ahead.len() - before);
    }
    assert_eq!(wire.ahead.len(), MOST);
    assert!(reads[0] <= FIRST, "{reads:?}");
    let mut read = MOST;
    while read < 4 * MOST {
        wire.ahead.clear();
        assert!(more(&mut wire).await.unwrap());
        assert!(wire.ahead.len() <= MOST);
        read += wire.ahead.len();
    }
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn a_silent_wire_is_one_on_which_nothing_is() {
    let (mut quiet, endpoint) = wire().await;
    assert!(quiet.is_silent());
    drop(endpoint);
    let (mut spoilt, mut other) = wire().await;
    other.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // The reactor is told.
    while quiet.is_silent() || spoilt.is_silent() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!quiet.is_silent() && !spoilt.is_silent());
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_seems_to_take_all() {
    let (mut wire, endpoint) = wire().await;
    wire.begin();
    socket2::SockRef::from(&endpoint).set_linger(Some(Duration::ZERO)).unwrap();
    drop(endpoint);
    let piece = [0; 8 << 10];
    for _ in 0..1000 {
        let written = poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(&piece), IoSlice::new(&piece)])).await;
        assert!(written > 0);
        poll_fn(|cx| wire.poll_flush(cx)).await;
    }
    wire.sent = true;
    assert!(!wire.rests(), "it serves no other request");
    // The write has taken the error away, and the end would look like one in due form.
    assert_eq!(more(&mut wire).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_wire_that_rests_or_waits_keeps_no_memory_of_what_was_taken() {
    let (mut wire, mut endpoint) = wire().await;
    for rests in [true, false] {
        endpoint.write_all(b"chunks").await.unwrap();
        assert!(more(&mut wire).await.unwrap());
        let all = wire.ahead.clone();
        wire.ahead.advance(6);
        match rests {
            true => assert!(wire.rests()),
            false => assert!(poll_fn(|cx| Poll::Ready(wire.poll_more(cx).is_pending())).await),
        }
        assert!(all.is_unique(), "{rests}");
    }
}

#[tokio::test]
async fn a_few_bytes_of_a_large_read_keep_little() {
    let (mut wire, mut endpoint) = wire().await;
    wire.size.bytes = MOST;
    endpoint.write_all(b"few").await.unwrap();
    assert!(more(&mut wire).await.unwrap());
    let few = Vec::from(std::mem::take(&mut wire.ahead));
    assert!(few.capacity() < FIRST, "{}", few.capacity());
}
