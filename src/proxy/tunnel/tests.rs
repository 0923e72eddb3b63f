use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, duplex};
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
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
            assert_eq!(rig.tunnel.await.unwrap(), End::Closed);
            assert_eq!(rig.told.get(), (10, 8));
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
            assert_eq!((rig.tunnel.await.unwrap(), rig.told.get()), (End::Closed, (11, 8)));
        });
        on_worker(async {
            let mut rig = rig(side, side).await;
            rig.backend.write_all(b"bye").await.unwrap();
            rig.backend.shutdown().await.unwrap();
            assert_eq!(read_all(&mut rig.client).await, b"bye");
            rig.client.write_all(b"more").await.unwrap();
            read_some(&mut rig.backend, b"more").await;
            drop(rig.client);
            assert_eq!((rig.tunnel.await.unwrap(), rig.told.get()), (End::Closed, (3, 4)));
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
            assert_eq!(rig.tunnel.await.unwrap(), End::ClientFailed);
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
        let end = rig.tunnel.await.unwrap();
        assert!(matches!(end, End::Closed | End::BackendFailed), "{end:?}");
    });
}

#[test]
fn silence_ends_a_tunnel() {
    on_worker(async {
        let (mut client, of_client) = pair().await;
        let (mut backend, of_backend) = pair().await;
        let start = Instant::now();
        let idle = Duration::from_millis(50);
        let end = run(plain(of_client), plain(of_backend), idle, |_, _| {}).await;
        assert_eq!(end, End::Idle);
        assert!(start.elapsed() >= idle);
        assert!(read_all(&mut client).await.is_empty());
        assert!(read_all(&mut backend).await.is_empty());
    });
}

/// In memory, since a paused clock runs on while the kernel still carries bytes.
#[tokio::test(start_paused = true)]
async fn each_byte_puts_the_end_off() {
    let (mut client, of_client) = duplex(64);
    let (mut backend, of_backend) = duplex(64);
    let side = |io| Side::Other { io: Box::new(io), read: Bytes::new() };
    let start = Instant::now();
    let talk = async {
        sleep(HOUR / 2).await;
        client.write_all(b"x").await.unwrap();
        backend.read_exact(&mut [0]).await.unwrap();
        sleep(HOUR / 2).await;
        backend.write_all(b"y").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
    };
    let (end, ()) = tokio::join!(run(side(of_client), side(of_backend), HOUR, |_, _| {}), talk);
    assert_eq!(end, End::Idle);
    let lived = start.elapsed();
    assert!(lived >= 2 * HOUR && lived < 2 * HOUR + Duration::from_secs(1), "{lived:?}");
}

/// Writes until nothing moves for a moment; how much went.
async fn write_until_stalled(stream: &mut TcpStream) -> usize {
    let chunk = [1; 1 << 16];
    let mut accepted = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(100), stream.write(&chunk)).await {
        accepted += written.unwrap();
        assert!(accepted < 1 << 28, "nothing holds the sender back");
    }
    accepted
}

#[test]
fn a_sender_stalls_while_the_receiver_takes_nothing() {
    for side in [plain, other] {
        on_worker(async {
            let mut rig = rig(side, side).await;
            let accepted = write_until_stalled(&mut rig.client).await;
            rig.client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut rig.backend).await.len(), accepted);
            drop(rig.backend);
            assert_eq!((rig.tunnel.await.unwrap(), rig.told.get().1), (End::Closed, accepted as u64));
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
        while pipes::lent() == 0 {
            write_until_stalled(&mut rig.client).await;
        }
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
