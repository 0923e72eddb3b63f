//! `headgate crds`: the CustomResourceDefinition of `ProxyPolicy`, as `kubectl apply -f -` takes it.

use anyhow::Context;

use super::print::print;
use crate::api;

pub(super) fn run() -> anyhow::Result<()> {
    let definition = api::definition().context("cannot write the definition as JSON")?;
    let text = serde_yaml::to_string(&definition).context("cannot write the definition as YAML")?;
    print(&text)
}
