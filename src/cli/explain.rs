//! `headgate explain`: what would become of one request, and why. Exit code 1 if nothing would serve it.

use std::net::IpAddr;
use std::process::ExitCode;

use super::objects::{self, Meaning};
use super::print::{Output, print};
use crate::config::{Limits, SourceArgs};
use crate::explain::{self, Question, Site};
use crate::source::file::Settings;

/// Arguments of `explain`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The URL that a client asks for
    #[arg(value_name = "URL")]
    url: String,

    #[command(flatten)]
    pub(super) source: SourceArgs,

    /// The method of the request
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,

    /// A header field of the request; may be given more than once, and a Host replaces that of the URL
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// The address that the request comes from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: IpAddr,

    /// How the explanation is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    #[command(flatten)]
    meaning: Meaning,

    #[command(flatten)]
    limits: Limits,
}

/// `file`: what that of `--config` says.
pub(super) fn run(args: Args, file: Option<Settings>) -> anyhow::Result<ExitCode> {
    let Args { url, source, method, headers, client, output, meaning, limits } = args;
    let port = objects::port(file.as_ref());
    let translation = objects::served(source, file, &meaning)?;
    let tables = objects::tables(translation.snapshot);
    let site = Site::new(&limits, meaning.traffic.https_redirect_port, port);
    let question = Question { url, method, fields: headers, client };
    let explanation = explain::explain(&tables, &translation.reports, site, &question)?;
    print(&match output {
        Output::Text => explanation.to_text(),
        Output::Json => serde_json::to_string_pretty(&explanation)? + "\n",
    })?;
    Ok(if explanation.is_served() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
