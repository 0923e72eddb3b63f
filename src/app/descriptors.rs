//! How many file descriptors the process may open: as many as it is allowed to ask for. Each proxied connection takes
//! two, and the customary soft limit of 1024 is there for programs that use select(2).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, and tells what then holds.
pub(super) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // A refusal leaves what we had, which is what counts then.
    let granted = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    granted.current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(raised, limit.current.unwrap_or(u64::MAX));
    }
}
