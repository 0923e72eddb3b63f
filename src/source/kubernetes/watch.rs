//! Follows one kind: lists it, then takes each change as it comes, for as long as the process lives.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use kube::Client;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::time::Instant;

use super::Scope;
use super::following::Following;
use super::kind::{Kind, OptionalIf, Secrets};
use super::part::Part;
use super::store::Store;

/// How long the API server lets a watch go on, after which it is taken up where it was. Also bounds how long a connection
/// that died without a word goes unnoticed.
const WATCH_SECONDS: u32 = 60;

/// Rests after errors, doubled each time.
const SHORTEST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// An error is over when none has come for this long: longer than an API server is waited for that says nothing.
pub(super) const OVER: Duration = Duration::from_secs(80);

/// The watch of one kind, to be spawned.
pub(super) fn of<K: Kind>(
    client: &Client,
    part: Part,
    scope: &Scope,
    store: &Arc<Store>,
) -> impl Future<Output = Infallible> + use<K> {
    follow(client, Following::<K>::new(part, scope, store.clone(), K::OPTIONAL_IF, |_| true))
}

/// The same of what no request depends on, and nothing waits for.
pub(super) fn beside<K: Kind>(
    client: &Client,
    part: Part,
    scope: &Scope,
    store: &Arc<Store>,
) -> impl Future<Output = Infallible> + use<K> {
    follow(client, Following::<K>::new(part, scope, store.clone(), OptionalIf::Always, |_| true))
}

fn follow<K: Kind>(client: &Client, mut following: Following<K>) -> impl Future<Output = Infallible> + use<K> {
    let client = client.clone();
    async move {
        loop {
            let mut events = std::pin::pin!(events::<K>(&client, &following.part));
            while let Some(event) = following.next(&mut events).await {
                following.take(event);
            }
        }
    }
}

/// Of no use to anybody here, large and many.
const NO_SECRETS: [&str; 2] = ["type!=helm.sh/release.v1", "type!=kubernetes.io/service-account-token"];

/// What the API server tells of the kind.
pub(super) fn events<K: Kind>(
    client: &Client,
    part: &Part,
) -> impl Stream<Item = watcher::Result<Event<K::Watched>>> + Send + use<K> {
    watcher(K::api(client, part), config::<K>(part).timeout(WATCH_SECONDS))
}

/// What of the kind is asked for.
pub(super) fn config<K: Kind>(part: &Part) -> watcher::Config {
    let mut config = part.config();
    if K::NAME == Secrets::NAME {
        let own = config.field_selector.take();
        config = config.fields(&Vec::from_iter(own.as_deref().into_iter().chain(NO_SECRETS)).join(","));
    }
    config
}

/// The rests between errors.
#[derive(Default)]
pub(super) struct Rests {
    errors: u32,
    last: Option<Instant>,
}

impl Rests {
    pub(super) async fn rest(&mut self) {
        let longest = SHORTEST_REST.saturating_mul(1 << self.errors.min(10)).min(LONGEST_REST);
        self.errors += 1;
        let rest = longest.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
        self.last = Some(Instant::now() + rest);
        tokio::time::sleep(rest).await;
    }

    /// An error has come of late.
    pub(super) fn have_begun(&self) -> bool {
        self.errors > 0
    }

    /// Waits until no error has come for `quiet`, given that one has.
    pub(super) async fn over(&self, quiet: Duration) {
        match self.last {
            Some(last) => tokio::time::sleep_until(last + quiet).await,
            None => pending().await,
        }
    }

    pub(super) fn end(&mut self) {
        *self = Rests::default();
    }
}
