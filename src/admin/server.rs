//! Connections of the admin port, bounded in number and in time, so that whoever can reach it cannot take the process's
//! memory or descriptors. Over a cap the oldest connection is closed that has not asked for anything, not the newest refused: a
//! probe always gets its answer.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::State;
use super::respond::respond;

const CONNECTIONS: usize = 64;
const OF_ONE_ADDRESS: usize = 32;

/// For one request head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// After this a connection takes no further request, whatever it does.
const AGE: Duration = Duration::from_secs(120);

/// For the answer that is under way then.
const LAST_ANSWER: Duration = Duration::from_secs(30);

/// After a failed accept, which is most often a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Open {
    peer: IpAddr,
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Answers on `listener` until dropped, which closes its connections too.
pub async fn serve(listener: TcpListener, state: Arc<State>) -> Infallible {
    let mut tasks = JoinSet::new();
    let mut oldest_first: Vec<Open> = Vec::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        oldest_first.retain(|open| !open.task.is_finished());
        if let Some(place) = in_the_way(&oldest_first, peer.ip()) {
            oldest_first.remove(place).task.abort();
        }
        let asked = Arc::new(AtomicBool::new(false));
        let task = tasks.spawn(connection(stream, peer, state.clone(), asked.clone()));
        oldest_first.push(Open { peer: peer.ip(), asked, task });
        // Who has asked is to be heard before others come.
        yield_now().await;
    }
}

/// Who has to go for one more of `peer`.
fn in_the_way(oldest_first: &[Open], peer: IpAddr) -> Option<usize> {
    let crowded = oldest_first.iter().filter(|open| open.peer == peer).count() >= OF_ONE_ADDRESS;
    if !crowded && oldest_first.len() < CONNECTIONS {
        return None;
    }
    let candidates = oldest_first.iter().enumerate().filter(|(_, open)| !crowded || open.peer == peer);
    candidates.min_by_key(|(_, open)| open.asked.load(Ordering::Relaxed)).map(|(place, _)| place)
}

async fn connection(stream: TcpStream, peer: SocketAddr, state: Arc<State>, asked: Arc<AtomicBool>) {
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let answer = respond(state.clone(), peer, request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service)
    );
    // How a connection of this port ends is of no interest to anybody.
    if timeout(AGE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}
