//! How much memory the process may take and takes, and what level of scarcity follows. One task looks, the data plane reads the
//! level (`proxy::memory`).
//!
//! The limit is `--memory-limit` or that of the control group (cgroup v2), be it of one further up. Of the process all
//! counts that it has resident but files, of the group all that it takes but what can be had back: it is the group for
//! which the kernel ends processes, and what the kernel holds for our sockets is the group's.
//!
//! Shedding can only give back what clients hold. What the process takes for itself (tables, code, what its allocator keeps)
//! is the least that was seen; where shedding has not helped for half a minute, what is left is taken for that too, and
//! half of the rest is still used. So it never ends in refusing everybody for good, and never reaches the limit by itself.

use std::convert::Infallible;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proxy::memory::{ANY, Level, Memory};
use crate::telemetry::{Metrics, Seldom};

/// Between two looks; where more than half is taken it may be all before the next of these.
const LOOK: Duration = Duration::from_millis(100);
const CLOSE_LOOK: Duration = Duration::from_millis(10);

/// Shedding that has not helped for so long does not help.
const FUTILE: Duration = Duration::from_secs(30);

/// What may be taken, and where it is said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limit {
    bytes: u64,
    /// The control group whose limit it is.
    group: Option<PathBuf>,
}

/// Finds the level for what is taken.
#[derive(Debug)]
struct Judge {
    limit: u64,
    /// What the process takes for itself.
    own: u64,
    level: Level,
    /// Since when it is not [`Level::Enough`].
    since: Option<Instant>,
}

impl Limit {
    /// `flag`: of `--memory-limit`. `None`: there is no limit.
    pub(super) fn of(flag: Option<u64>) -> Option<Self> {
        match flag {
            Some(0) => None,
            Some(bytes) => Some(Limit { bytes, group: None }),
            None => Self::of_group(Path::new("/sys/fs/cgroup"), &read_to_string("/proc/self/cgroup").ok()?),
        }
    }

    /// The least of the group of the process and those around it. `groups`: those of the process (cgroups(7)).
    fn of_group(root: &Path, groups: &str) -> Option<Self> {
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let own = root.join(own);
        let limits = own.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| {
            let bytes = read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()?;
            Some(Limit { bytes, group: Some(group.to_owned()) })
        });
        limits.min_by_key(|limit| limit.bytes)
    }

    /// Looks at what is taken, for ever, and tells `memory`.
    pub(super) async fn watch(self, memory: Arc<Memory>, metrics: Arc<Metrics>) -> Infallible {
        let warning = Seldom::new();
        let limit = self.bytes;
        let own = self.used();
        metrics.control().set_memory_limit(limit);
        if own >= limit {
            tracing::warn!(
                own,
                limit,
                "the process itself takes all the memory that it may: nothing can be shed, raise the limit"
            );
            return std::future::pending().await;
        }
        tracing::info!(own, limit, "the memory of the process is bounded");
        let mut judge = Judge { limit, own, level: Level::Enough, since: None };
        loop {
            let (before, used) = (judge.level, self.used());
            let level = judge.judge(used, Instant::now());
            memory.set(level, judge.room(used));
            metrics.control().set_memory_level(level as u8);
            if level > before
                && let Some(times) = warning.occurred(Instant::now())
            {
                tracing::warn!(used, limit, ?level, times, "memory gets scarce: load is shed");
            }
            tokio::time::sleep(if used > limit / 2 { CLOSE_LOOK } else { LOOK }).await;
        }
    }

    fn used(&self) -> u64 {
        let resident = read_to_string("/proc/self/status").map_or(0, |status| field(&status, "RssAnon:") << 10);
        resident.max(self.group.as_deref().and_then(used_by).unwrap_or(0))
    }
}

/// What a group takes without what the kernel would give back before it ends a process.
fn used_by(group: &Path) -> Option<u64> {
    let current: u64 = read_to_string(group.join("memory.current")).ok()?.trim().parse().ok()?;
    let stat = read_to_string(group.join("memory.stat")).ok()?;
    let given_back = ["active_file", "inactive_file", "slab_reclaimable"].map(|name| field(&stat, name));
    Some(current.saturating_sub(given_back.iter().sum()))
}

