//! Attacks under way while others are served: their slowest requests take hardly longer than without it, and what the
//! attack makes us hold is bounded. One at a time, for time is measured.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::attack::{Attack, attackers, connections};
use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, encode};
use crate::support::objects::{self, Objects};
use crate::support::tls::Tls;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get, in_full};

pub(crate) static ALONE: Mutex<()> = Mutex::new(());

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

/// Those of them that ask for an answer without end, or send a body.
const READERS: usize = 200;

/// KiB that one of them may make the process keep: 64 MiB for 1,000.
const LITTLE: u64 = 64;

/// Where it sent a head of which all but the end has come, which may have 64 KiB.
const HEAD: u64 = 96;

/// Where an answer waits for it: 64 KiB read ahead from the backend, as much to be written and a piece on its way to that,
/// and what two connections and the allocator take.
const ANSWER: u64 = 320;

/// The same for a stream, which has no connection of its own in front.
const STREAM: u64 = 128;

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
/// once it is under way, with what shows that each attacker was cut.
#[track_caller]
fn unnoticed<Cut: FnOnce()>(
    victim: &Backend,
    flags: &[(&str, &str)],
    (attackers, each): (usize, u64),
    attack: impl FnOnce(&Arc<Headgate>, &mut Attack) -> Cut,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (sites, _fine) = sites(victim);
    let flags = flags.iter().chain(&[("--max-connections-per-address", "0"), ("--max-connections", "20000")]);
    let builder = flags.fold(Headgate::with(&sites), |builder, (flag, value)| builder.flag(flag, value));
    let proxy = Arc::new(builder.start());
    let calm = slowest(&proxy);
    busy(&proxy);
    let resident = proxy.resident();
    let mut under_way = Attack::default();
    let cut = attack(&proxy, &mut under_way);
    let most = calm.max(UNFELT) * slower();
    let attacked = (0..TRIES).map(|_| slowest(&proxy)).find(|attacked| *attacked <= most);
    let grown = proxy.resident().saturating_sub(resident);
    let admin = Instant::now();
    assert_eq!(get(proxy.admin, "admin", "/healthz").status, 200);
    let admin = admin.elapsed();
    cut();
    under_way.end();
    let each_grown = (grown >> 10) / attackers as u64;
    if let Some(attacked) = attacked {
        println!(
            "p99 {calm:?} before, {attacked:?} within; {attackers} attackers, {each_grown} KiB each; health in {admin:?}"
        );
    }
    assert!(attacked.is_some(), "p99 {calm:?} before the attack, more than {most:?} within");
    assert!(each_grown <= each, "{each_grown} KiB an attacker");
    assert!(admin < Duration::from_secs(1), "{admin:?}");
    assert_eq!(get(proxy.http, "fine.example", "/").status, 200);
}

/// What the process takes for itself when there is much to do, as for its log, it has taken behind this.
fn busy(proxy: &Headgate) {
    let mut client = Client::connect(proxy.http);
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n".repeat(100));
        (0..100).for_each(|_| assert_eq!(client.response().status, 404));
    }
}

fn hold() -> Backend {
    Backend::scripted(|exchange| exchange.until_abandoned())
}

const HEADS: [(&str, &str); 1] = [("--header-timeout", "8s")];

#[test]
fn slow_heads() {
    unnoticed(&hold(), &HEADS, (attackers(), LITTLE), |proxy, attack| {
        attack.hold(proxy.http, attackers(), b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ", b"y", "HTTP/1.1 408")
    });
}

#[test]
fn slow_bodies() {
    let posts = attackers().min(1000) / if in_full() { 1 } else { 5 };
    unnoticed(&hold(), &[("--body-idle-timeout", "500ms")], (posts, LITTLE), |proxy, attack| {
        let head = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n";
        attack.hold(proxy.http, posts, head, b"y", "HTTP/1.1 408")
    });
}

#[test]
fn large_heads_that_never_end() {
    unnoticed(&hold(), &HEADS, (attackers(), HEAD), |proxy, attack| {
        let head = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}", "y".repeat(60_000));
        attack.hold(proxy.http, attackers(), head.as_bytes(), b"", "HTTP/1.1 408")
    });
}

/// Nothing of them is left behind.
#[test]
fn resets() {
    unnoticed(&hold(), &[], (attackers(), LITTLE), |proxy, attack| {
        for address in [proxy.http, proxy.https] {
            attack.again(500, move || Client::connect(address).reset());
        }
        let (proxy, over) = (proxy.clone(), attack.over.clone());
        move || {
            over.store(true, SeqCst);
            no_connection(&proxy);
        }
    });
}

