//! Which of the start-up checks are made, and what a problem leads to.

use std::str::FromStr;

use super::Check;

/// What becomes of a problem that a start-up check finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckMode {
    /// It is an error: nothing is opened, and nothing drained.
    Refuse,
    /// It is a warning in the log.
    Warn,
    /// Nobody looks for it.
    Off,
}

impl FromStr for CheckMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err("should be `refuse`, `warn` or `off`"),
        }
    }
}

/// The mode of each start-up check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckSettings {
    /// Redis evicts no row that is not drained. Default [`CheckMode::Refuse`].
    pub eviction: CheckMode,
    /// Redis keeps an append-only file. Default [`CheckMode::Warn`].
    pub persistence: CheckMode,
    /// Redis is 6.2 or newer. Default [`CheckMode::Refuse`].
    pub redis_version: CheckMode,
    /// PostgreSQL is 13 or newer. Default [`CheckMode::Refuse`].
    pub postgres_version: CheckMode,
    /// The models fit their tables, and nothing but the drainer changes these. Default
    /// [`CheckMode::Refuse`].
    pub schema: CheckMode,
    /// The runtime's own tables are there, in this release's form. Default [`CheckMode::Refuse`].
    pub migrations: CheckMode,
    /// The queues have as many partitions as the settings say. Default [`CheckMode::Refuse`].
    pub partitions: CheckMode,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self { persistence: CheckMode::Warn, ..Self::all(CheckMode::Refuse) }
    }
}

impl CheckSettings {
    /// The same mode for every check.
    pub fn all(mode: CheckMode) -> Self {
        Self {
            eviction: mode,
            persistence: mode,
            redis_version: mode,
            postgres_version: mode,
            schema: mode,
            migrations: mode,
            partitions: mode,
        }
    }

    pub(crate) fn mode_mut(&mut self, check: Check) -> &mut CheckMode {
        match check {
            Check::Eviction => &mut self.eviction,
            Check::Persistence => &mut self.persistence,
            Check::RedisVersion => &mut self.redis_version,
            Check::PostgresVersion => &mut self.postgres_version,
            Check::Schema => &mut self.schema,
            Check::Migrations => &mut self.migrations,
            Check::Partitions => &mut self.partitions,
        }
    }

    pub(crate) fn mode(mut self, check: Check) -> CheckMode {
        *self.mode_mut(check)
    }

    /// Whether anybody looks for what a check finds.
    pub(crate) fn wants(self, check: Check) -> bool {
        self.mode(check) != CheckMode::Off
    }
}
