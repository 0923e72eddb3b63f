//! The client of `make bench`. `args` says what is asked, `pace` when, `connect`, `http1` and `websocket` how, and `tally`
//! counts what came back. An answer that is not the expected one is a failure, and the exit code tells.
//!
//! It opens its connections, tries each with one request, says `ready`, and begins when a byte comes on stdin: what that
//! took is not part of the load. With `--hold` it says `held` and keeps them until stdin ends.

mod args;
mod connect;
mod http1;
mod pace;
mod tally;
mod websocket;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::io::AsyncReadExt;
use tokio::task::LocalSet;
use tokio::time::timeout;

use args::{Args, Hold};
use connect::Connector;
use http1::Connection;
use pace::Pace;
use tally::Tally;

/// A load that takes this much longer than it should has met a proxy that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let args = Rc::new(Args::parse());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let Some(hold) = args.hold else {
            return timeout(args.length() + PATIENCE, load(args)).await.context("too slow")?;
        };
        let held = timeout(PATIENCE, self::hold(&args, hold)).await.context("too slow")??;
        println!("held");
        tokio::io::stdin().read_to_end(&mut Vec::new()).await.context("stdin")?;
        drop(held);
        Ok(ExitCode::SUCCESS)
    })
}

async fn load(args: Rc<Args>) -> Result<ExitCode> {
    let tally = Rc::new(Tally::default());
    let request: Rc<[u8]> = args.request().into();
    let mut clients = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        clients.push(Client::new(&args, &request, &tally).await?);
    }
    println!("ready");
    tokio::io::stdin().read_u8().await.context("stdin")?;
    let start = Instant::now();
    let pace = Rc::new(Pace::new(args.rate, args.length()));
    let running: Vec<_> =
        clients.into_iter().map(|client| tokio::task::spawn_local(client.run(pace.clone()))).collect();
    for due in pace.conduct().await {
        tally.unsent(due);
    }
    for client in running {
        client.await?;
    }
    let report = tally.report(start.elapsed());
    println!("{}", serde_json::to_string(&report)?);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One connection, or one after the other, to the end of the load or the first failure.
struct Client {
    args: Rc<Args>,
    request: Rc<[u8]>,
    tally: Rc<Tally>,
    connector: Connector,
    kept: Option<Connection>,
}

impl Client {
    /// With its connection open, unless each request has one of its own.
    async fn new(args: &Rc<Args>, request: &Rc<[u8]>, tally: &Rc<Tally>) -> Result<Self> {
        let connector = Connector::new(args)?;
        let kept = open(args, &connector).await?;
        let (args, request, tally) = (args.clone(), request.clone(), tally.clone());
        let mut client = Self { args, request, tally, connector, kept: Some(kept) };
        client.exchange().await?;
        Ok(client)
    }

    async fn run(mut self, pace: Rc<Pace>) {
        while let Some(since) = pace.turn().await {
            match self.exchange().await {
                Ok(status) => self.tally.answered(status, since),
                Err(error) => return self.tally.failed(&error),
            }
        }
    }

    async fn exchange(&mut self) -> Result<u16> {
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => {
                let connection = open(&self.args, &self.connector).await?;
                self.tally.handshake(connection.resumed);
                connection
            }
        };
        let status = match self.args.websocket {
            Some(payload) => websocket::message(&mut connection, payload).await.map(|()| 200)?,
            None => expected(&self.args, connection.exchange(&self.request).await?)?,
        };
        self.kept = (!self.args.close).then_some(connection);
        Ok(status)
    }
}

async fn open(args: &Args, connector: &Connector) -> Result<Connection> {
    let mut connection = connector.open(args).await?;
    if args.websocket.is_some() {
        websocket::upgrade(&mut connection, args).await?;
    }
    Ok(connection)
}

fn expected(args: &Args, (status, length): (u16, usize)) -> Result<u16> {
    ensure!(args.status.contains(&status), "status {status}");
    ensure!(status != 200 || args.bytes.is_none_or(|bytes| bytes == length), "a body of {length} bytes");
    Ok(status)
}

/// Connections that have had an answer, or half of one.
async fn hold(args: &Args, hold: Hold) -> Result<Vec<Connection>> {
    let (connector, request) = (Connector::new(args)?, args.request());
    let mut held = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        let mut connection = connector.open(args).await?;
        match hold {
            Hold::Idle => expected(args, connection.exchange(&request).await?)?,
            Hold::Half => connection.ask(&request).await?.status,
        };
        held.push(connection);
    }
    Ok(held)
}
