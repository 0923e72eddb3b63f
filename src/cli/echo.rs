//! `headgate echo`: a small backend that answers with what it saw. Speaks HTTP/1.1, HTTP/2 (with prior knowledge, or
//! over TLS) and websocket, on any number of ports, so that one process can play all backends of a demo.

mod answer;
mod websocket;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::config::number;
use crate::proxy::listener::{self, ChangedBy};
use crate::proxy::self_made_certificate;
use answer::{Identity, Tls};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Port to listen on; 0: any free one. Can be given several times
    #[arg(long = "port", value_name = "PORT", default_value = "3000", value_delimiter = ',', value_parser = number::port)]
    ports: Vec<u16>,

    /// The address of all ports
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind_address: IpAddr,

    /// Speak TLS, with a self-made certificate
    #[arg(long)]
    tls: bool,

    /// Answered as "pod" [default: echo-PORT]
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide_env_values = true)]
    pod: Option<String>,

    /// Answered as "namespace"
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", hide_env_values = true, default_value = "")]
    namespace: String,

    /// Answered as "ingress"
    #[arg(long, value_name = "NAME", env = "INGRESS_NAME", hide_env_values = true, default_value = "")]
    ingress: String,

    /// Answered as "service"
    #[arg(long, value_name = "NAME", env = "SERVICE_NAME", hide_env_values = true, default_value = "")]
    service: String,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let outcome = runtime.block_on(serve(args));
    // Exchanges that are still going on are not waited for.
    runtime.shutdown_background();
    outcome
}

/// Serves until SIGTERM or SIGINT, which end at once. Taking them ourselves matters where we are process 1 of a
/// container: there the default is to ignore them.
async fn serve(args: Args) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let acceptor = args.tls.then(acceptor);
    let mut listeners = Vec::new();
    for port in &args.ports {
        let by = ChangedBy { address: "--bind-address", port: "--port" };
        let (address, one) = listener::bind(args.bind_address, *port, 1, by)?;
        for listener in one {
            listeners.push((address, TcpListener::from_std(listener)?));
        }
    }
    let scheme = if args.tls { "https" } else { "http" };
    for (address, listener) in listeners {
        println!("listening {scheme}={address}");
        tokio::spawn(accept(listener, acceptor.clone(), Arc::new(identity(&args, address))));
    }
    std::io::stdout().flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn identity(args: &Args, address: SocketAddr) -> Identity {
    Identity {
        pod: args.pod.clone().unwrap_or_else(|| format!("echo-{}", address.port())),
        namespace: args.namespace.clone(),
        ingress: args.ingress.clone(),
        service: args.service.clone(),
    }
}

fn acceptor() -> TlsAcceptor {
    let certified = Arc::unwrap_or_clone(self_made_certificate());
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, identity: Arc<Identity>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, acceptor.clone(), identity.clone()));
            }
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                // Descriptors are used up; some will be given back.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, identity: Arc<Identity>) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => exchanges(stream, identity, None).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let tls = Tls::of(stream.get_ref().1);
                exchanges(stream, identity, Some(Arc::new(tls))).await;
            }
        }
    }
}

async fn exchanges<S>(stream: S, identity: Arc<Identity>, tls: Option<Arc<Tls>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer::answer(request, identity.clone(), tls.clone()));
    // A connection that breaks is its client's affair.
    let _ =
        auto::Builder::new(TokioExecutor::new()).serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}
