use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A tunnel under test and the far ends of its two sides.
struct Rig {
    client: TcpStream,
    backend: TcpStream,
    tunnel: JoinHandle<End>,
    /// Sums of what `progress` was told.
    told: Rc<Cell<(u64, u64)>>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

fn plain(stream: TcpStream) -> Side {
    Side::Plain { stream, read: Bytes::new() }
}

/// Something that is not a socket and keeps bytes back until it is flushed.
fn other(stream: TcpStream) -> Side {
    Side::Other { io: Box::new(BufStream::new(stream)), read: Bytes::new() }
}

async fn rig(client_side: impl Fn(TcpStream) -> Side, backend_side: impl Fn(TcpStream) -> Side) -> Rig {
    let (client, of_client) = pair().await;
    let (backend, of_backend) = pair().await;
    let told = Rc::new(Cell::new((0, 0)));
    let sums = told.clone();
    let progress = move |sent, received| {
        let (all_sent, all_received) = sums.get();
        sums.set((all_sent + sent, all_received + received));
    };
    let tunnel = spawn_local(run(client_side(of_client), backend_side(of_backend), HOUR, progress));
    Rig { client, backend, tunnel, told }
}

/// Runs `test` as a worker would.
fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

async fn read_some(stream: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    got
}

async fn ping_pong(rig: &mut Rig) {
    rig.client.write_all(b"ping").await.unwrap();
    read_some(&mut rig.backend, b"ping").await;
    rig.backend.write_all(b"pong!").await.unwrap();
    read_some(&mut rig.client, b"pong!").await;
}

#[test]
fn bytes_pass_both_ways_and_are_told() {
    for (client, backend) in
        [(plain as fn(_) -> _, plain as fn(_) -> _), (other, plain), (plain, other), (other, other)]
    {
        on_worker(async {
            let mut rig = rig(client, backend).await;
            ping_pong(&mut rig).await;
            ping_pong(&mut rig).await;
            assert_eq!(rig.told.get(), (10, 8));
            drop((rig.client, rig.backend));
            let end = rig.tunnel.await.unwrap();
            assert_eq!((end.sent, end.received), (10, 8));
        });
    }
}

#[test]
fn what_was_read_ahead_goes_first() {
    let ahead = |read: &'static [u8]| move |stream| Side::Plain { stream, read: Bytes::from_static(read) };
    on_worker(async {
        let mut rig = rig(ahead(b"early "), ahead(b"frame ")).await;
        rig.client.write_all(b"client").await.unwrap();
        rig.backend.write_all(b"backend").await.unwrap();
        read_some(&mut rig.backend, b"early client").await;
        read_some(&mut rig.client, b"frame backend").await;
    });
}

#[test]
fn the_end_of_one_side_is_passed_on_while_the_other_goes_on() {
    for side in [plain, other] {
        on_worker(async {
            let mut rig = rig(side, side).await;
            rig.client.write_all(b"question").await.unwrap();
            rig.client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut rig.backend).await, b"question");
            rig.backend.write_all(b"long answer").await.unwrap();
            read_some(&mut rig.client, b"long answer").await;
            drop(rig.backend);
            assert_eq!(rig.tunnel.await.unwrap(), End { sent: 11, received: 8, reason: Reason::ClientClosed });
        });
        on_worker(async {
            let mut rig = rig(side, side).await;
            rig.backend.write_all(b"bye").await.unwrap();
            rig.backend.shutdown().await.unwrap();
            assert_eq!(read_all(&mut rig.client).await, b"bye");
            rig.client.write_all(b"more").await.unwrap();
            read_some(&mut rig.backend, b"more").await;
            drop(rig.client);
            assert_eq!(rig.tunnel.await.unwrap(), End { sent: 3, received: 4, reason: Reason::BackendClosed });
        });
    }
}

#[test]
fn a_reset_ends_the_tunnel_at_once() {
    for side in [plain, other] {
        on_worker(async {
            let mut rig = rig(side, side).await;
            rig.client.set_zero_linger().unwrap();
            drop(rig.client);
            assert!(read_all(&mut rig.backend).await.is_empty());
            let reason = rig.tunnel.await.unwrap().reason;
            assert_eq!(reason, Reason::ClientFailed(io::ErrorKind::ConnectionReset));
        });
    }
}

