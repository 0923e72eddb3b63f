//! `headgate serve`: the proxy itself.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use crate::app;
use crate::config::{Args, Config};

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    // Counts the CPUs that affinity and control groups leave us, not those of the machine.
    let cpus = available_parallelism().map_or(1, NonZeroUsize::get);
    app::serve(Config::resolve(args, cpus)?)
}

#[cfg(test)]
mod tests;
