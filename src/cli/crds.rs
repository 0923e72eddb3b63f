//! `headgate crds`: the CustomResourceDefinition of `ProxyPolicy`, as `kubectl apply -f -` takes it.

use std::io::{self, Write};

use anyhow::Context;

use crate::api;

pub(super) fn run() -> anyhow::Result<()> {
    let definition = api::definition().context("cannot write the definition as JSON")?;
    let text = serde_yaml::to_string(&definition).context("cannot write the definition as YAML")?;
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}
