//! Accepting while the process is out of file descriptors. Alone in its process, which it starves.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Mutex;

use headgate::app::descriptors::raise_limit;
use headgate::connecting::is_ours;
use headgate::proxy::listener;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Takes every descriptor that is left below a limit small enough to be reached.
fn exhaust() -> Vec<File> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: limit.maximum }).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// Descriptors are the process's, so that one test has them at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Whether it is a port or an address that is lacking cannot be told without a descriptor.
#[test]
fn without_a_descriptor_a_lack_of_ports_is_not_the_endpoint_s() {
    let _alone = ALONE.lock();
    let no_port = Errno::ADDRNOTAVAIL.into();
    // No socket may be connected to it that has not asked for broadcasts.
    let broadcast = "255.255.255.255:80".parse().unwrap();
    let held = exhaust();
    assert!(is_ours(&no_port, broadcast));
    drop(held);
    assert!(!is_ours(&no_port, broadcast));
    raise_limit();
}

#[test]
fn a_client_that_meets_exhausted_descriptors_is_accepted_once_some_are_free() {
    let _alone = ALONE.lock();
    let by = listener::ChangedBy { address: "--bind-address", port: "--http-port" };
    let (bound, mut listeners) = listener::bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0, 1, by).unwrap();
    let client = TcpStream::connect(bound).unwrap();
    runtime().block_on(async {
        let listener = TcpListener::from_std(listeners.remove(0)).unwrap();
        let held = Cell::new(exhaust());
        let starved = Cell::new(0);
        let on_starved = || {
            starved.set(starved.get() + 1);
            if starved.get() == 3 {
                drop(held.take());
            }
        };
        let (_stream, peer) = listener::accept(&listener, on_starved).await;
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(starved.get(), 3);
    });
    assert_eq!(raise_limit(), getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
}
