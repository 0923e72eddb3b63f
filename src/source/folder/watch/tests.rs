use std::sync::mpsc;

use super::*;

#[test]
fn a_system_without_events_is_polled() {
    let root = tempfile::tempdir().unwrap();
    let (wake, wakes) = mpsc::channel();
    let mut watch = Watch::open(root.path(), wake.clone(), wakes).unwrap();
    watch.directories.blind();
    let views = watch.subscribe();
    let thread = std::thread::spawn(|| watch.run());
    std::fs::write(root.path().join("a.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").unwrap();
    let start = Instant::now();
    while views.borrow().count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    wake.send(Wake::Stop).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_wait_is_never_shorter_than_the_silence_it_is_for() {
    let root = tempfile::tempdir().unwrap();
    let (wake, wakes) = mpsc::channel();
    let mut watch = Watch::open(root.path(), wake, wakes).unwrap();
    let start = Instant::now();
    let mut long_ago = start.checked_sub(QUIET * 2).unwrap();
    assert!(watch.wait(&mut long_ago, QUIET));
    assert!(start.elapsed() >= QUIET);
}

#[test]
fn only_events_about_what_is_shown_count() {
    let listing = Listing {
        folders: ["/f".into()].into(),
        places: ["/f".into(), "/other/link".into(), "/other/..data".into()].into(),
        ..Listing::default()
    };
    for (path, in_place, expected) in [
        ("/f/a.yaml", true, true),
        ("/f/a.log", true, false),
        ("/f/new", false, true),
        ("/f/.a.yaml.swp", true, false),
        ("/f/.git", false, false),
        ("/f", true, true),
        ("/other", false, false),
        ("/other/link", true, true),
        ("/other/..data", false, true),
        ("/other/a.yaml", true, false),
    ] {
        assert_eq!(listing.shows(Path::new(path), in_place), expected, "{path}");
    }
}