/// The number behind a name; 0: it is not there.
fn field(text: &str, name: &str) -> u64 {
    let mut words = text.lines().map(str::split_whitespace);
    let value = words.find_map(|mut words| if words.next() == Some(name) { words.next() } else { None });
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

impl Judge {
    fn judge(&mut self, used: u64, now: Instant) -> Level {
        self.own = self.own.min(used);
        if self.since.is_some_and(|since| now.duration_since(since) >= FUTILE) {
            self.own = used;
            self.since = None;
        }
        self.level = if used > self.above(95, 4) || self.level == Level::Full && used > self.above(90, 2) {
            Level::Full
        } else if used > self.above(92, 3) {
            Level::Scarce
        } else {
            Level::Enough
        };
        self.since = (self.level != Level::Enough).then(|| self.since.unwrap_or(now));
        self.level
    }

    /// What answers may take until the next look; with less than half taken, whatever comes.
    fn room(&self, used: u64) -> u64 {
        match self.level {
            Level::Full => 0,
            _ if used <= self.limit / 2 => ANY,
            _ => self.above(95, 4).saturating_sub(used),
        }
    }

    /// So many percent of the limit, but at least so many eighths of what the process leaves of it.
    fn above(&self, percent: u64, eighths: u64) -> u64 {
        let rest = self.limit.saturating_sub(self.own);
        (self.limit / 100 * percent).max(self.own + rest / 8 * eighths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn judge(own: u64) -> Judge {
        Judge { limit: LIMIT, own, level: Level::Enough, since: None }
    }

    #[test]
    fn levels_begin_at_92_and_95_percent_and_the_last_ends_at_90() {
        let mut judge = judge(100);
        let start = Instant::now();
        for (used, level) in [
            (920, Level::Enough),
            (921, Level::Scarce),
            (920, Level::Enough),
            (950, Level::Scarce),
            (951, Level::Full),
            (901, Level::Full),
            (900, Level::Enough),
            (950, Level::Scarce),
        ] {
            assert_eq!(judge.judge(used, start), level, "{used}");
        }
    }

    #[test]
    fn answers_take_no_more_than_what_is_left_until_the_next_look() {
        let mut judge = judge(100);
        let now = Instant::now();
        for (used, room) in [(500, ANY), (501, 449), (950, 0), (951, 0), (901, 0), (900, 50)] {
            judge.judge(used, now);
            assert_eq!(judge.room(used), room, "{used}");
        }
    }

    #[test]
    fn what_the_process_takes_for_itself_is_not_shed() {
        let mut judge = judge(960);
        let now = Instant::now();
        for (used, level) in [(960, Level::Enough), (975, Level::Enough), (976, Level::Scarce), (981, Level::Full)] {
            assert_eq!(judge.judge(used, now), level, "{used}");
        }
        assert_eq!((judge.judge(971, now), judge.judge(970, now)), (Level::Full, Level::Enough));
        // Once it takes less, so much counts.
        assert_eq!((judge.judge(100, now), judge.judge(951, now)), (Level::Enough, Level::Full));
    }

    #[test]
    fn shedding_that_does_not_help_ends_but_leaves_half_of_the_rest() {
        let mut judge = judge(100);
        let start = Instant::now();
        assert_eq!(judge.judge(952, start), Level::Full);
        assert_eq!(judge.judge(952, start + FUTILE - LOOK), Level::Full);
        assert_eq!(judge.judge(952, start + FUTILE), Level::Enough);
        assert_eq!(judge.judge(976, start + FUTILE), Level::Scarce);
        assert_eq!(judge.judge(977, start + FUTILE), Level::Full);
        assert_eq!(judge.judge(977, start + 2 * FUTILE), Level::Enough);
        assert_eq!(judge.judge(1500, start + 3 * FUTILE), Level::Full, "never beyond the limit");
    }

    #[test]
    fn the_least_limit_of_the_groups_around_a_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("pods/one");
        std::fs::create_dir_all(&group).unwrap();
        let groups = "4:memory:/elsewhere\n0::/pods/one\n";
        let found = || Limit::of_group(root.path(), groups).map(|limit| (limit.bytes, limit.group.unwrap()));
        assert_eq!(found(), None);
        std::fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(found(), None, "no limit");
        std::fs::write(root.path().join("pods/memory.max"), "500\n").unwrap();
        assert_eq!(found(), Some((500, root.path().join("pods"))));
        std::fs::write(group.join("memory.max"), "499\n").unwrap();
        assert_eq!(found(), Some((499, group.clone())));
        assert_eq!(Limit::of_group(root.path(), "4:memory:/pods/one\n"), None, "another version");
        let inside = Limit::of_group(&group, "0::/\n").unwrap();
        assert_eq!(inside.bytes, 499, "as a container sees it");
    }

    #[test]
    fn of_a_group_counts_what_cannot_be_had_back() {
        let group = tempfile::tempdir().unwrap();
        let limit = Limit { bytes: 1 << 40, group: Some(group.path().to_owned()) };
        assert!(limit.used() > 0 && limit.used() < 1 << 40, "the process itself, where the group says nothing");
        std::fs::write(group.path().join("memory.current"), "1099511627776\n").unwrap();
        let stat = "anon 7\nfile 600\ninactive_file 500\nactive_file 70\nslab_reclaimable 6\nslab 9\n";
        std::fs::write(group.path().join("memory.stat"), stat).unwrap();
        assert_eq!(limit.used(), (1 << 40) - 576);
    }

    #[test]
    fn the_flag_wins_over_the_group_and_0_is_no_limit() {
        assert_eq!(Limit::of(Some(0)), None);
        assert_eq!(Limit::of(Some(7)), Some(Limit { bytes: 7, group: None }));
    }
}
