use std::thread;

use super::*;
use crate::tables::{LiveAction, Published};

/// All parts of it carry the same number.
fn numbered(number: u64) -> Arc<Snapshot> {
    let service = format!("s{number}");
    let host = Host { tls: number.is_multiple_of(2), routes: vec![route(PREFIX, "/", &service)] };
    Arc::new(Snapshot {
        hosts: Arc::new(BTreeMap::from([(HostPattern::parse("h").unwrap(), Arc::new(host))])),
        backends: BTreeMap::from([(backend_id(&service), backend(&[number as u16]))]),
        ..Snapshot::default()
    })
}

/// The number that all parts carry.
fn number(tables: &Tables) -> u64 {
    let route = tables.routes.find("h", "/").unwrap();
    let LiveAction::Forward(slot) = route.action else { panic!("denied") };
    let [endpoint] = &*tables.backends[slot].endpoints else { panic!("torn") };
    let number = u64::from(endpoint.address.port());
    assert_eq!(tables.backends[slot].name, format!("ns-s{number}-80"));
    assert_eq!(route.ingress, format!("s{number}"));
    assert_eq!(route.tls, number.is_multiple_of(2));
    assert_eq!(tables.snapshot, numbered(number));
    number
}

fn published() -> Arc<Published> {
    let published = Published::new(fallback(), metrics().clone());
    assert!(published.publish(numbered(1)));
    published
}

#[test]
fn the_first_snapshot_is_published_even_if_it_is_empty() {
    let published = Published::new(fallback(), metrics().clone());
    assert_eq!(published.load().generation, 0);
    assert!(published.publish(Arc::default()));
    assert!(!published.publish(Arc::default()));
    assert_eq!(published.load().generation, 1);
}

#[test]
fn an_equal_snapshot_is_not_published() {
    let published = published();
    assert!(!published.publish(numbered(1)));
    assert_eq!(published.load().generation, 1);
    assert!(published.publish(numbered(2)));
    assert!(!published.publish(numbered(2)));
    assert_eq!(published.load().generation, 2);
    assert!(published.publish(numbered(1)));
    assert_eq!(published.load().generation, 3);
}

#[test]
fn a_reader_sees_the_newest_and_keeps_what_it_holds() {
    let published = published();
    let reader = published.reader();
    let held = reader.current();
    published.publish(numbered(2));
    published.publish(numbered(3));
    assert_eq!((number(&held), held.generation), (1, 1));
    assert_eq!((number(&reader.current()), reader.current().generation), (3, 3));
    assert_eq!(number(&published.reader().current()), 3);
}

#[test]
fn an_old_generation_is_freed_by_the_next_publication_and_never_by_a_request() {
    let published = published();
    let reader = published.reader();
    let held = reader.current();
    let old = Arc::downgrade(&published.load());
    published.publish(numbered(2));
    reader.current();
    published.publish(numbered(3));
    assert!(old.upgrade().is_some());
    drop(held);
    assert!(old.upgrade().is_some());
    published.publish(numbered(4));
    assert!(old.upgrade().is_none());
}

#[test]
fn the_generation_is_printed_and_not_all_that_is_in_it() {
    let published = published();
    assert_eq!(format!("{published:?}"), "Published(Tables { generation: 1, .. })");
    assert_eq!(format!("{:?}", published.reader()), "Reader(Held(Tables { generation: 1, .. }))");
}

#[test]
fn no_reader_sees_a_torn_or_an_older_generation() {
    const LAST: u64 = 300;
    let published = published();
    let read = || {
        let reader = published.reader();
        let mut seen = 0;
        while seen < LAST {
            let tables = reader.current();
            assert!(tables.generation >= seen, "went back from {seen} to {}", tables.generation);
            assert_eq!(number(&tables), tables.generation);
            seen = tables.generation;
        }
    };
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(read)));
        (2..=LAST).for_each(|number| assert!(published.publish(numbered(number))));
    });
}

#[test]
fn publications_from_several_threads_come_one_after_the_other() {
    let published = published();
    thread::scope(|scope| {
        for part in 0..4 {
            let published = &published;
            scope.spawn(move || (0..25).for_each(|at| assert!(published.publish(numbered(2 + part * 25 + at)))));
        }
    });
    assert_eq!(published.load().generation, 101);
}
