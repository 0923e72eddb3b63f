//! Host names in `[[backends]]`: 30 s after they were looked up, they are looked up again.

use std::time::{Duration, Instant};

use crate::LATE;
use crate::site::LONG;
use crate::support::wait::{until, within};
use crate::support::{Backend, Client, Headgate, get};

const FRESH: Duration = Duration::from_secs(30);
const UNRESOLVED: &str = "the host name does not resolve";
const RESOLVED: &str = "the host name resolves again";

/// A plain proxy before a name, which is that of the first backend.
struct Named {
    proxy: Headgate,
    /// At one port of two addresses.
    backends: [Backend; 2],
    /// Between these the name was looked up.
    looked_up: [Instant; 2],
}

impl Named {
    fn start() -> Self {
        let first = Backend::answering_at(([127, 90, 0, 1], 0).into(), "first");
        let second = Backend::answering_at(([127, 90, 0, 2], first.address.port()).into(), "second");
        let server = "[server]\nbind_addr = \"127.0.0.1:0\"";
        let port = first.address.port();
        let config = format!("{server}\n[[backends]]\nname = \"app\"\naddr = \"app.test:{port}\"");
        // The log tells when a name is looked up that did not resolve before.
        let proxy = Headgate::plain(&config).hosts("").start();
        until("a first look", || proxy.stderr().contains(UNRESOLVED).then_some(()));
        let before = Instant::now();
        proxy.folder.write_hosts("127.90.0.1 app.test");
        until("the next look", || proxy.stderr().contains(RESOLVED).then_some(()));
        let looked_up = [before, Instant::now()];
        until("the first backend", || (get(proxy.http, "a", "/").status == 200).then_some(()));
        Named { proxy, backends: [first, second], looked_up }
    }

    fn told(&self, text: &str) -> usize {
        self.proxy.stderr().matches(text).count()
    }

    /// Asks on one connection, and fails with the first request that fails, until `done` says that of an answer. That is
    /// when the name is looked up again.
    #[track_caller]
    fn ask_until(&self, done: impl Fn(&str) -> bool) {
        let mut client = Client::connect(self.proxy.http);
        let found = within(LONG, || {
            let answer = client.get("a", "/");
            assert_eq!(answer.status, 200);
            done(&answer.text()).then_some(())
        });
        let took = self.looked_up.map(|start| start.elapsed());
        assert!(found.is_some() && took[0] >= FRESH && took[1] <= FRESH + LATE, "{took:?}");
    }
}

pub(crate) fn moves() {
    let named = Named::start();
    named.proxy.folder.write_hosts("127.90.0.2 app.test");
    named.ask_until(|answer| answer == "second");
    let before = named.backends[0].seen().len();
    assert!(before > 0, "the first address was asked until then");
    let mut client = Client::connect(named.proxy.http);
    (0..20).for_each(|_| assert_eq!(client.get("a", "/").text(), "second"));
    assert_eq!(named.backends[0].seen().len(), before);
}

/// What it was stays, until it is something else.
pub(crate) fn goes() {
    let named = Named::start();
    named.proxy.folder.write_hosts("");
    named.ask_until(|answer| {
        assert_eq!(answer, "first");
        named.told(UNRESOLVED) == 2
    });
    let mut client = Client::connect(named.proxy.http);
    (0..20).for_each(|_| assert_eq!(client.get("a", "/").text(), "first"));
    named.proxy.folder.write_hosts("127.90.0.2 app.test");
    until("the second", || (client.get("a", "/").text() == "second").then_some(()));
    until("the log line", || (named.told(RESOLVED) == 2).then_some(()));
}
