//! Attacks under way while others are served: their slowest requests take hardly longer than without it, and what the
//! attack makes us hold is bounded. One at a time, for time is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, encode};
use crate::support::objects::{self, Objects};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get, in_full};

static ALONE: Mutex<()> = Mutex::new(());

/// Those who are not to notice: each asks once a turn.
const OTHERS: usize = 16;
const TURN: Duration = Duration::from_millis(200);

/// What a backend takes for a request. On a busy machine far from what threads wait for a CPU; where this is all that the
/// machine does (`make hostile`) nothing, so that it hides nothing.
fn work() -> Duration {
    if in_full() { Duration::ZERO } else { Duration::from_millis(150) }
}

/// What nobody notices: twice of less than that is less than this.
const UNFELT: Duration = Duration::from_millis(5);

/// How long requests are measured, before the attack and within it: 320 of them, of which the slowest three are left out.
const WINDOW: Duration = Duration::from_secs(4);

/// A busy machine makes requests slower, and an attack that is felt makes them slow each time: so often it is asked.
const TRIES: usize = 3;

/// How much slower the slowest may be.
fn slower() -> u32 {
    if in_full() { 2 } else { 10 }
}

/// Attackers at a time.
const ATTACKERS: usize = 1000;

/// Those of them that ask for an answer without end.
const READERS: usize = 200;

/// KiB that one of them may make the process keep: 64 MiB for 1,000.
const LITTLE: u64 = 64;

/// Where it has sent as much itself, or has a request in flight and with it a connection to a backend.
const REQUEST: u64 = 128;

/// Where an answer waits for it in the buffers of both connections.
const ANSWER: u64 = 512;

/// The 99th percentile of what a request takes, for a while.
fn slowest(proxy: &Headgate) -> Duration {
    let end = Instant::now() + WINDOW;
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let others: Vec<_> = (0..OTHERS)
            .map(|other| {
                scope.spawn(move || {
                    let mut took = Vec::new();
                    std::thread::sleep(TURN * other as u32 / OTHERS as u32);
                    while Instant::now() < end {
                        let start = Instant::now();
                        assert_eq!(get(proxy.http, "fine.example", "/").status, 200);
                        took.push(start.elapsed());
                        std::thread::sleep(TURN.saturating_sub(start.elapsed()));
                    }
                    took
                })
            })
            .collect();
        others.into_iter().flat_map(|other| other.join().unwrap()).collect()
    });
    took.sort();
    took[took.len() * 99 / 100]
}

/// The sites: `fine.example`, and `a.example` before `victim`.
fn sites(victim: &Backend) -> (Objects, Backend) {
    let fine = Backend::scripted(|exchange| {
        std::thread::sleep(work());
        exchange.reply("200 OK", "fine")
    });
    let mut sites = objects::site("a.example", &[victim.address]);
    sites.extend(objects::site("fine.example", &[fine.address]));
    (sites, fine)
}

/// Measures, attacks, measures again; each of so many attackers may make the process keep `each` KiB. `attack` returns
/// once it is under way, with what goes on by itself until it is dropped.
#[track_caller]
fn unnoticed<T>(victim: &Backend, attackers: usize, each: u64, attack: impl FnOnce(&Headgate, &mut Attack) -> T) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (sites, _fine) = sites(victim);
    let proxy = Headgate::serve(&sites);
    let calm = slowest(&proxy);
    let resident = proxy.resident();
    let mut under_way = Attack::default();
    let attack = attack(&proxy, &mut under_way);
    let most = calm.max(UNFELT) * slower();
    let attacked = (0..TRIES).map(|_| slowest(&proxy)).find(|attacked| *attacked <= most);
    let grown = proxy.resident().saturating_sub(resident);
    let admin = Instant::now();
    assert_eq!(get(proxy.admin, "admin", "/healthz").status, 200);
    let admin = admin.elapsed();
    under_way.end();
    drop(attack);
    if let Some(attacked) = attacked {
        println!("p99 {calm:?} before, {attacked:?} within; {} KiB more; health in {admin:?}", grown >> 10);
    }
    assert!(attacked.is_some(), "p99 {calm:?} before the attack, more than {most:?} within");
    assert!(grown >> 10 <= each * attackers as u64, "{} KiB more", grown >> 10);
    assert!(admin < Duration::from_secs(1), "{admin:?}");
    assert_eq!(get(proxy.http, "fine.example", "/").status, 200);
}

fn hold() -> Backend {
    Backend::scripted(|exchange| exchange.until_abandoned())
}

