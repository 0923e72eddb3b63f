//! From the start of the process to its end.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::folder::Folder;
use crate::support::h2_client::{H2Client, finish, soon};
use crate::support::headgate::Process;
use crate::support::objects::{self, site};
use crate::support::wait::{PATIENCE, timed, until};
use crate::support::{Backend, Client, Headgate, Then, get};

/// The exit code of a start that must fail, and what it said.
#[track_caller]
fn failed_start(arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = Process::start(arguments);
    let status = process.exit_status();
    (status.code(), until("its last words", || Some(process.stderr()).filter(|text| text.contains("error: "))))
}

/// A backend that answers when it is told to, by this sender.
fn held() -> (Backend, std::sync::mpsc::Sender<()>) {
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = std::sync::Mutex::new(may_go);
    let backend = Backend::scripted(move |exchange| {
        let _ = may_go.lock().unwrap().recv_timeout(PATIENCE);
        exchange.reply("200 OK", "finished")
    });
    (backend, go)
}

fn with_grace(backend: &Backend, grace: &str, drain: &str) -> Headgate {
    Headgate::with(&site("a.example", &[backend.address]))
        .flag("--shutdown-grace-period", grace)
        .flag("--drain-timeout", drain)
        .start()
}

#[test]
fn it_is_ready_once_it_listens_and_the_first_tables_are_live() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::before(&backend);
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(get(proxy.admin, "admin", path).status, 200, "{path}");
    }
    assert_eq!(get(proxy.http, "a.example", "/").status, 200, "the very first request is served");
    assert_eq!(proxy.generation(), 1);
}

#[test]
fn the_bound_addresses_are_told_in_one_line() {
    let proxy = Headgate::serve(&[]);
    let lines: Vec<_> = proxy.stderr().lines().filter(|line| line.contains("listening")).map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for address in [proxy.http, proxy.https, proxy.admin] {
        assert!(lines[0].contains(&address.to_string()), "{lines:?}");
    }
}

#[test]
fn the_default_address_takes_ipv4_and_ipv6_and_v4_clients_are_v4() {
    let backend = Backend::answering("ok");
    let proxy = Headgate::with(&site("a.example", &[backend.address])).flag("--bind-address", "[::]").start();
    for (address, client) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        let address = std::net::SocketAddr::new(address.parse().unwrap(), proxy.http.port());
        assert_eq!(get(address, "a.example", "/").status, 200);
        assert_eq!(backend.last().header("x-real-ip").as_deref(), Some(client));
        assert_eq!(backend.last().header("x-forwarded-for").as_deref(), Some(client));
    }
}

#[test]
fn a_port_in_use_ends_it_with_1_and_names_the_port() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = Folder::new();
    let dir = format!("--dir={}", folder.objects().display());
    for flag in ["--http-port", "--https-port", "--healthz-port"] {
        let mut arguments = vec!["serve", &dir, "--bind-address=127.0.0.1"];
        let ports = ["--http-port", "--https-port", "--healthz-port"]
            .map(|name| format!("{name}={}", if name == flag { &port } else { "0" }));
        arguments.extend(ports.iter().map(String::as_str));
        let (code, said) = failed_start(&arguments);
        assert_eq!(code, Some(1), "{flag}: {said}");
        assert!(said.contains(&port), "{flag}: {said}");
    }
}

#[test]
fn a_second_serve_on_the_same_port_is_refused() {
    let proxy = Headgate::serve(&[]);
    let folder = Folder::new();
    let port = proxy.http.port().to_string();
    let dir = format!("--dir={}", folder.objects().display());
    let (code, said) = failed_start(&[
        "serve",
        &dir,
        "--bind-address=127.0.0.1",
        "--http-port",
        &port,
        "--https-port=0",
        "--healthz-port=0",
    ]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&port), "{said}");
}

