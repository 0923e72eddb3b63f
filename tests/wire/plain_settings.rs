//! `[server]` of `--config`: a flag wins over its variable, that over the file, the file over what ships; also where a
//! folder is served.

use std::net::{Ipv4Addr, TcpListener};

use super::plain::with;
use crate::support::headgate::Process;
use crate::support::wait::until;
use crate::support::{Backend, Headgate, get, site};

/// Waits until it has so many; a thread has its name once it runs.
#[track_caller]
fn assert_workers(proxy: &Headgate, count: usize) {
    until(&format!("{count} workers"), || {
        let tasks = std::fs::read_dir(proxy.proc("task")).unwrap();
        let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        (names.filter(|name| name.starts_with("worker-")).count() == count).then_some(())
    });
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_and_that_over_the_default() {
    let backend = Backend::answering("a");
    let file = |server: &str| with(server, backend.address);
    let default = file("").start();
    assert_workers(&default, std::thread::available_parallelism().unwrap().get());
    assert_workers(&file("worker_threads = 1").start(), 1);
    assert_workers(&file("worker_threads = 5").start(), 5);
    assert_workers(&file("worker_threads = 5").environment("HEADGATE_WORKERS", "6").start(), 6);
    let all = file("worker_threads = 5").environment("HEADGATE_WORKERS", "6").flag("--workers", "7").start();
    assert_workers(&all, 7);
}

#[test]
fn the_file_may_be_named_in_the_environment() {
    let backend = Backend::answering("a");
    let text = format!("[[backends]]\nname = \"a\"\naddr = \"{}\"", backend.address);
    let folder = crate::support::folder::Folder::new();
    folder.write_text("config.toml", &text);
    let path = folder.objects().join("config.toml");
    let variables = [("HEADGATE_CONFIG", path.to_str().unwrap())];
    let flags = ["--bind-address=127.0.0.1", "--http-port=0", "--healthz-port=0"];
    let mut process = Process::start_in(&variables, &flags);
    process.wait_for_line("listening http=127.0.0.1:");
}

#[test]
fn the_port_of_the_file_is_listened_on_unless_a_flag_names_another() {
    let backend = Backend::answering("a");
    // An address of our own, where nobody else takes the port.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = TcpListener::bind((Ipv4Addr::new(127, 88, high, low), 0)).unwrap().local_addr().unwrap();
    let file = || {
        Headgate::plain(&format!(
            "[server]\nbind_addr = \"{address}\"\n[[backends]]\nname = \"a\"\naddr = \"{}\"",
            backend.address
        ))
    };
    let proxy = file().start();
    assert_eq!(proxy.http, address);
    let other = file().flag("--http-port", "0").start();
    assert_ne!(other.http, address);
    assert_eq!(other.http.ip(), address.ip());
}

#[test]
fn flags_that_mean_nothing_for_a_plain_proxy_are_named() {
    let backend = Backend::answering("a");
    let all = with("", backend.address)
        .flag("--https-port", "1")
        .flag("--ingress-class", "x")
        .flag("--workers", "1")
        .environment("HEADGATE_CONFIGMAP", "a/b")
        .start();
    let named = "--ingress-class, --configmap, --https-port: passed over, since they mean nothing for a plain proxy";
    assert!(all.stderr().contains(named), "{}", all.stderr());
    let none = with("", backend.address).flag("--workers", "1").start();
    assert!(!none.stderr().contains("passed over"), "{}", none.stderr());
}

#[test]
fn settings_of_the_process_hold_where_a_folder_is_served() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let server = "[server]\nbind_addr = \"127.0.0.1:1\"\nworker_threads = 3\nrequest_timeout = 1\n";
    let builder = Headgate::with(&site("a.example", &[backend.address]));
    let proxy = builder.beside("config.toml", server).start();
    assert_workers(&proxy, 3);
    assert_ne!(proxy.http.port(), 1, "a flag is given too");
    assert_eq!(get(proxy.http, "a.example", "/").status, 504);
}
