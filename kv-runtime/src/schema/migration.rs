//! Migrations in the form of the Diesel CLI.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use super::step::Step;

/// SQL that changes tables, and the SQL that takes the change back.
///
/// What is for a person to decide stands there as a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    steps: Vec<Step>,
}

impl Migration {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self { steps }
    }

    /// Whether it changes nothing, though it may hold comments.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.is_proposal)
    }

    /// The statements.
    pub fn up(&self) -> String {
        self.steps.iter().map(Step::to_up).collect::<Vec<_>>().join("\n")
    }

    /// The statements that take it back, the last one first.
    pub fn down(&self) -> String {
        let down = self.steps.iter().rev().filter_map(|step| step.down.as_ref());
        down.map(|down| format!("{down};\n")).collect()
    }

    /// Writes `up.sql` and `down.sql` into a new folder, `<time>_<name>`, and answers its path.
    ///
    /// # Errors
    /// Where the folder is there already, or cannot be made.
    pub fn write(&self, migrations: &Path, name: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(migrations)?;
        let folder = migrations.join(format!("{}_{name}", timestamp(SystemTime::now())));
        fs::create_dir(&folder)?;
        fs::write(folder.join("up.sql"), self.up())?;
        fs::write(folder.join("down.sql"), self.down())?;
        Ok(folder)
    }
}

/// The time as the Diesel CLI puts it before a migration's name: `2026-01-31-235959`.
fn timestamp(now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month and day of a number of days since 1970, in the calendar whose years begin in March.
///
/// By hand, because every crate for dates is a feature here that the user may have switched off.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_the_diesel_cli_writes_them() {
        for (seconds, expected) in [
            (0, "1970-01-01-000000"),
            (951_782_400, "2000-02-29-000000"),
            (951_868_800, "2000-03-01-000000"),
            (1_767_225_599, "2025-12-31-235959"),
            (4_107_542_400, "2100-03-01-000000"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
