//! The shape of the source: which module may use which, what the pure ones may not touch, how long a file may be, and
//! that one TLS provider is built. Which module may use which stands in ARCHITECTURE.md, "Direction".
#![allow(clippy::unwrap_used, reason = "in a test an unexpected error is a failure, and this is where it shows")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// They wire everything together, so they may use everything.
const WIRING: &[&str] = &["app", "cli"];

/// Time, random numbers and the world are arguments here.
const PURE: &[&str] = &["snapshot", "translate", "tables"];

const NOT_PURE: &[&str] = &[
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "tracing::",
    "SystemTime::now",
    "Instant::now",
    "rand::",
    "std::fs",
    "std::env",
    "println!",
];

const LONGEST_FILE: usize = 400;

/// One file of the source, without its comments.
struct Source {
    path: PathBuf,
    /// From the crate's root, as `["tables", "routes"]`.
    module: Vec<String>,
    code: String,
}

#[test]
fn modules_use_only_what_the_direction_allows() {
    let direction = direction();
    let is_module = |name: &str| WIRING.contains(&name) || direction.contains_key(name);
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.module.is_empty()) {
        let own = source.module[0].as_str();
        if WIRING.contains(&own) {
            continue;
        }
        let path = source.path.display();
        let allowed =
            direction.get(own).unwrap_or_else(|| panic!("{path}: `{own}` is not in ARCHITECTURE.md, Direction"));
        let used = used_modules(&source.code, &source.module);
        let unexpected = used.iter().filter(|used| *used != own && is_module(used) && !allowed.contains(*used));
        wrong.extend(unexpected.map(|used| format!("{path}: `{own}` may not use `{used}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_modules_have_no_world() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module.first().is_some_and(|own| PURE.contains(&&**own))) {
        let code = without_tests(source);
        wrong.extend(
            NOT_PURE
                .iter()
                .filter(|word| code.contains(**word))
                .map(|word| format!("{}: `{word}` in a pure module", source.path.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = [rust_files("src"), rust_files("tests")]
        .concat()
        .into_iter()
        .map(|path| (std::fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "split by what they answer: {long:?}");
}

#[test]
fn one_tls_provider_is_built() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("aws-lc-rs ")), "{tree}");
    assert!(!tree.lines().any(|line| line.starts_with("ring ")), "`cargo tree -i ring` tells who brought it");
}

#[test]
fn uses_are_found_however_they_are_written() {
    let module = ["proxy".to_owned(), "request".to_owned()];
    for (code, expected) in [
        ("use crate::tables::{Lease, Tables};", vec!["tables"]),
        ("use crate::{\n    config::Config,\n    telemetry::{Metrics, proxy},\n};", vec!["config", "telemetry"]),
        ("let x = crate::snapshot::host::parse(y);", vec!["snapshot"]),
        ("use super::super::source::folder;", vec!["source"]),
        ("use super::connection;", vec![]),
        ("use hyper::crate_like::x; my_crate::source::x;", vec![]),
    ] {
        assert_eq!(used_modules(code, &module), expected.into_iter().map(String::from).collect(), "{code}");
    }
}

/// Module to the modules that it may use, from the table in ARCHITECTURE.md.
fn direction() -> BTreeMap<String, BTreeSet<String>> {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = document.split("\n## Direction\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let names = |cell: &str| cell.split_whitespace().map(|name| name.trim_matches('`').to_owned()).collect();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(module, allowed)| (module.to_owned(), names(allowed.trim_end_matches('|')))).collect()
}

/// First segments of every path that starts at the crate's root, by `crate::` or by enough `super::`.
fn used_modules(code: &str, module: &[String]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for root in ["crate::".to_owned(), "super::".repeat(module.len())] {
        for (start, _) in code.match_indices(&root) {
            let before = code[..start].chars().next_back().unwrap_or(' ');
            if !(before.is_alphanumeric() || before == '_' || before == ':') {
                used.extend(first_segments(&code[start + root.len()..]));
            }
        }
    }
    used
}

/// `a` of `a::b`; `a` and `c` of `{a::{b, x}, c::d}`.
fn first_segments(path: &str) -> Vec<String> {
    let identifier = |text: &str| {
        let text = text.trim_start();
        text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())].to_owned()
    };
    if !path.starts_with('{') {
        return vec![identifier(path)];
    }
    let mut depth = 0;
    let mut segments = Vec::new();
    for (at, c) in path.char_indices() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if depth == 0 {
            break;
        }
        if depth == 1 && (c == ',' || at == 0) {
            segments.push(identifier(&path[at + 1..]));
        }
    }
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// Tests may touch the world: their files, and the inline module at the end of a file.
fn without_tests(source: &Source) -> &str {
    match source.module.iter().any(|segment| segment.ends_with("tests")) {
        true => "",
        false => source.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default(),
    }
}

fn sources() -> Vec<Source> {
    rust_files("src").into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Source {
    let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    let text = std::fs::read_to_string(&path).unwrap();
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let code = text.lines().filter(|line| !is_comment(line)).collect::<Vec<_>>().join("\n");
    Source { path, module, code }
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