#[test]
fn the_last_words_of_a_backend_that_takes_no_more_still_arrive() {
    on_worker(async {
        let mut rig = rig(plain, plain).await;
        rig.backend.write_all(b"go away").await.unwrap();
        drop(rig.backend);
        // Enough for the backend's socket to answer with a reset while we write.
        let _ = rig.client.write_all(&[7; 1 << 20]).await;
        read_some(&mut rig.client, b"go away").await;
        drop(rig.client);
        let reason = rig.tunnel.await.unwrap().reason;
        assert!(matches!(reason, Reason::BackendClosed | Reason::BackendFailed(_)), "{reason:?}");
    });
}

#[test]
fn silence_ends_a_tunnel_and_each_byte_puts_it_off() {
    on_worker(async {
        let mut rig = rig(plain, plain).await;
        let start = Instant::now();
        sleep(HOUR / 2).await;
        rig.client.write_all(b"x").await.unwrap();
        read_some(&mut rig.backend, b"x").await;
        sleep(HOUR / 2).await;
        rig.backend.write_all(b"y").await.unwrap();
        read_some(&mut rig.client, b"y").await;
        assert_eq!(rig.tunnel.await.unwrap(), End { sent: 1, received: 1, reason: Reason::Idle });
        let lived = start.elapsed();
        assert!(lived >= 2 * HOUR && lived < 2 * HOUR + HOUR / 100, "{lived:?}");
        assert!(read_all(&mut rig.client).await.is_empty());
        assert!(read_all(&mut rig.backend).await.is_empty());
    });
}

#[test]
fn a_sender_stalls_while_the_receiver_takes_nothing() {
    for side in [plain, other] {
        on_worker(async {
            let mut rig = rig(side, side).await;
            let mut accepted = 0;
            let chunk = [1; 1 << 16];
            // The clock is paused: the time runs out only when nothing at all can move.
            while let Ok(written) = tokio::time::timeout(HOUR / 100, rig.client.write(&chunk)).await {
                accepted += written.unwrap();
                assert!(accepted < 1 << 28, "nothing held the sender back");
            }
            rig.client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut rig.backend).await.len(), accepted);
            drop(rig.backend);
            assert_eq!(rig.tunnel.await.unwrap().received, accepted as u64);
        });
    }
}

#[test]
fn without_a_pipe_bytes_are_copied() {
    on_worker(async {
        let taken: Vec<_> = std::iter::from_fn(pipes::lend).collect();
        assert_eq!(taken.len(), pipes::MOST_LENT);
        let mut rig = rig(plain, plain).await;
        ping_pong(&mut rig).await;
        let long = vec![3; 1 << 20];
        let (sent, ()) = tokio::join!(rig.client.write_all(&long), read_some(&mut rig.backend, &long));
        sent.unwrap();
        drop(taken);
        ping_pong(&mut rig).await;
    });
}

#[test]
fn pipes_go_back_when_bytes_have_passed_and_when_a_tunnel_is_dropped() {
    on_worker(async {
        let mut rig = rig(plain, plain).await;
        ping_pong(&mut rig).await;
        assert_eq!(pipes::lent(), 0);
        let stalled = async { while rig.client.write(&[1; 1 << 16]).await.is_ok() {} };
        assert!(tokio::time::timeout(HOUR / 100, stalled).await.is_err());
        assert_eq!(pipes::lent(), 1, "bytes wait in a pipe for the backend");
        rig.tunnel.abort();
        assert!(rig.tunnel.await.unwrap_err().is_cancelled());
        assert_eq!(pipes::lent(), 0);
        // What was in the pipe is gone with it: the next tunnel's bytes are its own.
        let mut next = self::rig(plain, plain).await;
        ping_pong(&mut next).await;
        assert!(rig.client.read(&mut [0]).await.map_or(true, |read| read == 0));
    });
}

#[test]
fn a_tunnel_is_small() {
    on_worker(async {
        let (_client, of_client) = pair().await;
        let (_backend, of_backend) = pair().await;
        let tunnel = run(plain(of_client), plain(of_backend), HOUR, |_, _| {});
        assert!(size_of_val(&tunnel) <= 768, "{}", size_of_val(&tunnel));
    });
}
