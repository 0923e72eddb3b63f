//! What tunnels cost the process: memory while much passes, descriptors while nothing does. Each test has the process
//! to itself.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use headgate::app::descriptors::raise_limit;
use headgate::proxy::tunnel::{self, End, Side};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

const MEBIBYTE: usize = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// The far ends of a tunnel, client first, and the tunnel.
async fn tunnelled() -> (TcpStream, TcpStream, JoinHandle<End>) {
    let (client, of_client) = pair().await;
    let (backend, of_backend) = pair().await;
    let side = |stream| Side::Plain { stream, read: Bytes::new() };
    (client, backend, spawn_local(tunnel::run(side(of_client), side(of_backend), HOUR, |_, _| {})))
}

/// A stretch of bytes of no round length, so that a chunk lost or swapped cannot hide.
fn pattern(seed: u8) -> Vec<u8> {
    (0..65_521u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

async fn send(mut stream: OwnedWriteHalf, seed: u8, mut left: usize) {
    let pattern = pattern(seed);
    while left > 0 {
        let length = left.min(pattern.len());
        stream.write_all(&pattern[..length]).await.unwrap();
        left -= length;
    }
}

async fn receive(mut stream: OwnedReadHalf, seed: u8) -> usize {
    let pattern = pattern(seed);
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        if length == 0 {
            return at;
        }
        let mut got = &buffer[..length];
        while !got.is_empty() {
            let expected = &pattern[at % pattern.len()..];
            let (part, rest) = got.split_at(got.len().min(expected.len()));
            assert!(part == &expected[..part.len()], "other bytes than were sent after {at}");
            at += part.len();
            got = rest;
        }
    }
}

/// The most memory the process has had since [`forget_peak`].
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn open_files_named(prefix: &str) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|target| target.to_string_lossy().starts_with(prefix)).count()
}

#[test]
fn a_hundred_megabytes_each_way_arrive_whole_and_cost_no_memory() {
    let _alone = alone();
    on_worker(async {
        let (client, backend, tunnel) = tunnelled().await;
        let size = 100 * MEBIBYTE;
        let ((from_client, to_client), (from_backend, to_backend)) = (client.into_split(), backend.into_split());
        forget_peak();
        let before = peak_memory();
        let (received, sent, (), ()) = tokio::join!(
            receive(from_backend, 1),
            receive(from_client, 2),
            send(to_client, 1, size),
            send(to_backend, 2, size)
        );
        assert_eq!((received, sent), (size, size));
        // What an earlier test has left may be given back meanwhile.
        let grown = peak_memory().saturating_sub(before);
        assert!(grown < 8 * MEBIBYTE, "{grown} bytes more");
        assert_eq!(tunnel.await.unwrap(), End::Closed);
    });
}

#[test]
fn a_thousand_silent_tunnels_hold_no_pipes() {
    let _alone = alone();
    raise_limit();
    on_worker(async {
        let mut tunnels = Vec::new();
        for _ in 0..1000 {
            let (mut client, mut backend, tunnel) = tunnelled().await;
            client.write_all(b"ping").await.unwrap();
            backend.read_exact(&mut [0; 4]).await.unwrap();
            backend.write_all(b"pong").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
            tunnels.push((client, backend, tunnel));
        }
        assert!(open_files_named("socket:") >= 4000);
        let ends_of_pipes = open_files_named("pipe:");
        assert!(ends_of_pipes <= 40, "{ends_of_pipes} ends of pipes are open");
    });
}
