//! What `serve` reads from: a folder of objects, or a configuration file with `[[backends]]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::anyhow;

use super::control::Wanted;
use super::found;
use crate::config;
use crate::source::WatchEnded;
use crate::source::file::{ConfigFile, Settings};
use crate::source::folder::{Folder, OpenError, SourceProblem};
use crate::translate::{Objects, Report};

pub(super) enum Source {
    Folder(Folder),
    File(ConfigFile),
}

impl Source {
    /// `file`: what that of `--config` says.
    pub(super) fn open(source: &config::Source, file: Option<Settings>) -> anyhow::Result<Self> {
        match source {
            config::Source::Folder(dir) => Ok(Source::Folder(Folder::open(dir).map_err(no_folder)?)),
            config::Source::File(path) => {
                let said = file.and_then(|file| Some((file.server, file.plain?)));
                let (server, plain) = said.expect("only what it says makes it the source");
                Ok(Source::File(ConfigFile::open(path, server, plain)?))
            }
        }
    }

    /// What is to be served, as of the last [`changed`](Self::changed). `addresses`: what is known of host names by now.
    pub(super) fn wanted(&self, addresses: BTreeMap<String, Arc<[IpAddr]>>) -> Wanted {
        match self {
            Source::Folder(folder) => Wanted::Objects(Objects { addresses, ..folder.objects() }),
            Source::File(file) => {
                let mut known = file.view().addresses.clone();
                known.extend(addresses);
                Wanted::Plain(file.view().plain.clone(), known)
            }
        }
    }

    /// Nothing is lost if it is cancelled.
    pub(super) async fn changed(&mut self) -> Result<(), WatchEnded> {
        match self {
            Source::Folder(folder) => folder.changed().await,
            Source::File(file) => file.changed().await,
        }
    }

    pub(super) fn reload(&self) {
        match self {
            Source::Folder(folder) => folder.reload(),
            Source::File(file) => file.reload(),
        }
    }

    /// What is broken.
    pub(super) fn problems(&self) -> &[SourceProblem] {
        match self {
            Source::Folder(folder) => &folder.view().problems,
            Source::File(file) => &file.view().problems,
        }
    }

    /// What is passed over.
    pub(super) fn notes(&self) -> &[SourceProblem] {
        match self {
            Source::Folder(folder) => &folder.view().notes,
            Source::File(file) => &file.view().notes,
        }
    }

    /// Says in the application log what the start found to serve.
    pub(super) fn tell(&self, config: &config::Source, reports: &[Report], hosts: usize) {
        match self {
            Source::Folder(folder) => found::tell(config.path(), folder.view(), reports, hosts),
            Source::File(file) => tracing::info!("{} backends are served", file.view().plain.backends.len()),
        }
    }
}

fn no_folder(error: OpenError) -> anyhow::Error {
    let OpenError { path, source } = error;
    anyhow!("--dir cannot read {}: {source}; give a folder or a file of YAML or JSON that can be read", path.display())
}
