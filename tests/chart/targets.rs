//! `make image`, `kind-up`, `deploy` and `undeploy`, as far as they can be told without Docker and kind: what they name is
//! there, and what the image is built from is enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::rendered::{Rendered, parse, read, root};

/// The commands that `make` would run for a target.
fn commands(target: &str) -> Vec<Vec<String>> {
    let output =
        Command::new("make").args(["--no-print-directory", "--dry-run", target]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{target}: {}", String::from_utf8_lossy(&output.stderr));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    String::from_utf8(output.stdout).unwrap().lines().map(words).collect()
}

/// The words of the instructions of this name in the Dockerfile, without flags.
fn instructions(name: &str) -> Vec<Vec<String>> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn kind_manifest() -> Vec<Value> {
    parse(&read("deploy/kind/headgate.yaml"))
}

#[test]
fn kind_gets_the_image_that_the_manifest_asks_for() {
    let image = &commands("image")[0][3];
    assert_eq!(commands("image"), [["docker", "build", "--tag", image, "."]]);
    assert_eq!(commands("kind-load")[1], ["kind", "load", "docker-image", image]);
    let objects = kind_manifest();
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["imagePullPolicy"]), (&image.as_str().into(), &"IfNotPresent".into()));
}

#[test]
fn deploy_waits_for_what_the_manifest_has_and_undeploy_takes_it_away() {
    let [up] = commands("kind-up").try_into().unwrap();
    assert_eq!(up, ["kind", "create", "cluster", "--config", "kind-config.yaml"]);
    assert!(root().join("kind-config.yaml").exists());
    let file = "deploy/kind/headgate.yaml";
    let [build, load, apply, restart, wait] = commands("deploy").try_into().unwrap();
    assert_eq!(vec![build, load], commands("kind-load"), "else there is no image to start");
    assert_eq!(apply, ["kubectl", "apply", "--server-side", "-f", file]);
    assert_eq!(commands("undeploy"), [["kubectl", "delete", "--ignore-not-found", "-f", file]]);
    let workload = ["--namespace", "headgate", "rollout"];
    assert_eq!((&restart[1..4], &wait[1..4]), (&workload.map(str::to_owned)[..], &workload.map(str::to_owned)[..]));
    assert_eq!((&restart[5], &wait[5]), (&"deployment/headgate".to_owned(), &"deployment/headgate".to_owned()));
    let is_it = |object: &Value| {
        object["kind"] == "Deployment"
            && object["metadata"]["name"] == "headgate"
            && object["metadata"]["namespace"] == "headgate"
    };
    assert!(kind_manifest().iter().any(is_it));
}

#[test]
fn the_image_has_a_rust_that_can_build_it_and_what_the_chart_expects() {
    let froms = instructions("FROM");
    let [build, last] = &froms[..] else { panic!("{froms:?}") };
    let version = build[0].strip_prefix("rust:").unwrap().split('-').next().unwrap();
    assert_eq!((version, &build[1..]), (env!("CARGO_PKG_RUST_VERSION"), &["AS".to_owned(), "build".to_owned()][..]));
    let user = Rendered::with(&[]).pod()["securityContext"]["runAsUser"].clone();
    assert!(last[0].ends_with(":nonroot") && user == 65532, "{last:?} {user}");
    // The one file of the last stage is what the first one makes, and what is run.
    let binary = "/headgate";
    assert_eq!(instructions("COPY"), [vec![".", "."], vec!["--from=build", binary, binary]]);
    let run = instructions("RUN").remove(0);
    assert_eq!(run[run.len() - 3..], ["cp", "target/release/headgate", binary]);
    assert_eq!(instructions("ENTRYPOINT"), [[format!("[\"{binary}\"]")]]);
    assert_eq!(instructions("EXPOSE"), [["8080", "8443", "10254"]]);
}

/// Of a checkout, it sees what `.dockerignore` leaves.
#[test]
fn the_image_is_built_from_what_docker_sees() {
    let run = instructions("RUN").remove(0);
    let at = run.iter().position(|word| word == "cargo").unwrap();
    let command: Vec<_> = run[at..].iter().take_while(|word| *word != "&&").map(String::as_str).collect();
    assert_eq!(command, ["cargo", "build", "--release", "--locked"]);
    let mut needed = vec![PathBuf::from("Cargo.toml"), PathBuf::from("Cargo.lock")];
    sources(&root().join("src"), &mut needed);
    let ignored = read(".dockerignore");
    for file in needed {
        let top = file.iter().next().unwrap();
        assert!(root().join(&file).exists(), "{}", file.display());
        assert!(!ignored.lines().any(|line| top == line), "{} is not seen", file.display());
    }
}

/// What the files of a folder include, and the files.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
            continue;
        }
        let text = std::fs::read_to_string(&entry).unwrap();
        for included in text.split("include_str!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            found.push(folder.join(included).canonicalize().unwrap().strip_prefix(root()).unwrap().to_owned());
        }
        found.push(entry.strip_prefix(root()).unwrap().to_owned());
    }
}
