//! `serve --config` while its file changes: what is live at once, what waits for a restart, what a broken file leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::wait::{timed, until};
use crate::support::{Backend, Client, Headgate, TestCertificate, get, tls};

fn config(backends: &[(&str, SocketAddr)], more: &str) -> String {
    let entry =
        |(name, address): &(&str, SocketAddr)| format!("[[backends]]\nname = \"{name}\"\naddr = \"{address}\"\n");
    let entries: String = backends.iter().map(entry).collect();
    format!("[server]\nbind_addr = \"127.0.0.1:0\"\n{entries}{more}")
}

fn answer(proxy: &Headgate) -> String {
    get(proxy.http, "a", "/").text()
}

fn rewrite(proxy: &Headgate, text: &str) {
    proxy.folder.write_text("config.toml", text);
}

#[test]
fn another_backend_is_live_at_once_and_no_request_fails() {
    let backends = ["one", "two"].map(Backend::answering);
    let files = [0, 1].map(|at| config(&[("it", backends[at].address)], ""));
    let proxy = Headgate::plain(&files[0]).start();
    let (over, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = || {
        let (over, requests, address) = (over.clone(), requests.clone(), proxy.http);
        std::thread::spawn(move || {
            let mut client = Client::connect(address);
            while !over.load(Ordering::Relaxed) {
                assert_eq!(client.get("a", "/").status, 200);
                requests.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let load = [load(), load()];
    for at in [1, 0, 1] {
        let before = requests.load(Ordering::Relaxed);
        until("load", || (requests.load(Ordering::Relaxed) > before + 10).then_some(()));
        rewrite(&proxy, &files[at]);
        let ((), took) = timed(|| until("the other backend", || (answer(&proxy) == ["one", "two"][at]).then_some(())));
        assert!(took < Duration::from_secs(1), "after {took:?}");
    }
    over.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_broken_file_leaves_what_was_served_and_says_why() {
    let backends = ["one", "two"].map(Backend::answering);
    let proxy = Headgate::plain(&config(&[("it", backends[0].address)], "")).start();
    rewrite(&proxy, &config(&[("it", backends[1].address)], "[rate_limit]\nper_second = 1"));
    let errors = |wanted: f64| {
        until("the metric", || (proxy.metrics().value("headgate_source_errors", &[]) == wanted).then_some(()));
    };
    errors(2.0);
    assert_eq!(answer(&proxy), "one");
    let told = get(proxy.admin, "admin", "/debug/problems").text();
    for place in [told, proxy.stderr()] {
        assert!(place.contains("[rate_limit] per_second: there is no such key"), "{place}");
    }
    rewrite(&proxy, &config(&[("it", backends[1].address)], "[rate_limit]\nrequests_per_second = 1000"));
    errors(0.0);
    until("the other backend", || (answer(&proxy) == "two").then_some(()));
    assert!(proxy.stderr().contains("nothing is wrong with it any longer"));
}

#[test]
fn a_file_without_backends_or_without_a_file_leaves_what_was_served() {
    let backend = Backend::answering("one");
    let whole = config(&[("it", backend.address)], "");
    let proxy = Headgate::plain(&whole).start();
    rewrite(&proxy, &config(&[], ""));
    until("the log line", || proxy.stderr().contains("[[backends]]: none is left").then_some(()));
    proxy.folder.remove("config.toml");
    until("the log line", || proxy.stderr().contains("it cannot be read").then_some(()));
    assert_eq!(answer(&proxy), "one");
    rewrite(&proxy, &whole);
    until("the good news", || proxy.stderr().contains("nothing is wrong").then_some(()));
}

#[test]
fn what_cannot_change_while_it_runs_is_told() {
    let backends = ["one", "two"].map(Backend::answering);
    let proxy = Headgate::plain(&config(&[("it", backends[0].address)], "")).start();
    let address = proxy.http;
    let tls = "[tls]\ncert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n";
    let certificate = TestCertificate::for_names(&["a"]);
    proxy.folder.write_text("cert.pem", &certificate.pem);
    proxy.folder.write_text("key.pem", &certificate.key_pem);
    let changed = config(&[("it", backends[1].address)], tls).replace(
        "127.0.0.1:0",
        "127.0.0.2:1\"\nworker_threads = 3\nmax_connections = 5\nrequest_timeout = 9\nconnect_tunnel = true #",
    );
    rewrite(&proxy, &changed);
    until("the other backend", || (get(address, "a", "/").text() == "two").then_some(()));
    let stderr = proxy.stderr();
    for key in ["bind_addr", "worker_threads", "max_connections", "request_timeout", "connect_tunnel"] {
        assert!(stderr.contains(&format!("[server] {key} needs a restart")), "{key}: {stderr}");
    }
    assert!(stderr.contains("[tls] needs a restart"), "{stderr}");
    assert_eq!(proxy.metrics().value("headgate_source_errors", &[]), 0.0);
}

#[test]
fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let backend = Backend::answering("a");
    let certificates = ["old.example", "new.example"].map(|name| TestCertificate::for_names(&[name]));
    let tables = "[tls]\ncert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n";
    let proxy = Headgate::plain(&config(&[("it", backend.address)], tables))
        .file("cert.pem", &certificates[0].pem)
        .file("key.pem", &certificates[0].key_pem)
        .start();
    let shown = || tls::Tls::to("a").connect(proxy.https).stream.conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown(), certificates[0].der);
    proxy.folder.write_text("key.pem", &certificates[1].key_pem);
    until("the log line", || proxy.stderr().contains("is not of the first certificate in cert_path").then_some(()));
    assert_eq!(shown(), certificates[0].der, "half a pair is none");
    proxy.folder.write_text("cert.pem", &certificates[1].pem);
    until("the new certificate", || (shown() == certificates[1].der).then_some(()));
}

/// As a mounted ConfigMap changes: a link to a folder is replaced.
#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let backends = ["one", "two"].map(Backend::answering);
    let folder = crate::support::folder::Folder::new();
    let within = |name: &str| folder.objects().join(name);
    for (at, name) in ["..1/config.toml", "..2/config.toml"].into_iter().enumerate() {
        folder.write_text(name, &config(&[("it", backends[at].address)], ""));
    }
    std::os::unix::fs::symlink("..1", within("..data")).unwrap();
    std::os::unix::fs::symlink("..data/config.toml", within("config.toml")).unwrap();
    let proxy = Headgate::plain_in(folder).start();
    assert_eq!(answer(&proxy), "one");
    let within = |name: &str| proxy.folder.objects().join(name);
    std::os::unix::fs::symlink("..2", within("..new")).unwrap();
    std::fs::rename(within("..new"), within("..data")).unwrap();
    until("the other backend", || (answer(&proxy) == "two").then_some(()));
}

fn make_fifo(path: &std::path::Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// As `--config <(…)` and `--config /dev/stdin` are.
#[test]
fn what_can_be_read_only_once_is_read_once() {
    let backend = Backend::answering("one");
    let folder = crate::support::folder::Folder::new();
    let path = folder.objects().join("config.toml");
    make_fifo(&path);
    let text = config(&[("it", backend.address)], "");
    let writer = std::thread::spawn(move || std::fs::write(path, text).unwrap());
    let proxy = Headgate::plain_in(folder).start();
    writer.join().unwrap();
    assert_eq!(answer(&proxy), "one");
    until("the log line", || proxy.stderr().contains("can be read only once").then_some(()));
    assert_eq!(answer(&proxy), "one");
}

/// A FIFO would be waited for, and what comes after it not seen.
#[test]
fn what_is_no_regular_file_any_longer_is_told_and_holds_nothing_up() {
    let backends = ["one", "two"].map(Backend::answering);
    let proxy = Headgate::plain(&config(&[("it", backends[0].address)], "")).start();
    let path = proxy.folder.objects().join("config.toml");
    std::fs::remove_file(&path).unwrap();
    make_fifo(&path);
    until("the log line", || proxy.stderr().contains("it is not a regular file").then_some(()));
    assert_eq!(answer(&proxy), "one");
    rewrite(&proxy, &config(&[("it", backends[1].address)], ""));
    until("the other backend", || (answer(&proxy) == "two").then_some(()));
}

/// As a shell's `>` does, and an editor that keeps the file.
#[test]
fn a_file_that_is_written_in_place_is_taken_whole() {
    use std::io::Write;
    let backends = ["one", "two"].map(Backend::answering);
    let proxy = Headgate::plain(&config(&[("it", backends[0].address)], "")).start();
    let mut file = std::fs::File::create(proxy.folder.objects().join("config.toml")).unwrap();
    let text = config(&[("it", backends[1].address)], "");
    let (begin, end) = text.split_at(text.len() / 2);
    file.write_all(begin.as_bytes()).unwrap();
    file.write_all(end.as_bytes()).unwrap();
    drop(file);
    until("the other backend", || (answer(&proxy) == "two").then_some(()));
}

#[test]
fn a_name_that_is_new_costs_no_request() {
    let backends = ["one", "two"].map(Backend::answering);
    let named = format!("[[backends]]\nname = \"it\"\naddr = \"localhost:{}\"\n", backends[1].address.port());
    let proxy = Headgate::plain(&config(&[("it", backends[0].address)], "")).start();
    rewrite(&proxy, &config(&[], &named));
    until("the other backend", || {
        let answer = get(proxy.http, "a", "/");
        assert_eq!(answer.status, 200);
        (answer.text() == "two").then_some(())
    });
}