#[track_caller]
fn no_connection(proxy: &Headgate) {
    until("no connection", || (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(()));
}

#[test]
fn handshakes() {
    unnoticed(&hold(), &[("--tls-handshake-timeout", "3s")], (1000, LITTLE), |proxy, attack| {
        let address = proxy.https;
        attack.again(100, move || drop(Tls::to("a.example").connect(address)));
        // And those that end in the middle.
        let half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        let cut = attack.hold(proxy.https, 1000, half, b"", "");
        let proxy = proxy.clone();
        move || {
            cut();
            proxy.counted("proxy_connections_refused_total", &[("reason", "tls_handshake")], 1000.0);
        }
    });
}

/// So many a second come to 200 while it is measured, each of which is cut.
#[test]
fn rapid_resets() {
    unnoticed(&hold(), &[], (200, LITTLE), |proxy, attack| {
        let address = proxy.http;
        let cut = Arc::new(AtomicUsize::new(0));
        let counted = cut.clone();
        attack.again(40, move || {
            let block = encode(&[(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
            let mut frames = Frames::connect(address);
            let is_cut = (1..2000).step_by(2).any(|stream| {
                let opened = frames.try_send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
                opened.and_then(|()| frames.try_send(RST_STREAM, 0, stream, &8u32.to_be_bytes())).is_err()
            });
            assert!(is_cut || frames.ending().is_some(), "not cut");
            counted.fetch_add(1, SeqCst);
        });
        move || assert!(cut.load(SeqCst) >= 50, "{} attackers", cut.load(SeqCst))
    });
}

/// Behind one another, and answered at once: the first takes long to read, and of the second many are read together. In
/// full, without the log: its buffers, which have a bound of their own, fill then.
#[test]
fn pipelined_requests() {
    let flags: &[_] = if in_full() { &[("--access-log", "off")] } else { &[] };
    unnoticed(&hold(), flags, (4, ANSWER), |proxy, attack| {
        let head = |query: &str| format!("GET /?{query} HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
        for requests in [head(&"%2f".repeat(20_000)), head("").repeat(1000)] {
            (0..2).for_each(|_| attack.pour(proxy.http, requests.clone().into()));
        }
        || ()
    });
}

/// What [`endless`] backends have sent.
static SENT: AtomicUsize = AtomicUsize::new(0);

/// Sends without end.
pub(crate) fn endless() -> Backend {
    Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        loop {
            exchange.send([b'x'; 16 << 10])?;
            SENT.fetch_add(1, SeqCst);
        }
    })
}

/// Waits until the kernels and the process hold all that they will.
#[track_caller]
fn settled() {
    until("the answers to stand still", || {
        let before = SENT.load(SeqCst);
        std::thread::sleep(Duration::from_secs(1));
        (before > 0 && SENT.load(SeqCst) == before).then_some(())
    });
}

/// As long as it is measured, clients that take nothing are not cut.
const STALLED: [(&str, &str); 1] = [("--write-timeout", "20s")];

/// Two clients ask for 100 endless answers each, with windows of one byte. Each of these is a request with a connection to a
/// backend.
#[test]
fn windows_of_one_byte() {
    const STREAMS: usize = 100;
    unnoticed(&endless(), &STALLED, (READERS / STREAMS, STREAMS as u64 * STREAM), |proxy, _| {
        let client = |_| {
            let mut frames = Frames::with_settings(proxy.http, &[(4, 1)]);
            (0..STREAMS as u32).for_each(|number| frames.get(2 * number + 1, "a.example", "/"));
            frames
        };
        let clients: Vec<_> = (0..READERS / STREAMS).map(client).collect();
        settled();
        move || {
            for mut frames in clients {
                (0..STREAMS).for_each(|_| assert!(frames.until(RST_STREAM, |_| true).is_some(), "not cut"));
            }
        }
    });
}

/// They take one byte a second.
#[test]
fn slow_readers_within_256_mebibytes() {
    unnoticed(&endless(), &STALLED, (READERS, ANSWER), |proxy, attack| {
        let mut streams = connections(proxy.http, READERS, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        settled();
        assert!(proxy.resident() < 256 << 20, "{} KiB", proxy.resident() >> 10);
        attack.again(1, move || streams.iter_mut().for_each(|stream| drop(stream.read(&mut [0]))));
        let proxy = proxy.clone();
        move || no_connection(&proxy)
    });
}
