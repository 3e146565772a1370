//! How safe an acknowledged write is before PostgreSQL has it.

use std::time::Duration;

/// What a write waits for before it is acknowledged.
///
/// Until a write is drained, Redis alone has it. The stronger a mode, the less of that a crash can
/// take, and the longer a write takes. Chosen for all writes by
/// [`Settings::durability`](crate::Settings::durability), for a model by
/// `#[kv(durability = "replicated(1, 100ms)")]`, and for some calls by
/// [`Repository::with_durability`](crate::Repository::with_durability); the narrower wins.
///
/// The stronger modes answer a time-out with
/// [`Error::NotReplicated`](crate::Error::NotReplicated): the write is done, and nothing takes it
/// back. In memory, where there are neither replicas nor a disk, they do nothing.
///
/// | a write that was acknowledged is lost | `Fast` | `Replicated` | `Fsynced` |
/// | --- | --- | --- | --- |
/// | if Redis crashes, with `appendfsync always` | never | never | never |
/// | if Redis crashes, with `appendfsync everysec` | if it is of the last second | the same, unless a replica takes over | never |
/// | if Redis crashes, without an append-only file | always | unless a replica takes over | it is refused |
/// | if a replica takes over | if it had not arrived there yet | if that replica is not among those that have it | if it had not arrived there yet |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Redis has it.
    #[default]
    Fast,
    /// So many replicas of Redis have it: `WAIT`.
    Replicated {
        /// How many. A replica that is promoted must be one of them.
        replicas: u32,
        /// How long to wait for them. A server that is idle notices up to a tenth of a second
        /// later that the time is over.
        timeout: Duration,
    },
    /// Redis has it in its append-only file, and the file on disk: `WAITAOF`, which needs
    /// Redis 7.2 or newer, or Valkey.
    Fsynced {
        /// How long to wait for that. With `appendfsync everysec` it takes up to two seconds.
        timeout: Duration,
    },
}

impl Durability {
    /// Whether a write has more to wait for than its own answer.
    pub(crate) fn is_fast(self) -> bool {
        self == Self::Fast
    }

    /// Whether it asks for something, and gives it time.
    pub(crate) fn is_possible(self) -> bool {
        let millisecond = Duration::from_millis(1);
        match self {
            Self::Fast => true,
            Self::Replicated { replicas, timeout } => replicas > 0 && timeout >= millisecond,
            Self::Fsynced { timeout } => timeout >= millisecond,
        }
    }

    /// How long a write waits at most. A day is as good as for ever, and fits any clock.
    pub(crate) fn timeout(self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        match self {
            Self::Fast => Duration::ZERO,
            Self::Replicated { timeout, .. } | Self::Fsynced { timeout } => timeout.min(DAY),
        }
    }

    /// What was not reached, for a message.
    pub(crate) fn shortfall(self, acknowledged: u32) -> String {
        let timeout = self.timeout();
        match self {
            Self::Replicated { replicas, .. } => {
                format!("{acknowledged} of {replicas} replicas said within {timeout:?} to have it")
            }
            Self::Fast | Self::Fsynced { .. } => {
                format!("Redis did not say within {timeout:?} to have it on disk")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_asks_for_something_and_gives_it_time() {
        let timeout = Duration::from_millis(100);
        assert!(Durability::Fast.is_possible());
        assert!(Durability::Replicated { replicas: 1, timeout }.is_possible());
        assert!(!Durability::Replicated { replicas: 0, timeout }.is_possible());
        assert!(!Durability::Replicated { replicas: 1, timeout: Duration::ZERO }.is_possible());
        assert!(!Durability::Fsynced { timeout: Duration::from_micros(1) }.is_possible());
    }
}
