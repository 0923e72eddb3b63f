//! `headgate withdraw`: takes the addresses of a controller out of the status of its Ingresses, before it is uninstalled.
//! Once that has begun it may be too late: then its class, its Service and its rights are gone.

use std::time::Duration;

use anyhow::Context;

use crate::app;
use crate::config::{self, Config, Source};
use crate::source::kubernetes::{self, Cluster};
use crate::telemetry::init_application_log;
use crate::translate::Translator;

/// How long it may take, beside the lifetime of the Lease.
const PATIENCE: Duration = Duration::from_secs(30);

/// `args`: the flags of the controller.
pub(super) fn run(args: config::Args) -> anyhow::Result<()> {
    let config = Config::resolve(args, None, 1)?;
    let Source::Cluster(named) = &config.source else { anyhow::bail!("only Ingresses of a cluster have a status") };
    if named.election_id.is_none() {
        anyhow::bail!("without an election nobody would stop to write the addresses; end the controller first");
    }
    init_application_log(&config.log_filter, config.log_format).map_err(anyhow::Error::msg)?;
    tokio::runtime::Runtime::new()?.block_on(withdraw(&config, named))
}

async fn withdraw(config: &Config, named: &config::Cluster) -> anyhow::Result<()> {
    let client = app::client(named).await.context("no addresses can be taken back")?;
    let settings = app::report_settings(named, &client, &config.translate);
    let mut cluster = Cluster::open(&client, &app::scope(named, &config.translate));
    let work = async {
        while !cluster.missing().is_empty() {
            cluster.changed().await?;
        }
        let served = Translator::default().translate(&cluster.objects(), &config.translate).served;
        kubernetes::withdraw(client, &cluster, settings, served).await;
        anyhow::Ok(())
    };
    match tokio::time::timeout(PATIENCE + named.election_ttl, work).await {
        Ok(done) => done,
        Err(_) => anyhow::bail!(
            "the addresses could not be taken out of the status of all Ingresses; what stood against it is logged"
        ),
    }
}
