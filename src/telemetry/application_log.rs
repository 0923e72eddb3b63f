//! The application log: `tracing` to stderr, text on a terminal, JSON by flag. `app` installs it before anything else;
//! everything logs through `tracing`. Requests are not its matter, see `access_log`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What kube's crates say of the API server is told by the watches, once and with the way out; what h2 says, any client can
/// make it say again and again. A filter that names them wins.
const QUIET: &str = "kube_client=off,kube_runtime=off,h2=off";

/// Installs the process's subscriber; `filter` is a level or an env-filter directive list.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let ansi = std::io::stderr().is_terminal();
    let subscriber = subscriber(filter, format, ansi, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

/// `ansi`: colour text. JSON lines have `timestamp`, `level`, `target`, `message` and the event's own fields side by side.
fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let all = format!("{QUIET},{filter}");
    let filter = EnvFilter::try_new(all).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(builder.with_ansi(ansi).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(filter, format, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(endpoint = "10.0.0.1:80", "endpoint\nejected");
            tracing::debug!("not by default");
            tracing::error!(target: "kube_client::client", "said better elsewhere");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_beside_the_message() {
        let text = logged("info", LogFormat::Json);
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "endpoint\nejected");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["endpoint"], "10.0.0.1:80");
        assert!(line["timestamp"].is_string() && line["target"].is_string());
    }

    #[test]
    fn text_has_no_colour_where_there_is_no_terminal() {
        let text = logged("headgate=debug", LogFormat::Text);
        assert!(text.contains("INFO") && text.contains("not by default"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn libraries_are_heard_if_they_are_named() {
        assert!(!logged("debug", LogFormat::Text).contains("elsewhere"));
        assert!(logged("info,kube_client=error", LogFormat::Text).contains("elsewhere"));
    }

    #[test]
    fn a_filter_that_cannot_be_understood_is_named() {
        let Err(error) = subscriber("a=b=c", LogFormat::Text, false, io::stderr) else { panic!("accepted") };
        assert!(error.starts_with("log filter \"a=b=c\": "), "{error}");
    }
}
