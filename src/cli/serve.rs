//! `headgate serve`: the proxy itself.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use super::objects;
use crate::app;
use crate::config::{Args, Config};
use crate::source::file::Settings;

/// `file`: what that of `--config` says.
pub(super) fn run(args: Args, file: Option<Settings>) -> anyhow::Result<()> {
    let plain = objects::port(file.as_ref());
    // Counts the CPUs that affinity and control groups leave us, not those of the machine.
    let cpus = available_parallelism().map_or(1, NonZeroUsize::get);
    app::serve(Config::resolve(args, plain, cpus)?, file)
}

#[cfg(test)]
mod tests;
