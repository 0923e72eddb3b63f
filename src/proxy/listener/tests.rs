use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::thread;

use super::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn flag(port: &'static str) -> ChangedBy {
    ChangedBy { address: "--bind-address", port }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn all_workers_listen_on_the_port_that_the_first_got() {
    let (bound, listeners) = bind(V4, 0, 4, flag("--http-port")).unwrap();
    assert_ne!(bound.port(), 0);
    assert_eq!(listeners.len(), 4);
    for listener in &listeners {
        assert_eq!(listener.local_addr().unwrap(), bound);
    }
}

#[test]
fn every_listener_is_given_connections() {
    let (bound, listeners) = bind(V4, 0, 2, flag("--http-port")).unwrap();
    let _clients: Vec<_> = (0..64).map(|_| Client::connect(bound).unwrap()).collect();
    let accepted: Vec<_> =
        listeners.iter().map(|listener| std::iter::from_fn(|| listener.accept().ok()).count()).collect();
    assert_eq!(accepted.iter().sum::<usize>(), 64);
    assert!(accepted.iter().all(|&count| count > 0), "{accepted:?}");
}

#[test]
fn a_second_process_is_told_address_and_flag() {
    let (bound, _listeners) = bind(V4, 0, 2, flag("--http-port")).unwrap();
    let error = bind(V4, bound.port(), 2, flag("--https-port")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&bound.to_string()) && text.contains("--https-port"), "{text}");
    assert!(text.contains("in use"), "{text}");
}

#[test]
fn any_address_conflicts_with_one_address() {
    let (bound, _listeners) = bind(V4, 0, 1, flag("--http-port")).unwrap();
    assert!(bind(ANY_V6, bound.port(), 1, flag("--http-port")).is_err());
}

#[test]
fn an_address_of_another_machine_names_the_flag() {
    let text = bind("192.0.2.77".parse().unwrap(), 0, 1, flag("--http-port")).unwrap_err().to_string();
    assert!(text.contains("192.0.2.77:0") && text.contains("--bind-address"), "{text}");
}

#[test]
fn a_restart_gets_the_port_while_old_connections_linger() {
    let (bound, listeners) = bind(V4, 0, 2, flag("--http-port")).unwrap();
    let mut client = Client::connect(bound).unwrap();
    let (server, _) = listeners.iter().cycle().find_map(|listener| listener.accept().ok()).unwrap();
    // The side that closes first is left in TIME_WAIT.
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    drop(listeners);
    bind(V4, bound.port(), 2, flag("--http-port")).unwrap();
}

#[test]
fn the_v6_wildcard_takes_v4_clients() {
    let (bound, listeners) = bind(ANY_V6, 0, 1, flag("--http-port")).unwrap();
    let client = Client::connect((Ipv4Addr::LOCALHOST, bound.port())).unwrap();
    let (_, peer) = listeners[0].accept().unwrap();
    assert_eq!(peer.port(), client.local_addr().unwrap().port());
    assert_eq!(peer.ip().to_canonical(), V4);
}

#[test]
fn only_a_missing_address_family_counts_as_ipv6_off() {
    let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    assert!(ipv6_is_off(&error(Errno::AFNOSUPPORT)));
    assert!(ipv6_is_off(&error(Errno::ADDRNOTAVAIL)));
    assert!(!ipv6_is_off(&error(Errno::ADDRINUSE)));
    assert!(!ipv6_is_off(&error(Errno::ACCESS)));
}

#[test]
fn exhaustion_is_not_an_error_of_one_connection() {
    let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL] {
        assert!(!is_of_one_connection(&error(errno)), "{errno:?}");
    }
    assert!(is_of_one_connection(&error(Errno::CONNABORTED)));
}

/// Closes `listener`; who was taken.
async fn closed(listener: TcpListener) -> Vec<TcpStream> {
    let mut taken = Vec::new();
    close(listener, || {}, |stream, _| taken.push(stream)).await;
    taken
}

#[test]
fn closing_takes_everybody_who_is_in_the_queue() {
    let (bound, mut listeners) = bind(V4, 0, 1, flag("--http-port")).unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(bound).unwrap()).collect();
    runtime().block_on(async {
        let taken = closed(TcpListener::from_std(listeners.remove(0)).unwrap()).await;
        assert_eq!(taken.len(), 100);
        for client in &mut clients {
            client.write_all(b"x").unwrap();
        }
    });
    assert!(Client::connect(bound).is_err(), "the port is closed");
}

#[test]
fn a_closing_port_leaves_new_clients_outside() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (bound, mut listeners) = bind(V4, 0, 1, flag("--http-port")).unwrap();
    let _early = Client::connect(bound).unwrap();
    let listener = TcpListener::from_std(listeners.remove(0)).unwrap();
    ignore_new_clients(&listener).unwrap();
    assert!(Client::connect_timeout(&bound, Duration::from_millis(100)).is_err());
    assert_eq!(queued(&listener.into_std().unwrap()).count(), 1);
}

#[test]
fn nobody_who_connected_is_lost_when_the_listeners_close() {
    let (bound, listeners) = bind(V4, 0, 2, flag("--http-port")).unwrap();
    let clients = thread::spawn(move || connect_until_refused(bound));
    let answered = runtime().block_on(async move {
        let mut listeners = listeners.into_iter().map(|one| TcpListener::from_std(one).unwrap());
        let (first, second) = (listeners.next().unwrap(), listeners.next().unwrap());
        let mut answered = 0;
        for _ in 0..200 {
            answered += answer(accept(&first, || {}).await.0);
        }
        let (of_first, of_second) = tokio::join!(closed(first), closed(second));
        answered + of_first.into_iter().chain(of_second).map(answer).sum::<usize>()
    });
    assert_eq!(clients.join().unwrap(), answered);
}

fn answer(stream: TcpStream) -> usize {
    stream.into_std().unwrap().write(b"y").unwrap()
}

/// How many connected; each of them must be answered.
fn connect_until_refused(address: SocketAddr) -> usize {
    let mut connected = Vec::new();
    while let Ok(client) = Client::connect_timeout(&address, Duration::from_millis(500)) {
        connected.push(client);
    }
    for client in &mut connected {
        client.read_exact(&mut [0]).expect("a client whose connect succeeded was lost");
    }
    connected.len()
}
