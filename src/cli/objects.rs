//! What `check`, `routes` and `explain` are about: objects, or what a configuration file says, read once and translated
//! as `serve` would.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::config::{self, ObjectArgs, PlainPort, Source, SourceArgs, TrafficArgs};
use crate::proxy::self_made_certificate;
use crate::snapshot::Snapshot;
use crate::source::file::Settings;
use crate::source::folder::{self, View};
use crate::source::resolve;
use crate::tables::Tables;
use crate::telemetry::Metrics;
use crate::translate::{Plain, Translation, Translator};

/// How long host names are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let options = config::options(&meaning.objects, &meaning.traffic)?;
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
    match (Source::of(source, plain.is_some())?, plain) {
        (Source::File(_), Some(plain)) => self::plain(&plain, meaning),
        (Source::Folder(path) | Source::File(path), _) => Ok(read(&[path], meaning)?.1),
    }
}

/// What a file with `[[backends]]` means.
pub(super) fn plain(plain: &Plain, meaning: &Meaning) -> anyhow::Result<Translation> {
    let options = config::options(&meaning.objects, &meaning.traffic)?;
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
