//! Compares all that Redis and PostgreSQL have with the ledgers, from outside: no code of the
//! runtime takes part.

mod history;
mod keys;
mod stored;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::history::{Stored, check_history};
use self::stored::{Durable, Hot, Letter};
use crate::change::Row;
use crate::ledger::{self, History, Outcome, Step};
use crate::report::{Difference, Report, Writes};
use crate::{Failure, models};

/// Puts the ledgers of all tasks together: no key is in two of them.
pub(crate) fn histories(directory: &Path) -> Result<BTreeMap<String, History>, Failure> {
    let mut histories = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            histories.extend(ledger::read(&path)?);
        }
    }
    Ok(histories)
}

/// A look at the servers from outside.
pub(crate) struct Audit {
    hot: Hot,
    durable: Durable,
}

impl Audit {
    pub(crate) async fn of(redis_url: &str, database_url: &str) -> Result<Self, Failure> {
        Ok(Self { hot: Hot::of(redis_url).await, durable: Durable::of(database_url).await? })
    }

    /// The partitions that hold entries beyond their offsets.
    pub(crate) async fn undrained(&mut self) -> Result<Vec<String>, Failure> {
        let offsets = self.durable.offsets().await?;
        let streams = self.hot.streams().await?;
        let undrained = streams.iter().filter(|stream| {
            let offset = offsets.get(&stream.partition).map(|offset| offset.position.as_str());
            stream.newest.as_deref() != offset
        });
        Ok(undrained.map(|stream| stream.partition.to_string()).collect())
    }

    /// Compares everything.
    pub(crate) async fn compare(
        &mut self,
        histories: &BTreeMap<String, History>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        report.writes = count(histories);
        let rows = self.durable.rows().await?;
        let letters = self.durable.letters().await?;
        self.compare_rows(histories, &rows, &letters, report);
        for (key, what) in self.durable.pairs(models::CHANGES_OUT_OF_ORDER).await? {
            let ledger = histories.get(&key).map(told).unwrap_or_default();
            report.differences.push(Difference { key, what, ledger });
        }
        let offsets = self.durable.offsets().await?;
        keys::compare(&mut self.hot, &offsets, &rows, &letters, histories, report).await?;
        self.tell_what_was_done(report).await
    }

    /// Puts behind each ledger what PostgreSQL has noted of that row.
    async fn tell_what_was_done(&mut self, report: &mut Report) -> Result<(), Failure> {
        if report.differences.is_empty() {
            return Ok(());
        }
        let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, what) in self.durable.pairs(models::CHANGES).await? {
            done.entry(key).or_default().push(format!("PostgreSQL: {what}"));
        }
        for difference in &mut report.differences {
            let row = difference.key.split('{').next().unwrap_or_default();
            difference.ledger.extend(done.get(row).into_iter().flatten().cloned());
        }
        Ok(())
    }

    fn compare_rows(
        &self,
        histories: &BTreeMap<String, History>,
        rows: &BTreeMap<String, Row>,
        letters: &BTreeMap<String, Vec<Letter>>,
        report: &mut Report,
    ) {
        let nothing = History::new();
        let stored = rows.keys().chain(letters.keys());
        let keys: BTreeSet<&String> = histories.keys().chain(stored).collect();
        for key in keys {
            let history = histories.get(key).unwrap_or(&nothing);
            let row = rows.get(key).cloned();
            let letters = letters.get(key).map(Vec::as_slice).unwrap_or_default();
            report.compared.rows += 1;
            report.compared.rows_there += u64::from(row.is_some());
            let behind = letters.iter().filter(|letter| letter.behind.is_some()).count() as u64;
            report.compared.letters_behind += behind;
            report.compared.letters_refused += letters.len() as u64 - behind;
            for what in check_history(history, &Stored { row, letters }) {
                report.differences.push(Difference {
                    key: key.clone(),
                    what,
                    ledger: told(history),
                });
            }
        }
    }
}

/// The last of what a ledger has of a row: enough to see what went wrong.
fn told(history: &History) -> Vec<String> {
    const STEPS_MAX: usize = 40;
    let first = history.len().saturating_sub(STEPS_MAX);
    history[first..].iter().map(Step::to_string).collect()
}

fn count(histories: &BTreeMap<String, History>) -> Writes {
    let mut writes = Writes::default();
    for step in histories.values().flatten() {
        let count = match step {
            Step::Read(_) => &mut writes.reads,
            Step::Write(intent, outcome) => match outcome {
                Outcome::Acknowledged(_) => {
                    writes.poisoned += u64::from(intent.poison.is_some());
                    &mut writes.acknowledged
                }
                Outcome::Unknown => &mut writes.unknown,
                Outcome::Duplicate => &mut writes.duplicate,
                Outcome::NotFound => &mut writes.not_found,
                Outcome::Held => &mut writes.held,
                Outcome::NotDone(_) | Outcome::Wrong(_) => &mut writes.not_done,
            },
        };
        *count += 1;
    }
    writes
}
