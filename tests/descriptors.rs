//! Accepting while the process is out of file descriptors. Alone in its process, which it starves.
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use headgate::app::descriptors::raise_limit;
use headgate::proxy::listener;
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

#[test]
fn a_client_that_meets_exhausted_descriptors_is_accepted_once_some_are_free() {
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
