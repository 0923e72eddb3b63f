//! What `check`, `routes` and `explain` are about: objects, or what a configuration file says, read once and translated
//! as `serve` would.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::app;
use crate::config::{self, Cluster, ObjectArgs, PlainPort, Source, SourceArgs, TrafficArgs};
use crate::proxy::self_made_certificate;
use crate::snapshot::Snapshot;
use crate::source::file::Settings;
use crate::source::folder::{self, View};
use crate::source::kubernetes;
use crate::source::resolve;
use crate::tables::Tables;
use crate::telemetry::Metrics;
use crate::translate::{Options, Plain, Translation, Translator};

/// How long host names are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the API server may take.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(15);

/// The flags of `serve` that bear on what objects mean.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Meaning {
    #[command(flatten)]
    objects: ObjectArgs,
    #[command(flatten)]
    pub(super) traffic: TrafficArgs,
}

/// What was read and what it means.
pub(super) fn read(paths: &[PathBuf], meaning: &Meaning) -> anyhow::Result<(View, Translation)> {
    let options = config::options(None, &meaning.objects, &meaning.traffic)?;
    let mut view = folder::load(paths).context("nothing can be told")?;
    let mut translator = Translator::default();
    let mut translation = translator.translate(&view.objects, &options);
    if !translation.names_to_resolve.is_empty() {
        view.objects.addresses = resolve::within(PATIENCE, translation.names_to_resolve);
        translation = translator.translate(&view.objects, &options);
    }
    Ok((view, translation))
}

/// What would be served. `file`: what that of `--config` says.
pub(super) fn served(source: SourceArgs, file: Option<Settings>, meaning: &Meaning) -> anyhow::Result<Translation> {
    let plain = file.and_then(|file| file.plain);
    let flags = source.cluster.clone();
    match (Source::of(source, plain.is_some())?, plain) {
        (Source::File(_), Some(plain)) => self::plain(&plain, meaning),
        (Source::Cluster(named), _) => {
            let options = config::options(Some(&flags), &meaning.objects, &meaning.traffic)?;
            tokio::runtime::Runtime::new()?.block_on(cluster(&named, &options))
        }
        (Source::Folder(path) | Source::File(path), _) => Ok(read(&[path], meaning)?.1),
    }
}

/// What the objects of a cluster mean.
async fn cluster(named: &Cluster, options: &Options) -> anyhow::Result<Translation> {
    let client = app::client(named).await.context("nothing can be told")?;
    let mut cluster = kubernetes::Cluster::open(&client, &app::scope(named, options));
    let mut translator = Translator::default();
    let read = async {
        loop {
            if cluster.missing().is_empty() {
                let known = cluster.known_secrets();
                let mut objects = cluster.objects();
                let mut translation = translator.translate(&objects, options);
                cluster.want_secrets(&translation.secrets);
                if known.is_some_and(|known| translation.secrets.is_subset(&known)) {
                    if !translation.names_to_resolve.is_empty() {
                        let names = translation.names_to_resolve;
                        objects.addresses = tokio::task::spawn_blocking(|| resolve::within(PATIENCE, names)).await?;
                        translation = translator.translate(&objects, options);
                    }
                    return Ok(translation);
                }
            }
            cluster.changed().await?;
        }
    };
    match tokio::time::timeout(CLUSTER_PATIENCE, read).await {
        Ok(translation) => translation,
        Err(_) => {
            let problems = cluster.problems().iter().map(ToString::to_string).collect::<Vec<_>>();
            anyhow::bail!("the cluster cannot be read in {CLUSTER_PATIENCE:?}: {}", problems.join("; "))
        }
    }
}

/// What a file with `[[backends]]` means.
pub(super) fn plain(plain: &Plain, meaning: &Meaning) -> anyhow::Result<Translation> {
    let options = config::options(None, &meaning.objects, &meaning.traffic)?;
    Ok(plain.translate(&resolve::within(PATIENCE, plain.names()), &options))
}

/// What the one port speaks, if the file has `[[backends]]`.
pub(super) fn port(file: Option<&Settings>) -> Option<PlainPort> {
    let plain = file?.plain.as_ref()?;
    Some(if plain.certificate.is_some() { PlainPort::Https } else { PlainPort::Http })
}

/// What requests would use.
pub(super) fn tables(snapshot: Snapshot) -> Tables {
    Tables::build(Arc::new(snapshot), None, &self_made_certificate(), &Metrics::new(1))
}
