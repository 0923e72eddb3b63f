//! A limit of memory: what clients hold is shed before it is reached, and what the process takes for itself is not.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::attack::connections;
use crate::attacks::{ALONE, endless};
use crate::support::objects::site;
use crate::support::wait::until;
use crate::support::{Backend, Client, Headgate, get, in_full};

/// In MiB, and how long it is tried to get over it.
fn limit() -> (u64, Duration) {
    if in_full() { (256, Duration::from_secs(600)) } else { (128, Duration::from_secs(20)) }
}

/// Readers that come at once, of which no more than so many stay.
const PARTY: usize = 10;
const STAY: usize = 4000;

/// More than the kernels hold on the way.
const LARGE: usize = 64_000_000;

fn level(proxy: &Headgate) -> f64 {
    proxy.metrics().value("proxy_memory_level", &[])
}

/// More and more clients ask for an answer without end and read nothing of it, as fast as the proxy tells how it does: those
/// who answer share its machine. Gives the most that it took.
fn readers(proxy: &Headgate, over: &AtomicBool) -> u64 {
    let (mut readers, mut most) = (VecDeque::new(), 0);
    while !over.load(SeqCst) {
        readers.extend(connections(proxy.http, PARTY, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        readers.drain(..readers.len().saturating_sub(STAY));
        for _ in 0..10 {
            most = most.max(proxy.resident());
            std::thread::sleep(Duration::from_millis(5));
        }
        level(proxy);
    }
    most
}

/// Sets it also where a test fails, which otherwise would not end.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Reads a large answer for about 10 s. It may pause, but it comes whole.
fn steady(proxy: &Headgate) {
    let mut client = Client::connect(proxy.http);
    client.send("GET /large HTTP/1.1\r\nHost: fine.example\r\n\r\n");
    assert_eq!(client.head().status, 200);
    for _ in 0..100 {
        client.exactly(LARGE / 100);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn slow_readers_in_any_number_stay_below_the_limit_and_load_is_taken_again_behind_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fine = Backend::scripted(|exchange| match exchange.seen.target() {
        "/large" => exchange.reply("200 OK", &"x".repeat(LARGE)),
        _ => exchange.reply("200 OK", "fine"),
    });
    let backend = endless();
    let sites = [site("a.example", &[backend.address]), site("fine.example", &[fine.address])].concat();
    let (limit, time) = limit();
    let size = format!("{limit}Mi");
    let flags = [("--memory-limit", &*size), ("--max-connections-per-address", "0"), ("--header-timeout", "10m")];
    let proxy = flags.iter().fold(Headgate::with(&sites), |proxy, (flag, value)| proxy.flag(flag, value)).start();
    let own = proxy.resident();
    assert_eq!(proxy.metrics().value("proxy_memory_limit_bytes", &[]), (limit << 20) as f64);
    let mut idle = Client::connect(proxy.http);
    assert_eq!(idle.get("fine.example", "/").status, 200);
    let begun = || {
        let mut client = Client::connect(proxy.http);
        client.send("GET /late HTTP/1.1\r\nHost: fine.example\r\n");
        client
    };
    let mut begun: Vec<_> = (0..50).map(|_| begun()).collect();
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let end = Instant::now() + time;
        let at_the_end = Sets(&over);
        let readers = scope.spawn(|| readers(&proxy, &over));
        scope.spawn(|| steady(&proxy));
        idle.expect_close();
        // Between the look and the request it may be over for a moment.
        until("a request that is refused", || {
            until("full memory", || (level(&proxy) == 2.0).then_some(()));
            let mut client = begun.pop().unwrap();
            client.send("\r\n");
            let answer = client.response();
            if answer.status == 200 {
                return None;
            }
            assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
            client.expect_close();
            Some(())
        });
        while Instant::now() < end {
            for path in ["/healthz", "/readyz", "/metrics"] {
                assert_eq!(get(proxy.admin, "admin", path).status, 200, "{path}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(at_the_end);
        readers.join().unwrap()
    });
    println!("{} KiB at first, at most {} KiB of {limit} MiB", own >> 10, most >> 10);
    assert!(most < limit << 20 && most > (limit << 20) / 100 * 92, "{} KiB", most >> 10);
    proxy.log_line("the refusal", |line| line["flag"] == "OM" && line["status"] == 503);
    assert!(proxy.metrics().value("proxy_requests_shed_total", &[]) >= 1.0);
    assert!(proxy.metrics().value("proxy_connections_refused_total", &[("reason", "memory")]) >= 1.0);
    until("enough memory", || (level(&proxy) == 0.0).then_some(()));
    let mut kept = Client::connect(proxy.http);
    for _ in 0..3 {
        assert_eq!(kept.get("fine.example", "/").status, 200);
    }
    // Said at once, then once a minute.
    let told = proxy.stderr().lines().filter(|line| line.contains("load is shed")).count();
    assert!((1..=1 + time.as_secs() as usize / 60).contains(&told), "{}", proxy.stderr());
}

#[test]
fn a_process_that_takes_more_than_the_limit_by_itself_sheds_nothing_and_says_so() {
    let backend = Backend::answering("ok");
    for (limit, told) in [("1Mi", 1), ("0", 0)] {
        let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--memory-limit", limit).start();
        let mut client = Client::connect(proxy.http);
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            assert_eq!(client.get("a.example", "/").status, 200);
        }
        assert_eq!(level(&proxy), 0.0);
        assert_eq!(proxy.stderr().lines().filter(|line| line.contains("nothing can be shed")).count(), told);
    }
}
