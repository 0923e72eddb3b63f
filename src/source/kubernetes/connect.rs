//! Finds the API server: by a kubeconfig, or as every pod does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// How long the API server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence of an answer. Watches are told something each minute, so this finds a server that is gone without a
/// word.
const SILENCE: Duration = Duration::from_secs(75);

/// There is nothing to tell which API server is meant, or who we are to it.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    #[error("--kubeconfig {} cannot be used", .0.display())]
    Kubeconfig(PathBuf, #[source] KubeconfigError),
    #[error("the account of this pod cannot be used; see automountServiceAccountToken, or give --kubeconfig FILE")]
    Pod(#[from] InClusterError),
    #[error("--certificate-authority {} cannot be used", .0.display())]
    Authority(PathBuf, #[source] pem::Error),
    #[error("a client of the API server cannot be made")]
    Client(#[from] kube::Error),
}

/// A client of the cluster that `kubeconfig` names, or that this process is a pod of. Nothing is sent yet. `server` stands in
/// for the address that these say, and may do without them; `authority` then for what its certificate is verified by.
pub async fn connect(
    kubeconfig: Option<&Path>,
    server: Option<&Uri>,
    authority: Option<&Path>,
) -> Result<Client, NoCluster> {
    let mut config = match (kubeconfig, server) {
        (Some(path), _) => named(path).await.map_err(|error| NoCluster::Kubeconfig(path.to_owned(), error))?,
        (None, Some(server)) => Config::incluster().unwrap_or_else(|_| Config::new(server.clone())),
        (None, None) => Config::incluster()?,
    };
    if let Some(server) = server {
        config.cluster_url = server.clone();
    }
    // It is about that server only, as in ingress-nginx.
    if let Some(path) = authority.filter(|_| server.is_some()) {
        config.root_cert = Some(certificates(path).map_err(|why| NoCluster::Authority(path.to_owned(), why))?);
    }
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // The watches do, and say so.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

async fn named(path: &Path) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, pem::Error> {
    let found = CertificateDer::pem_file_iter(path)?
        .map(|certificate| Ok(certificate?.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) }
}
