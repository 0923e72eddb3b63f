//! The list of cases: each names tests that are there, or says why there is none.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

type Groups = BTreeMap<String, BTreeMap<String, Case>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    #[serde(default)]
    shown: Vec<String>,
    not: Option<String>,
}

/// Why there can be no test where `named` says that there is one.
fn missing(named: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (target, rest) = named.split_once("::")?;
    if target == "golden" {
        let path = root.join(format!("tests/golden/{rest}.yaml"));
        return (!path.exists()).then(|| format!("there is no fixture {rest}"));
    }
    let (modules, test) = rest.rsplit_once("::").unwrap_or(("", rest));
    let modules = modules.replace("::", "/");
    let files = match target {
        "lib" => vec![format!("src/{modules}.rs"), format!("src/{}.rs", modules.trim_end_matches("/tests"))],
        _ if modules.is_empty() => vec![format!("tests/{target}.rs"), format!("tests/{target}/main.rs")],
        _ => vec![format!("tests/{target}/{modules}.rs"), format!("tests/{target}/{modules}/mod.rs")],
    };
    let texts: Vec<_> = files.iter().filter_map(|file| std::fs::read_to_string(root.join(file)).ok()).collect();
    let is_there = texts.iter().any(|text| text.contains(&format!("fn {test}(")));
    (!is_there).then(|| format!("no fn {test} in {}", files.join(" or ")))
}

#[test]
fn each_case_has_its_tests_or_a_reason() {
    let groups: Groups = serde_yaml::from_str(include_str!("cases.yaml")).unwrap();
    let cases: Vec<_> = groups.values().flatten().collect();
    assert!(cases.len() >= 206, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (id, Case { case, shown, not }) in cases {
        if shown.is_empty() != not.is_some() || case.is_empty() {
            wrong.push(format!("{id}: either tests or a reason"));
        }
        wrong.extend(shown.iter().filter_map(|test| Some(format!("{id}: {}", missing(test)?))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