#[test]
fn an_unreadable_folder_ends_it_with_1_and_names_the_folder() {
    let (code, said) =
        failed_start(&["serve", "--dir=/nowhere/at/all", "--http-port=0", "--https-port=0", "--healthz-port=0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
    assert!(said.trim().lines().count() <= 3, "one clear line: {said}");
}

#[test]
fn a_bad_flag_ends_it_with_2() {
    let (code, said) = failed_start(&["serve", "--no-such-flag"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--no-such-flag"), "{said}");
}

#[test]
fn sigterm_ends_it_with_0() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "0s", "10s");
    get(proxy.http, "a.example", "/");
    let (status, took) = timed(|| proxy.stop());
    assert_eq!(status.code(), Some(0), "{}", proxy.stderr());
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(proxy.log().len(), 1, "the last lines are written");
}

#[test]
fn after_sigterm_it_is_unready_at_once_and_still_serves_for_the_grace_period() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "2s", "10s");
    proxy.signal(Signal::TERM);
    until("unreadiness", || (get(proxy.admin, "admin", "/readyz").status == 503).then_some(()));
    assert_eq!(get(proxy.admin, "admin", "/livez").status, 200);
    let end = Instant::now() + Duration::from_millis(1400);
    while Instant::now() < end {
        assert_eq!(get(proxy.http, "a.example", "/").status, 200, "new connections are still taken");
    }
    assert_eq!(proxy.exit_status().code(), Some(0));
}

#[test]
fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let (backend, go) = held();
    let mut proxy = with_grace(&backend, "0s", "20s");
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    proxy.signal(Signal::TERM);
    refuses(&proxy);
    assert!(proxy.is_running(), "it waits for the request");
    go.send(()).unwrap();
    let mut response = client.response();
    // The listeners close a moment before the connections are told.
    while response.header("connection") != Some("close") {
        assert_eq!(response.text(), "finished");
        go.send(()).unwrap();
        response = client.get("a.example", "/");
    }
    assert_eq!(response.text(), "finished");
    client.expect_close();
    assert_eq!(proxy.exit_status().code(), Some(0));
}

#[tokio::test]
async fn an_http_2_connection_gets_goaway_and_finishes_its_streams() {
    let (backend, go) = held();
    let mut proxy = with_grace(&backend, "0s", "20s");
    let client = H2Client::plain(proxy.http).await;
    let (response, _) = client.open(http::Request::get("http://a.example/").body(()).unwrap(), true).await.unwrap();
    tokio::task::spawn_blocking(move || {
        backend.only();
        backend
    })
    .await
    .map(|backend| (proxy.signal(Signal::TERM), Box::leak(Box::new(backend))))
    .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    go.send(()).unwrap();
    assert_eq!(finish(response).await.unwrap().text(), "finished");
    soon(client.ended()).await.unwrap();
    let status = tokio::task::spawn_blocking(move || proxy.exit_status()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn an_answer_of_our_own_announces_the_end_too() {
    let (backend, go) = held();
    let mut proxy = with_grace(&backend, "0s", "20s");
    let mut holds = Client::connect(proxy.http);
    holds.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    let mut client = Client::connect(proxy.http);
    assert_eq!(client.get("unknown.example", "/").header("connection"), None);
    proxy.signal(Signal::TERM);
    until("the announcement", || {
        (client.get("unknown.example", "/").header("connection") == Some("close")).then_some(())
    });
    client.expect_close();
    go.send(()).unwrap();
    assert_eq!(proxy.exit_status().code(), Some(0));
}

#[test]
fn idle_connections_do_not_hold_it() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "0s", "20s");
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(proxy.http)).collect();
    for client in &mut clients {
        client.get("a.example", "/");
    }
    let (status, took) = timed(|| proxy.stop());
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    for client in &mut clients {
        client.expect_close();
    }
}

#[test]
fn connections_that_never_spoke_do_not_hold_it() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "0s", "20s");
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(proxy.http)).collect();
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    let (status, took) = timed(|| proxy.stop());
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    clients.iter_mut().for_each(Client::expect_close);
}

#[test]
fn no_request_fails_while_it_goes_down() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "1s", "20s");
    let address = proxy.http;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(move || ask_until_refused(address))).collect();
        until("some traffic", || (backend.seen().len() > 200).then_some(()));
        assert_eq!(proxy.stop().code(), Some(0));
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
}

/// Keeps a connection busy, opens another when it is told that this one ends, until none can be opened any more.
fn ask_until_refused(address: std::net::SocketAddr) -> usize {
    let mut answered = 0;
    while let Ok(stream) = std::net::TcpStream::connect(address) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client::over(stream);
        loop {
            use std::io::Write;
            if client.stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").is_err() {
                break;
            }
            match client.try_response() {
                Ok(response) => {
                    assert_eq!(response.status, 200);
                    answered += 1;
                    if response.header("connection") == Some("close") {
                        break;
                    }
                }
                // Only a connection that was never answered on, taken by the kernel as the listener closed, may end so.
                Err(error) => panic!("after {answered} answers: {error}"),
            }
        }
    }
    answered
}

