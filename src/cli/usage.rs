//! What is said of a command line that cannot be meant: one line, with the flag, the value, the reason and the way out.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue};

use crate::config;

/// `args` are those that were refused, the program and the command in front.
pub(super) fn line(error: &clap::Error, args: &[OsString]) -> String {
    let text = error.render().to_string();
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let needed =
        paragraphs.filter(|text| !text.is_empty() && !text.starts_with("Usage:") && !text.starts_with("For more"));
    let mut line = needed.collect::<Vec<_>>().join("; ");
    if let Some(variable) = variable(error, args) {
        line += &format!("; the value comes from the environment, {variable}");
    }
    let command =
        args.get(1).and_then(|command| command.to_str()).filter(|name| ["serve", "echo", "crds"].contains(name));
    let help = command.map_or("headgate --help".to_owned(), |command| format!("headgate {command} --help"));
    line + &format!(" (see {help})")
}

/// The environment variable that the refused value comes from. The error names the flag alone.
fn variable(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = argument.split([' ', '[', '=']).next()?;
    let typed = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
    let variable = config::variable(flag.strip_prefix("--")?);
    let set = std::env::var_os(&variable).is_some_and(|value| value != OsStr::new(""));
    (set && !args.iter().any(typed)).then_some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parse;

    fn said(words: &str) -> String {
        let args: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        line(&parse(&args, &Default::default()).expect_err(words), &args)
    }

    #[test]
    fn each_kind_of_mistake_is_one_line_with_the_way_out() {
        for (words, expected) in [
            (
                "headgate serve --http-port abc",
                "error: invalid value 'abc' for '--http-port <PORT>': not a port; write a number from 1 to 65535, or 0 for \
                 any free one (see headgate serve --help)",
            ),
            (
                "headgate serve --access-log-format x",
                "error: invalid value 'x' for '--access-log-format <FORMAT>' [possible values: json, upstreaminfo] (see \
                 headgate serve --help)",
            ),
            (
                "headgate serv",
                "error: unrecognized subcommand 'serv'; tip: a similar subcommand exists: 'serve' (see headgate --help)",
            ),
            ("headgate echo --dir", "error: unexpected argument '--dir' found (see headgate echo --help)"),
        ] {
            assert_eq!(said(words), expected);
        }
    }
}
