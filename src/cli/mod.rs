//! The command line: one file per subcommand. Parses, runs, and turns the outcome into an exit code: 0, 1 for an error,
//! 2 for a command line that cannot be meant. A configuration file that it names is read first, since it has defaults of
//! flags. What the subcommands do is elsewhere.

mod check;
mod crds;
mod echo;
mod explain;
mod objects;
mod print;
mod routes;
mod serve;
mod usage;
mod withdraw;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Id, Parser, Subcommand};
use rustls::crypto::aws_lc_rs;

use crate::config::{self, Origin, UsageError};
use crate::explain::NoQuestion;
use crate::source::file::{self, Settings};

const USAGE: u8 = 2;

/// A Kubernetes ingress controller and its proxy in one binary
#[derive(Debug, Parser)]
#[command(name = "headgate", version, after_help = "Without a command, serve is run: headgate --dir PATH")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Proxy traffic as the Ingress objects of a folder say, or to the [[backends]] of a configuration file
    Serve(Box<config::Args>),
    /// Tell what is wrong with the objects of folders and files: exit code 1 if anything is
    Check(Box<check::Args>),
    /// List every route in the order in which they are tried
    Routes(Box<routes::Args>),
    /// Tell what would become of one request, and why: exit code 1 if nothing would serve it
    Explain(Box<explain::Args>),
    /// Take the addresses out of the status of Ingresses, before the controller with these flags is uninstalled
    Withdraw(Box<config::Args>),
    /// Run a small backend that answers with what it saw, for demos and tests
    Echo(echo::Args),
    /// Print the CustomResourceDefinition of ProxyPolicy, for kubectl apply -f -
    Crds,
}

/// Runs what `args` (with the program's name in front) ask for.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let args = with_command(args);
    let (command, file) = match parse_with_file(&args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    // A second provider can only be there if something installed one before us; ours is set explicitly where it counts.
    let _ = aws_lc_rs::default_provider().install_default();
    let outcome = match command {
        Command::Serve(args) => serve::run(*args, file).map(|()| ExitCode::SUCCESS),
        Command::Check(args) => check::run(&args),
        Command::Routes(args) => routes::run(*args, file),
        Command::Explain(args) => explain::run(*args, file),
        Command::Withdraw(args) => withdraw::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Echo(args) => echo::run(args).map(|()| ExitCode::SUCCESS),
        Command::Crds => crds::run().map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            let is_usage = error.is::<UsageError>() || error.is::<NoQuestion>();
            ExitCode::from(if is_usage { USAGE } else { 1 })
        }
    }
}

/// The command, and what the file says that its `--config` names; else the exit code, and all is said.
fn parse_with_file(args: &[OsString]) -> Result<(Command, Option<Settings>), ExitCode> {
    let parse = |server: &_| parse(args, server).map_err(|refused| refuse(&refused, args));
    let command = parse(&BTreeMap::new())?.command;
    let source = match &command {
        Command::Serve(args) | Command::Withdraw(args) => &args.source,
        Command::Routes(args) => &args.source,
        Command::Explain(args) => &args.source,
        Command::Check(_) | Command::Echo(_) | Command::Crds => return Ok((command, None)),
    };
    let Some(path) = &source.config else { return Ok((command, None)) };
    let file = file::load(path).map_err(|broken| {
        eprintln!("error: {broken}");
        ExitCode::FAILURE
    })?;
    Ok((parse(&file.server)?.command, Some(file)))
}

fn refuse(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if error.use_stderr() {
        eprintln!("{}", usage::line(error, args));
        return ExitCode::from(USAGE);
    }
    // Help. Nothing is left to tell it to if the terminal is gone.
    let _ = error.print();
    ExitCode::SUCCESS
}

/// `server`: what a configuration file makes the default of flags, by the ids of their arguments. What is typed and what
/// the environment has win over it.
fn parse(args: &[OsString], server: &BTreeMap<&'static str, String>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    for name in ["serve", "check", "routes", "explain", "withdraw"] {
        command = command.mut_subcommand(name, |command| {
            config::for_every_flag(command).mut_args(|arg| match server.get(arg.get_id().as_str()) {
                Some(value) => arg.default_value(value.clone()),
                None => arg,
            })
        });
    }
    let matches = command.try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Command::Serve(args), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
        args.origin = origin(matches, server);
    }
    Ok(cli)
}

fn origin(matches: &ArgMatches, server: &BTreeMap<&'static str, String>) -> Origin {
    let is_given =
        |id: &str| matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    Origin {
        given: matches.ids().map(Id::as_str).filter(|id| is_given(id)).map(str::to_owned).collect(),
        of_file: server.keys().copied().filter(|id| !is_given(id)).collect(),
    }
}

/// Flags alone mean `serve`, as manifests written for other controllers have them.
fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let about_the_program = ["-h", "--help", "-V", "--version"];
    let first = args.get(1).map(|first| first.to_string_lossy().into_owned());
    if first.is_none_or(|first| first.starts_with('-') && !about_the_program.contains(&first.as_str())) {
        args.insert(args.len().min(1), "serve".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        let args = line.split(' ').map(OsString::from).collect();
        parse(&with_command(args), &BTreeMap::new()).unwrap_or_else(|error| panic!("{line}: {error}")).command
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve() {
        for line in ["headgate", "headgate --http-port 0", "headgate serve"] {
            assert!(matches!(parsed(line), Command::Serve(_)), "{line}");
        }
        assert!(matches!(parsed("headgate echo"), Command::Echo(_)));
    }

    #[test]
    fn help_and_version_are_those_of_the_program() {
        for line in ["--help", "-h", "--version", "-V", "help"] {
            let error = parse(&with_command(vec!["headgate".into(), line.into()]), &BTreeMap::new()).expect_err(line);
            assert!(!error.use_stderr(), "{line}: {error}");
        }
    }
}
