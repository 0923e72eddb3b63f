//! Answers that are late, wrong, half there or none.

use super::*;
use crate::source::kubernetes::fake::{Asked, Fault};

const ALL: [&str; 9] =
    ["IngressClass", "Ingress", "Service", "EndpointSlice", "Secret", "ConfigMap", "ProxyPolicy", "Namespace", "Node"];

fn resource(kind: &str) -> String {
    let resource = kind.to_lowercase();
    match resource.strip_suffix('y').filter(|_| resource.ends_with("cy")) {
        Some(stem) => format!("{stem}ies"),
        None if resource.ends_with('s') => resource + "es",
        None => resource + "s",
    }
}

/// Whether an answer to this goes wrong.
type IsHit = fn(&Asked) -> bool;

/// What an API server, or what is between, may answer instead.
const FAULTS: [Fault; 15] = [
    Fault::Status(400),
    Fault::Status(401),
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(410),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
    Fault::Event(410),
    Fault::Event(500),
    Fault::Refused,
    Fault::Silence,
    Fault::Torn,
    Fault::Nonsense,
    Fault::After(Duration::from_secs(10)),
];

#[tokio::test(start_paused = true)]
async fn the_whole_is_known_once_each_kind_is_listed() {
    for kind in ALL {
        let server = server();
        let lacking = resource(kind);
        server.err(move |asked| (asked.resource == lacking).then_some(Fault::Status(500)));
        let mut watching = Watching::begin(&server);
        watching.until("rest of it", SOON, |cluster| waits_for(cluster) == [kind]).await;
        watching.stays("waiting", LONG, |cluster| waits_for(cluster) == [kind]).await;
        server.err(|_| None);
        watching.until("whole", SOON * 6, |cluster| waits_for(cluster).is_empty()).await;
        watching.recovers(SOON).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_answered_at_first_the_whole_is_known_in_the_end() {
    for fault in FAULTS {
        let server = server();
        server.err(move |_| Some(fault));
        let mut watching = Watching::begin(&server);
        if !matches!(fault, Fault::After(_)) {
            watching.stays("waiting", LONG, |cluster| waits_for(cluster).len() >= ALL.len() - 1).await;
        }
        server.err(|_| None);
        watching.until(&format!("whole after {fault:?}"), LONG, |cluster| waits_for(cluster).is_empty()).await;
        watching.recovers(SOON).await;
    }
}

/// A watch that is taken up where it was, one that has to list anew, and one of which only the first page can be had.
#[tokio::test(start_paused = true)]
async fn whatever_is_answered_nothing_is_lost_and_what_happens_meanwhile_is_seen_afterwards() {
    let parts: [(&str, IsHit); 4] = [
        ("watches", |asked| asked.is_watch()),
        ("lists", |asked| !asked.is_watch()),
        ("pages", |asked| asked.continues()),
        ("all", |_| true),
    ];
    for (fault, (part, is_hit)) in FAULTS.iter().flat_map(|fault| parts.map(|part| (*fault, part))) {
        let server = server();
        let many = if part == "pages" { 500 } else { 0 };
        (0..many).for_each(|index| server.put("services", &format!("n/{index}"), json!({})));
        let mut watching = Watching::whole(&server).await;
        let names = |cluster: &Cluster| -> BTreeSet<String> {
            all(cluster)
                .into_iter()
                .map(|(resource, metadata)| format!("{resource} {}", metadata.name.unwrap()))
                .collect()
        };
        let before = names(&watching.cluster);
        server.err(move |asked| is_hit(asked).then_some(fault));
        if part != "watches" {
            server.forget();
        }
        server.put("ingresses", "n/a", ingress("other"));
        server.put("services", "n/z", json!({}));
        let is_kept = |cluster: &Cluster| before.is_subset(&names(cluster));
        let span = if matches!(fault, Fault::Silence) { LONG } else { LONG / 4 };
        watching.stays(&format!("kept while {part}: {fault:?}"), span, is_kept).await;
        server.delete("ingresses", "n/b");
        server.err(|_| None);
        watching.recovers(LONG).await;
    }
}
