//! The floor of `make bench`: a proxy of hyper and rustls that does nothing but forward, to show what of a request's cost
//! is theirs. A thread per core with its own sockets and its own connections to the backends; no routes, limits or logs,
//! no timeouts, and no judgement of what it reads.

mod pool;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use pool::{Answer, Pool};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Parser)]
struct Args {
    #[arg(long)]
    plain: SocketAddr,
    #[arg(long)]
    tls: SocketAddr,
    #[arg(long)]
    workers: usize,
    /// Where requests go.
    #[arg(long)]
    backend: SocketAddr,
    /// Where POST goes.
    #[arg(long)]
    upload: SocketAddr,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let tls = Arc::new(tls(&args)?);
    let workers: Vec<_> = (0..args.workers)
        .map(|_| {
            let (args, tls) = (args.clone(), TlsAcceptor::from(tls.clone()));
            std::thread::spawn(move || worker(&args, tls))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a worker panicked"))??;
    }
    Ok(())
}

fn tls(args: &Args) -> Result<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&args.certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&args.key)?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

fn worker(args: &Args, tls: TlsAcceptor) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let pools = Rc::new((Pool::new(args.backend), Pool::new(args.upload)));
        let (plain, encrypted) = (listener(args.plain)?, listener(args.tls)?);
        loop {
            tokio::select! {
                accepted = plain.accept() => {
                    let (stream, client) = accepted?;
                    stream.set_nodelay(true)?;
                    spawn_local(serve(stream, false, client, pools.clone()));
                }
                accepted = encrypted.accept() => {
                    let (stream, client) = accepted?;
                    stream.set_nodelay(true)?;
                    let (pools, tls) = (pools.clone(), tls.clone());
                    spawn_local(async move {
                        let stream = tls.accept(stream).await?;
                        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        serve(stream, h2, client, pools).await
                    });
                }
            }
        }
    })
}

fn listener(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn serve<S>(stream: S, h2: bool, client: SocketAddr, pools: Rc<(Rc<Pool>, Rc<Pool>)>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let client = HeaderValue::try_from(client.ip().to_string())?;
    let service = service_fn(move |request| forward(request, client.clone(), pools.clone()));
    match h2 {
        true => {
            http2::Builder::new(Here)
                .max_concurrent_streams(256)
                .serve_connection(TokioIo::new(stream), service)
                .await?
        }
        false => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?,
    }
    Ok(())
}

async fn forward(
    mut request: Request<Incoming>,
    client: HeaderValue,
    pools: Rc<(Rc<Pool>, Rc<Pool>)>,
) -> Result<Response<Answer>> {
    if request.version() == Version::HTTP_2 {
        let host = request.uri().authority().context("no authority")?.as_str().try_into()?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = Uri::from(request.uri().path_and_query().context("no path")?.clone());
        *request.version_mut() = Version::HTTP_11;
    }
    request.headers_mut().remove("connection");
    request.headers_mut().insert("x-forwarded-for", client);
    let pool = if request.method() == Method::POST { &pools.1 } else { &pools.0 };
    pool.send(request).await
}

/// Runs what HTTP/2 spawns on this thread.
#[derive(Clone)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
