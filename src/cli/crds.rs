//! `headgate crds`: the CustomResourceDefinition of `ProxyPolicy`, as `kubectl apply -f -` takes it.

use anyhow::Context;

use super::print::print;
use crate::api;

pub(super) fn run() -> anyhow::Result<()> {
    let definition = api::definition().context("cannot write the definition as JSON")?;
    let text = serde_yaml::to_string(&definition).context("cannot write the definition as YAML")?;
    // kubectl reads YAML 1.1, where the word is a boolean: `retry.on` would become a field named `true`.
    print(&text.replace(" on:\n", " 'on':\n"))
}
