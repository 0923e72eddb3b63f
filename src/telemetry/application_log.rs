//! The application log: `tracing` to stderr, text on a terminal, JSON by flag.

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Installs the process's subscriber; `filter` is a level or an env-filter directive list.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    todo!("{filter} {format:?}")
}
