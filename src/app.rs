//! Wiring: start order, readiness, drain order.

use crate::config::Config;

/// Serves until told to end.
pub fn serve(config: Config) -> anyhow::Result<()> {
    anyhow::bail!("not wired yet: {}", config.dir.display())
}