/// So many connections, each of which sent `first` and makes room for little of what comes: what the system holds on the way
/// is not what is looked at.
pub(crate) fn connections(address: SocketAddr, count: usize, first: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).ok()?;
        socket.set_recv_buffer_size(4 << 10).ok()?;
        socket.connect(&address.into()).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(first).ok()?;
        Some(stream)
    };
    let connected: Vec<_> = (0..count).filter_map(connect).collect();
    assert_eq!(connected.len(), count, "attackers that were let in");
    connected
}

/// What goes on until it is over.
#[derive(Default)]
struct Attack {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Does it again and again, so many times a second.
    fn again(&mut self, each_second: u32, mut one: impl FnMut() + Send + 'static) {
        let over = self.over.clone();
        self.threads.push(std::thread::spawn(move || {
            let start = Instant::now();
            for number in 1.. {
                one();
                if over.load(SeqCst) {
                    return;
                }
                std::thread::sleep((Duration::from_secs(1) * number / each_second).saturating_sub(start.elapsed()));
            }
        }));
    }

    /// Sends `piece` on each of them every second.
    fn drip(&mut self, mut streams: Vec<TcpStream>, piece: &'static [u8]) {
        self.again(1, move || streams.retain_mut(|stream| stream.write_all(piece).is_ok()));
    }

    /// It went on until now.
    #[track_caller]
    fn end(self) {
        self.over.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("the attack ended early"));
    }
}

#[test]
fn slow_heads() {
    unnoticed(&hold(), ATTACKERS, LITTLE, |proxy, attack| {
        attack.drip(connections(proxy.http, ATTACKERS, b"GET / HTTP/1.1\r\nHost: a.example\r\nX: "), b"y");
    });
}

#[test]
fn slow_bodies() {
    unnoticed(&hold(), ATTACKERS / 2, REQUEST, |proxy, attack| {
        let head = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n";
        attack.drip(connections(proxy.http, ATTACKERS / 2, head), b"y");
    });
}

#[test]
fn large_heads_that_never_end() {
    unnoticed(&hold(), ATTACKERS, REQUEST, |proxy, _| {
        let head = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}", "y".repeat(60_000));
        connections(proxy.http, ATTACKERS, head.as_bytes())
    });
}

#[test]
fn resets() {
    unnoticed(&hold(), ATTACKERS, LITTLE, |proxy, attack| {
        for address in [proxy.http, proxy.https] {
            attack.again(500, move || Client::connect(address).reset());
        }
    });
}

#[test]
fn handshakes() {
    unnoticed(&hold(), ATTACKERS, LITTLE, |proxy, attack| {
        let address = proxy.https;
        attack.again(100, move || drop(Tls::to("a.example").connect(address)));
        // And those that end in the middle.
        connections(proxy.https, ATTACKERS, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    });
}

#[test]
fn rapid_resets() {
    unnoticed(&hold(), ATTACKERS, LITTLE, |proxy, attack| {
        let address = proxy.http;
        attack.again(20, move || {
            let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
            let mut frames = Frames::connect(address);
            for stream in (1..400).step_by(2) {
                let opened = frames.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
                if opened.and_then(|()| frames.try_send(RST_STREAM, 0, stream, &8u32.to_be_bytes())).is_err() {
                    return;
                }
            }
        });
    });
}

/// Sends without end.
pub(crate) fn endless() -> Backend {
    Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        loop {
            exchange.send([b'x'; 16 << 10])?;
        }
    })
}

/// Waits until the process has handed out all that its clients take.
#[track_caller]
fn settled(proxy: &Headgate) {
    until("the answers to stand still", || {
        let before = proxy.cpu_ticks();
        std::thread::sleep(Duration::from_millis(500));
        (proxy.cpu_ticks() - before < 10).then_some(())
    });
}

/// Two clients ask for 100 endless answers each, with windows of one byte.
#[test]
fn windows_of_one_byte() {
    unnoticed(&endless(), READERS, ANSWER, |proxy, _| {
        let client = |_| {
            let mut frames = Frames::with_settings(proxy.http, &[(4, 1)]);
            (0..100).for_each(|number| frames.get(2 * number + 1, "a.example", "/"));
            frames
        };
        let clients: Vec<_> = (0..READERS / 100).map(client).collect();
        settled(proxy);
        clients
    });
}

/// They take one byte a second.
#[test]
fn slow_readers_within_256_mebibytes() {
    unnoticed(&endless(), READERS, ANSWER, |proxy, attack| {
        let mut streams = connections(proxy.http, READERS, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        settled(proxy);
        assert!(proxy.resident() < 256 << 20, "{} KiB", proxy.resident() >> 10);
        attack.again(1, move || streams.retain_mut(|stream| stream.read(&mut [0]).is_ok_and(|read| read > 0)));
    });
}