#[test]
fn the_deadline_ends_what_does_not_finish() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let mut proxy = with_grace(&backend, "0s", "1s");
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    let (status, took) = timed(|| proxy.stop());
    assert_eq!(status.code(), Some(0));
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
    client.rest();
    assert_eq!(cut(&proxy), [(503, "SD".to_owned())]);
}

/// Status and flag of each line of the access log.
fn cut(proxy: &Headgate) -> Vec<(u64, String)> {
    let text = |line: &serde_json::Value| line["flag"].as_str().unwrap().to_owned();
    proxy.log().iter().map(|line| (line["status"].as_u64().unwrap(), text(line))).collect()
}

#[test]
fn tunnels_live_until_the_deadline_and_not_longer() {
    let backend = Backend::scripted(|exchange| {
        exchange.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")?;
        exchange.until_abandoned()
    });
    let mut proxy = with_grace(&backend, "0s", "2s");
    let open = |_| {
        let mut client = Client::connect(proxy.http);
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        assert_eq!(client.response().status, 101);
        client
    };
    let clients: Vec<_> = (0..100).map(open).collect();
    proxy.signal(Signal::TERM);
    let start = Instant::now();
    for mut client in clients {
        client.expect_close();
        let took = start.elapsed();
        assert!(took > Duration::from_millis(1800) && took < Duration::from_secs(5), "{took:?}");
    }
    assert_eq!(proxy.exit_status().code(), Some(0));
    assert_eq!(cut(&proxy), vec![(101, "SD".to_owned()); 100]);
}

#[test]
fn a_second_sigterm_ends_it_now() {
    let backend = Backend::scripted(|exchange| exchange.until_abandoned());
    let mut proxy = with_grace(&backend, "60s", "60s");
    let mut client = Client::connect(proxy.http);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    backend.only();
    proxy.signal(Signal::TERM);
    until("unreadiness", || (get(proxy.admin, "admin", "/readyz").status == 503).then_some(()));
    let (_, took) = timed(|| proxy.stop());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(cut(&proxy), [(503, "SD".to_owned())], "what was cut is in the log");
}

#[test]
fn sigint_ends_it_as_well() {
    let backend = Backend::answering("ok");
    let mut proxy = with_grace(&backend, "0s", "1s");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.exit_status().code(), Some(0));
}

#[test]
fn sighup_reads_the_folder_again_and_hurts_nobody() {
    let backend = Backend::answering("ok");
    let mut proxy = Headgate::before(&backend);
    let mut client = Client::connect(proxy.http);
    client.get("a.example", "/");
    for _ in 0..3 {
        proxy.signal(Signal::HUP);
    }
    assert_eq!(client.get("a.example", "/").status, 200, "the connection lives");
    proxy.folder.write("more.yaml", &site("b.example", &[backend.address]));
    proxy.signal(Signal::HUP);
    until("the new host", || (get(proxy.http, "b.example", "/").status == 200).then_some(()));
    assert!(proxy.is_running());
}

#[test]
fn a_broken_pipe_does_not_end_it() {
    let backend = Backend::answering("ok");
    let mut proxy = Headgate::before(&backend);
    proxy.signal(Signal::PIPE);
    assert_eq!(get(proxy.http, "a.example", "/").status, 200);
    assert!(proxy.is_running());
}

#[test]
fn nothing_is_left_open_once_clients_and_requests_are_gone() {
    let backend = Backend::scripted(|exchange| {
        exchange.body()?;
        exchange.reply("200 OK", "ok")?;
        Ok(Then::Close)
    });
    let proxy = Headgate::with(&objects::site("a.example", &[backend.address])).flag("--workers", "2").start();
    get(proxy.http, "a.example", "/");
    let before = until("an even count", || Some(proxy.descriptors()));
    for _ in 0..5 {
        let mut clients: Vec<_> = (0..40).map(|_| Client::connect(proxy.http)).collect();
        for client in &mut clients {
            client.get("a.example", "/");
        }
    }
    until("the descriptors' return", || (proxy.descriptors() <= before + 4).then_some(()));
    until("no connection", || (proxy.metrics().value("proxy_connections", &[]) == 0.0).then_some(()));
}

/// Waits until no new connection is taken.
fn refuses(proxy: &Headgate) {
    until("a refusal", || std::net::TcpStream::connect(proxy.http).err());
}
