//! Helm, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;

pub(crate) use crate::support::tools::tool;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `charts/headgate/ci/*` and `deploy/*/values.yaml`.
pub(crate) fn value_files() -> Vec<PathBuf> {
    let entries = |folder: &str| std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let overlays = entries("deploy").map(|folder| folder.join("values.yaml")).filter(|file| file.exists());
    let mut files: Vec<_> = entries("charts/headgate/ci").chain(overlays).collect();
    files.sort();
    files
}

pub(crate) fn ci(name: &str) -> PathBuf {
    root().join(format!("charts/headgate/ci/{name}-values.yaml"))
}

/// Helm in the root of the repository.
pub(crate) fn helm(arguments: &[&str]) -> Output {
    Command::new(tool("helm")).args(arguments).current_dir(root()).output().unwrap()
}

/// `helm template` with a file of values, and with more of them as `--set-json` has it.
pub(crate) fn template(file: &Path, set: &[&str]) -> Output {
    let mut arguments = vec!["template", "release", "charts/headgate", "--namespace=space", "--values"];
    arguments.push(file.to_str().unwrap());
    for value in set {
        arguments.extend(["--set-json", value]);
    }
    helm(&arguments)
}

/// The objects of the chart with these values.
#[derive(Debug)]
pub(crate) struct Rendered(Vec<Value>);

impl Rendered {
    #[track_caller]
    pub(crate) fn of(file: &Path, set: &[&str]) -> Self {
        let output = template(file, set);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {set:?}: {stderr}", file.display());
        Self(parse(std::str::from_utf8(&output.stdout).unwrap()))
    }

    /// The chart with its defaults but for these.
    #[track_caller]
    pub(crate) fn with(set: &[&str]) -> Self {
        Self::of(&ci("default"), set)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    pub(crate) fn all<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let kind = kind.to_owned();
        self.0.iter().filter(move |object| object["kind"] == *kind)
    }

    #[track_caller]
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let all: Vec<_> = self.all(kind).collect();
        assert_eq!(all.len(), 1, "{kind}: {all:#?}");
        all[0]
    }

    #[track_caller]
    pub(crate) fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.all(kind).find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}: {:?}", self.names(kind)))
    }

    pub(crate) fn names(&self, kind: &str) -> Vec<&str> {
        self.all(kind).map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
    }

    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|object| object["kind"] == "Deployment" || object["kind"] == "DaemonSet")
    }

    /// The Deployment or DaemonSet of the controller.
    #[track_caller]
    pub(crate) fn workload(&self) -> &Value {
        let is_it = |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/component"] == "controller";
        self.workloads().find(is_it).expect("one of them is rendered")
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]
    }

    pub(crate) fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    pub(crate) fn arguments(&self) -> Vec<&str> {
        self.container()["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect()
    }

    /// The value of a flag of the controller.
    pub(crate) fn flag(&self, name: &str) -> Option<&str> {
        self.arguments().into_iter().find_map(|a| a.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The documents of a YAML text that hold something.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    documents.map(|document| Value::deserialize(document).unwrap()).filter(|object| !object.is_null()).collect()
}
