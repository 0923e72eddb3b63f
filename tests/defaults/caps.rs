//! How many connections the process holds: 10,000, and 2,500 of them from one address.

use std::net::{IpAddr, Ipv4Addr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::site::Site;
use crate::support::{Client, wait};

const PER_ADDRESS: usize = 2_500;
const IN_ALL: usize = 10_000;

/// For each connection one of ours, and in the proxy, which inherits the limit, two.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile).maximum;
    let needed = 2 * IN_ALL as u64;
    assert!(limit.is_none_or(|limit| limit >= needed), "{needed} open files are needed here, allowed are {limit:?}");
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
}

pub(crate) fn connections(site: &Site) {
    wait::until("no other connection", || (open(site) == 0).then_some(()));
    let in_all = in_all(site);
    let connect = |last: u8| Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), site.proxy.http);
    let mut held = Vec::new();
    for last in 1..=4 {
        held.extend((0..PER_ADDRESS.min(in_all - held.len())).map(|_| connect(last)));
        wait::until("as many as were opened", || (open(site) == held.len()).then_some(()));
        if last == 1 {
            connect(1).expect_close();
            assert_eq!(refused(site, "address"), 1.0);
        }
    }
    assert_eq!(held.len(), in_all);
    assert_eq!(connect(5).get("a.example", "/").status, 200, "who never asked makes room");
    assert_eq!((refused(site, "idle"), refused(site, "address")), (1.0, 1.0));
    for client in [PER_ADDRESS - 1, PER_ADDRESS, in_all - 1] {
        assert_eq!(held[client].get("a.example", "/").status, 200, "all but the oldest stay");
    }
}

/// What ships, unless this machine allows too few open files by the handful that the proxy needs for itself.
fn in_all(site: &Site) -> usize {
    let stderr = site.proxy.stderr();
    let lowered = stderr.split_once(&format!("--max-connections is lowered from {IN_ALL} to "));
    let lowered = lowered.map(|(_, rest)| rest.split(':').next().unwrap().parse().unwrap());
    assert!(lowered.is_none_or(|lowered| lowered > IN_ALL - 100), "{lowered:?}");
    lowered.unwrap_or(IN_ALL)
}

fn open(site: &Site) -> usize {
    site.proxy.metrics().value("proxy_connections", &[]) as usize
}

#[track_caller]
fn refused(site: &Site, reason: &str) -> f64 {
    site.proxy.counted("proxy_connections_refused_total", &[("reason", reason)], 1.0)
}
