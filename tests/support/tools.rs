//! What `tests/chart/tools.sh` keeps outside the repository.

use std::path::PathBuf;

/// The path of one of them.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set where XDG_CACHE_HOME is not")).join(".cache")
    });
    let path = cache.join("headgate/tools").join(name);
    assert!(path.exists(), "{} is missing; tests/tools.sh installs it", path.display());
    path
}
