//! `headgate check`: everything that `serve` would report on, before anything is served.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::objects::{self, Meaning};
use super::print::{Output, print};
use crate::source::file::{self, Broken, Settings};
use crate::source::folder::SourceProblem;
use crate::translate::{PolicyStatus, Report};

/// Arguments of `check`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Folders and files of YAML and JSON, and configuration files (*.toml)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// How findings are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    #[command(flatten)]
    meaning: Meaning,
}

/// What is wrong.
#[derive(Serialize)]
struct Findings {
    /// Files, and objects in them, that cannot be read.
    files: Vec<SourceProblem>,
    /// What was passed over. No reason to fail.
    notes: Vec<SourceProblem>,
    objects: Vec<Finding>,
    /// What became of each policy on each of its targets.
    policies: Arc<[PolicyStatus]>,
}

/// What is wrong with an object, or with a backend of a configuration file.
#[derive(Serialize)]
struct Finding {
    /// The configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(flatten)]
    report: Report,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let is_config = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let (configs, paths): (Vec<_>, Vec<_>) = args.paths.iter().cloned().partition(is_config);
    let (view, translation) = objects::read(&paths, &args.meaning)?;
    let ingresses = (!paths.is_empty()).then_some(view.objects.ingresses.len());
    let mut files = view.problems;
    let mut objects: Vec<_> = translation.reports.into_iter().map(|report| Finding { file: None, report }).collect();
    for path in &configs {
        match file::load(path) {
            Ok(Settings { plain: Some(plain), .. }) => {
                let file = Some(path.display().to_string());
                let reports = objects::plain(&plain, &args.meaning)?.reports.into_iter();
                objects.extend(reports.map(|report| Finding { file: file.clone(), report }));
            }
            Ok(_) => {}
            Err(Broken(problems)) => files.extend(problems),
        }
    }
    let findings = Findings { files, notes: view.notes, objects, policies: translation.policies };
    print(&match args.output {
        Output::Text => findings.text(ingresses)?,
        Output::Json => serde_json::to_string_pretty(&findings)? + "\n",
    })?;
    Ok(if findings.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Findings {
    fn count(&self) -> usize {
        self.files.len() + self.objects.iter().map(|finding| finding.report.problems.len()).sum::<usize>()
    }

    /// A line for each, and one that sums up. `ingresses`: how many were read, if there were files for objects.
    fn text(&self, ingresses: Option<usize>) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        for problem in &self.files {
            writeln!(text, "{problem}")?;
        }
        for note in &self.notes {
            writeln!(text, "note: {note}")?;
        }
        for Finding { file, report } in &self.objects {
            let place = file.iter().map(|file| format!("{file}: ")).collect::<String>();
            for problem in &report.problems {
                writeln!(
                    text,
                    "{place}{}: {}: {:?}: {}",
                    report.object, problem.field, problem.reason, problem.message
                )?;
            }
        }
        if let Some(ingresses) = ingresses {
            write!(text, "{}, ", counted(ingresses, "Ingress", "es"))?;
        }
        match self.count() {
            0 => writeln!(text, "nothing wrong")?,
            problems => writeln!(text, "{}", counted(problems, "problem", "s"))?,
        }
        Ok(text)
    }
}

fn counted(number: usize, noun: &str, plural: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { plural })
}
