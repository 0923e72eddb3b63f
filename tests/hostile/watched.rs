//! A proxy that is sent anything, and what must hold of all that reached its backend: one framing, which is ours, one Host,
//! no field that is not to be forwarded; and nothing that was not logged as forwarded.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::client::closed;
use crate::support::guardian::judge;
use crate::support::wait::{PATIENCE, until};
use crate::support::{Backend, Client, Headgate, Seen, get};

/// Connections that are open at once.
const AT_ONCE: usize = 8;

/// How long a text may be without an answer before its client closes its side.
const SILENCE: Duration = Duration::from_secs(3);

/// Fields that may only reach a backend where the test asks for it, beside those that never may.
const SELDOM: [&str; 4] = ["connection", "upgrade", "x-original-url", "x-rewrite-url"];

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) proxy: Headgate,
    pub(crate) backend: Backend,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered by this status.
    Answered(u16),
    /// Closed without an answer.
    Closed,
}

impl Fate {
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Fate::Answered(400..=499) | Fate::Closed)
    }
}

impl Watched {
    /// Before a backend for `a.example` that takes every body.
    pub(crate) fn new() -> Self {
        let backend = Backend::answering("ok");
        Watched { proxy: Headgate::before(&backend), backend }
    }

    /// Sends each text on a connection of its own. The N-th asks for `/N`, by which it is known afterwards.
    pub(crate) fn send_all(&self, texts: &[Vec<u8>]) -> Vec<Fate> {
        let next = AtomicUsize::new(0);
        let mut fates: BTreeMap<usize, Fate> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        let numbers = std::iter::repeat_with(|| next.fetch_add(1, SeqCst));
                        let mine = numbers.take_while(|number| *number < texts.len());
                        mine.map(|number| (number, self.send(&texts[number]))).collect::<Vec<_>>()
                    })
                })
                .collect();
            senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
        });
        (0..texts.len()).map(|number| fates.remove(&number).unwrap()).collect()
    }

    #[track_caller]
    fn send(&self, text: &[u8]) -> Fate {
        let mut client = Client::connect(self.proxy.http);
        client.send(text);
        client.patience(SILENCE);
        if client.stream.peek(&mut [0]).is_err() {
            client.shutdown_write();
        }
        client.patience(PATIENCE);
        match status(&mut client.stream) {
            Ok(status) => Fate::Answered(status),
            Err(error) if closed(&error) => Fate::Closed,
            Err(error) => panic!("{:?}: neither answered nor closed: {error}", String::from_utf8_lossy(text)),
        }
    }

    /// What reached the backend, by its path. Checks all that must hold of it, and that a clean request still passes.
    #[track_caller]
    pub(crate) fn forwarded(&self) -> BTreeMap<String, Vec<Seen>> {
        assert_eq!(get(self.proxy.http, "a.example", "/clean").text(), "ok");
        let seen = self.backend.seen();
        let wrong: Vec<_> = seen.iter().filter_map(|seen| Some(format!("{}\n{}", wrong(seen)?, seen.head))).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let told = |line: &serde_json::Value| (line["endpoint"] != "").then(|| target(line));
        until("a line for each request that was forwarded", || {
            let mut logged: Vec<_> = self.proxy.log().iter().filter_map(told).collect();
            let mut came: Vec<_> = seen.iter().map(|seen| seen.target().to_owned()).collect();
            logged.sort();
            came.sort();
            (logged == came).then_some(())
        });
        let mut by_path = BTreeMap::<String, Vec<Seen>>::new();
        for seen in seen {
            by_path.entry(seen.target().to_owned()).or_default().push(seen);
        }
        by_path
    }
}

/// Of the answer that comes.
fn status(stream: &mut impl Read) -> io::Result<u16> {
    let mut line = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut line)?;
    let line = String::from_utf8_lossy(&line);
    Ok(line.strip_prefix("HTTP/1.").and_then(|line| line[2..].parse().ok()).unwrap_or_else(|| panic!("{line:?}")))
}

fn target(line: &serde_json::Value) -> String {
    let (path, query) = (line["path"].as_str().unwrap(), line["query"].as_str().unwrap_or_default());
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// Why this request should not have been forwarded as it was.
pub(crate) fn wrong(seen: &Seen) -> Option<String> {
    if seen.all("host") != ["a.example"] {
        return Some("not the Host that was routed".into());
    }
    if let Some(name) = SELDOM.iter().find(|name| !seen.all(name).is_empty()) {
        return Some(format!("{name} is not to be forwarded"));
    }
    judge(seen)
}
