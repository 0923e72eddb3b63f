//! `headgate routes`: the whole table, one line a route, in the order in which routes are tried.

use std::path::PathBuf;
use std::process::ExitCode;

use super::objects::{self, Meaning};
use super::print::{Output, print};
use crate::explain;

/// Arguments of `routes`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// A folder, or one file, of YAML and JSON
    #[arg(long, required = true, value_name = "PATH")]
    dir: PathBuf,

    /// How routes are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    #[command(flatten)]
    meaning: Meaning,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (_, translation) = objects::read(std::slice::from_ref(&args.dir), &args.meaning)?;
    let tables = objects::tables(translation.snapshot);
    print(&match args.output {
        Output::Text => explain::routes_as_text(&tables),
        Output::Json => String::from_utf8(explain::routes_as_json(&tables)?)? + "\n",
    })?;
    Ok(if tables.routes.iter().next().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
