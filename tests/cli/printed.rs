//! What is printed as it stands in the repository: version, help, the example of the README, the definition.

use super::{answer, headgate};

#[test]
fn version_is_that_of_the_package() {
    assert_eq!(answer("--version"), format!("headgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_the_commands_and_their_flags() {
    let help = answer("--help");
    assert!(["serve", "echo", "crds"].iter().all(|command| help.contains(command)), "{help}");
    let help = answer("serve --help");
    for text in ["--dir", "--http-port", "HEADGATE_HTTP_PORT", "8080", "Limits:", "--header-timeout", "64Ki"] {
        assert!(help.contains(text), "no {text} in {help}");
    }
}

/// As `-o text` and the document show it.
#[test]
fn the_explanation_in_the_readme_is_the_one_printed() {
    let command = "explain --dir deploy/demo http://limited.localhost/api/x";
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&format!("headgate {command}\n{}```", answer(command))));
    assert_eq!(headgate("explain --dir deploy/demo http://nowhere.localhost/").status.code(), Some(1));
}

#[test]
fn the_bounds_in_the_page_on_security_are_those_that_ship() {
    let help = answer("serve --help");
    let mut rows = 0;
    for row in include_str!("../../SECURITY.md").lines().filter(|line| line.contains("| `--")) {
        let [_, flag, default] = row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let (_, about) =
            help.split_once(&format!("{} <", flag.trim_matches('`'))).unwrap_or_else(|| panic!("no {flag}"));
        let (_, shipped) = about.split_once("[default: ").unwrap();
        assert_eq!(shipped.split(']').next(), Some(default), "{flag}");
        rows += 1;
    }
    assert!(rows >= 16, "{rows} rows");
}

/// `make crds` rewrites the file.
#[test]
fn the_printed_definition_is_the_one_in_the_repository() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/proxypolicies.yaml");
    let same = answer("crds") == std::fs::read_to_string(file).unwrap();
    assert!(same, "{file} is not what headgate crds prints; `make crds` writes it");
}

#[test]
fn no_key_of_the_definition_is_a_boolean_to_kubectl() {
    let booleans = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    let text = answer("crds");
    let keys = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':'));
    let read_otherwise: Vec<_> = keys.filter(|(key, _)| booleans.contains(&&*key.to_lowercase())).collect();
    assert!(text.contains("\n                  'on':\n") && read_otherwise.is_empty(), "{read_otherwise:?}");
    let printed: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(printed, headgate::api::definition().unwrap());
}
