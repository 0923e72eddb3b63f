//! What attackers do, and that they are cut for it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::support::client::tcp;
use crate::support::in_full;
use crate::support::wait::until;

/// What the process under attack has open besides, and for those who come back while those before them still close.
const OTHER_FILES: u64 = 4000;

/// Attackers at a time, each a connection, for which the process under attack keeps two files: where tests run in full as many
/// as the cases say, if the limit of open files lets them.
pub(crate) fn attackers() -> usize {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let fit = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX);
    fit.min(if in_full() { 10_000 } else { 1000 })
}

fn make_room() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("what is allowed can be had");
}

/// One connection that sent `first` and makes room for little of what comes: what the system holds on the way is not what is
/// looked at.
fn connection(address: SocketAddr, first: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&address.into()).expect("the attacker is let in");
    let mut stream = TcpStream::from(socket);
    // It may be refused meanwhile.
    let _ = stream.write_all(first);
    stream.set_nonblocking(true).unwrap();
    stream
}

pub(crate) fn connections(address: SocketAddr, count: usize, first: &[u8]) -> Vec<TcpStream> {
    make_room();
    (0..count).map(|_| connection(address, first)).collect()
}

/// What goes on until it is over.
#[derive(Default)]
pub(crate) struct Attack {
    pub(crate) over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Attack {
    /// Does it again and again, so many times a second.
    pub(crate) fn again(&mut self, each_second: u32, mut one: impl FnMut() + Send + 'static) {
        let over = self.over.clone();
        self.threads.push(std::thread::spawn(move || {
            let start = Instant::now();
            for number in 1.. {
                one();
                if over.load(SeqCst) {
                    return;
                }
                std::thread::sleep((Duration::from_secs(1) * number / each_second).saturating_sub(start.elapsed()));
            }
        }));
    }

    /// So many connections that send `first`, then `piece` every second (of 10,000, every 10 s); who is cut comes back. Each is cut, by an answer that
    /// begins so.
    pub(crate) fn hold(
        &mut self,
        address: SocketAddr,
        count: usize,
        first: &[u8],
        piece: &'static [u8],
        told: &'static str,
    ) -> impl FnOnce() + use<> {
        let first = first.to_vec();
        let cut = Arc::new(AtomicUsize::new(0));
        let counted = cut.clone();
        let mut streams = connections(address, count, &first);
        let parts = count.div_ceil(100).clamp(10, 100);
        let mut turns = (0..parts).cycle();
        self.again(10, move || {
            for stream in streams.iter_mut().skip(turns.next().unwrap()).step_by(parts) {
                let mut answer = [0; 64];
                match stream.read(&mut answer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(read) if read > 0 && !answer.starts_with(told.as_bytes()) => {
                        panic!("{}", String::from_utf8_lossy(&answer))
                    }
                    _ => {
                        counted.fetch_add(1, SeqCst);
                        let _ = stream.shutdown(Shutdown::Both);
                        *stream = connection(address, &first);
                    }
                }
                let _ = stream.write_all(piece);
            }
        });
        move || until("each attacker to be cut", || (cut.load(SeqCst) >= count).then_some(()))
    }

    /// Sends `piece` again and again as fast as it is taken, and reads what is answered.
    pub(crate) fn pour(&mut self, address: SocketAddr, piece: Vec<u8>) {
        let mut client = tcp(address);
        let mut answers = client.try_clone().unwrap();
        self.again(u32::MAX, move || client.write_all(&piece).unwrap());
        let mut scratch = vec![0; 64 << 10];
        self.again(u32::MAX, move || assert!(answers.read(&mut scratch).unwrap() > 0));
    }

    /// It went on until now.
    #[track_caller]
    pub(crate) fn end(self) {
        self.over.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("the attack ended early"));
    }
}
