//! How many file descriptors the process may open, and what follows for `--max-connections` and for connections to
//! backends.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::health;

/// What the process has open whatever it serves: its control side, the folder and its watch, logs, some connections of the
/// admin port, and checks of endpoints.
const OWN: u64 = 48 + health::MOST_AT_ONCE as u64;

/// What a worker has open besides connections: its runtime, two listeners, a pipe for tunnels.
const PER_WORKER: u64 = 8;

/// A connection may need another one, to a backend.
const PER_CONNECTION: u64 = 2;

/// Raises the limit of open files as far as it goes, and lowers `--max-connections` to what it then holds; what clients
/// leave is for backends. An error if that is none.
pub(super) fn fit(config: &mut Config) -> anyhow::Result<()> {
    let allowed = raise_limit();
    let wanted = config.limits.max_connections;
    let own = own(config.workers);
    let needed = own.saturating_add((wanted as u64).saturating_mul(PER_CONNECTION));
    let connections = connections_within(allowed, config.workers);
    if connections == 0 {
        bail!(
            "{allowed} open files are allowed, and {} workers need {own} before the first connection: raise the limit \
             (ulimit -n), to {needed} for --max-connections {wanted}, or lower --workers",
            config.workers
        );
    }
    if needed > allowed {
        tracing::warn!(
            "--max-connections is lowered from {wanted} to {connections}: {allowed} open files are allowed (ulimit -n), \
             {needed} would be needed"
        );
        config.limits.max_connections = connections;
    }
    config.backend_connections = backends_beside(config.limits.max_connections, allowed, config.workers);
    Ok(())
}

/// Raises the soft limit of open files to the hard one; what is then allowed.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let soft = current.unwrap_or(u64::MAX);
    let hard = maximum.unwrap_or(u64::MAX);
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit of open files could not be raised");
            soft
        }
    }
}

fn own(workers: usize) -> u64 {
    OWN + PER_WORKER * workers as u64
}

/// How many connections this many descriptors hold.
fn connections_within(descriptors: u64, workers: usize) -> usize {
    let connections = descriptors.saturating_sub(own(workers)) / PER_CONNECTION;
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// How many connections to backends these descriptors hold while all clients are there that may be.
fn backends_beside(connections: usize, descriptors: u64, workers: usize) -> usize {
    let backends = descriptors.saturating_sub(own(workers)).saturating_sub(connections as u64);
    usize::try_from(backends).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_what_the_process_leaves() {
        for (descriptors, workers, connections) in [
            (20_184, 1, 10_000),
            (20_183, 1, 9_999),
            (1024, 2, 416),
            (1024, 4, 408),
            (186, 1, 1),
            (185, 1, 0),
            (64, 4, 0),
            (0, 1024, 0),
        ] {
            assert_eq!(connections_within(descriptors, workers), connections, "{descriptors} {workers}");
        }
    }

    #[test]
    fn backends_have_what_all_clients_leave() {
        for (descriptors, workers, connections, backends) in
            [(20_184, 1, 10_000, 10_000), (1024, 2, 416, 416), (1024, 2, 100, 732), (186, 1, 1, 1), (64, 4, 1, 0)]
        {
            assert_eq!(backends_beside(connections, descriptors, workers), backends, "{descriptors} {connections}");
        }
    }
}
