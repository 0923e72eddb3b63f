//! `headgate routes`: the whole table, one line a route, in the order in which routes are tried.

use std::process::ExitCode;

use super::objects::{self, Meaning};
use super::print::{Output, print};
use crate::config::SourceArgs;
use crate::explain;
use crate::source::file::Settings;

/// Arguments of `routes`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) source: SourceArgs,

    /// How routes are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    #[command(flatten)]
    meaning: Meaning,
}

/// `file`: what that of `--config` says.
pub(super) fn run(args: Args, file: Option<Settings>) -> anyhow::Result<ExitCode> {
    let translation = objects::served(args.source, file, &args.meaning)?;
    let tables = objects::tables(translation.snapshot);
    print(&match args.output {
        Output::Text => explain::routes_as_text(&tables),
        Output::Json => String::from_utf8(explain::routes_as_json(&tables)?)? + "\n",
    })?;
    Ok(if tables.routes.iter().next().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
