//! What the chart tells the binary, the binary knows.

use std::collections::BTreeSet;
use std::process::Command;

use crate::rendered::{Rendered, ci, value_files};

/// Flags as `headgate serve --help` lists them.
fn known() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_headgate")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    lines.map(|line| line.split([' ', '[']).next().unwrap().to_owned()).collect()
}

#[test]
fn every_flag_is_one_of_the_binary() {
    let known = known();
    assert!(known.contains("http-port") && known.contains("hsts"), "{known:?}");
    for file in value_files() {
        let rendered = Rendered::of(&file, &[]);
        let (command, flags) = rendered.arguments().split_first().map(|(first, rest)| (*first, rest.to_vec())).unwrap();
        assert_eq!(command, "serve");
        for flag in flags {
            let (name, _) = flag.strip_prefix("--").unwrap().split_once('=').unwrap();
            assert!(known.contains(name), "{}: {flag}", file.display());
        }
    }
}

/// Those that the templates may pass; what a file of values leads to is in the test above.
#[test]
fn the_files_of_values_lead_to_every_flag() {
    let template = include_str!("../../charts/headgate/templates/_flags.tpl");
    let body = template.split("define \"headgate.ownFlags\"").nth(1).unwrap();
    let lines =
        body.split("{{- end -}}\n\n").next().unwrap().lines().filter(|line| line.starts_with(char::is_alphabetic));
    let written: BTreeSet<_> = lines.map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert!(written.len() > 10, "{written:?}");
    let mut passed = BTreeSet::new();
    for file in value_files() {
        let rendered = Rendered::of(&file, &[]);
        passed.extend(
            rendered.arguments().iter().filter_map(|a| Some(a.strip_prefix("--")?.split('=').next()?.to_owned())),
        );
    }
    let missing: Vec<_> = written.difference(&passed).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Templates take numbers for floating-point ones.
#[test]
fn large_numbers_are_written_in_full() {
    let rendered = Rendered::with(&[
        "controller.extraArgs.max-connections=20000000",
        "controller.drainTimeout=10000000",
        "controller.config.hsts-max-age=31536000",
        r#"controller.sysctls={"net.core.somaxconn":8000000}"#,
    ]);
    assert_eq!(rendered.flag("max-connections"), Some("20000000"));
    assert_eq!(rendered.flag("drain-timeout"), Some("10000000s"));
    assert_eq!(rendered.one("ConfigMap")["data"]["hsts-max-age"], "31536000");
    assert_eq!(rendered.pod()["securityContext"]["sysctls"][0]["value"], "8000000");
}

#[test]
fn values_of_flags_arrive_as_they_are() {
    let rendered = Rendered::of(&ci("extra"), &[]);
    for (flag, value) in [
        ("server-header", ""),
        ("hsts", "false"),
        ("access-log-format", "upstreaminfo"),
        ("publish-service", "lb/front"),
        ("ingress-class", "nginx"),
        ("http-port", "9080"),
        ("drain-timeout", "60s"),
    ] {
        assert_eq!(rendered.flag(flag), Some(value), "--{flag}");
    }
}
