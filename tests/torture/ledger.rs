//! What a writer knows of its own writes, in a file that outlives it.
//!
//! A line is appended before a write (what it would do) and after it (what became of it). Each
//! is one call of the system, so that a writer that is killed leaves whole lines: what became of
//! a write without an outcome is not known.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::change::{Change, Poison, Row};
use crate::possible::{Contradiction, Possible};

/// All that was done to a row, in order.
pub(crate) type History = Vec<Step>;

/// One thing that was done to a row.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(Intent, Outcome),
    Read(Option<Row>),
}

/// A write as it was meant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The writes of a ledger are numbered; a row has the number of its last one as revision.
    pub(crate) number: i64,
    pub(crate) change: Change,
    pub(crate) poison: Option<Poison>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is done, by this entry.
    Acknowledged(String),
    /// It may or may not be done.
    Unknown,
    /// It is not done: the row is there.
    Duplicate,
    /// It is not done: the row is not there.
    NotFound,
    /// It is not done: the row is held.
    Held,
    /// It is not done, for this reason, which is not the row's.
    NotDone(String),
    /// It was refused in a way that no fault explains.
    Wrong(String),
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Intent { key: String, intent: Intent },
    Outcome { key: String, outcome: Outcome },
    Read { key: String, row: Option<Row> },
}

impl Step {
    /// What it tells about the row.
    pub(crate) fn apply(&self, possible: &mut Possible) -> Result<(), Contradiction> {
        match self {
            Self::Read(row) => possible.was(row),
            Self::Write(intent, outcome) => match outcome {
                Outcome::Acknowledged(_) => possible.done(&intent.change),
                Outcome::Unknown => {
                    possible.perhaps_done(&intent.change);
                    Ok(())
                }
                Outcome::Duplicate => possible.was_there(),
                Outcome::NotFound => possible.was_absent(),
                Outcome::Held | Outcome::NotDone(_) | Outcome::Wrong(_) => Ok(()),
            },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(intent, outcome) => {
                write!(f, "{} {:?}", intent.number, intent.change)?;
                if let Some(poison) = intent.poison {
                    write!(f, ", poison: {poison:?}")?;
                }
                write!(f, " -> {outcome:?}")
            }
            Self::Read(row) => write!(f, "read {row:?}"),
        }
    }
}

/// Reads what a ledger has, by key. A file that is not there has nothing.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, History>, Failure> {
    let mut histories: BTreeMap<String, History> = BTreeMap::new();
    if !path.exists() {
        return Ok(histories);
    }
    for line in BufReader::new(File::open(path)?).lines() {
        match serde_json::from_str(&line?)? {
            Line::Intent { key, intent } => {
                let step = Step::Write(intent, Outcome::Unknown);
                histories.entry(key).or_default().push(step);
            }
            Line::Outcome { key, outcome } => {
                let last = histories.get_mut(&key).and_then(|history| history.last_mut());
                let Some(Step::Write(_, last)) = last else {
                    return Err(format!("{key} has an outcome without a write").into());
                };
                *last = outcome;
            }
            Line::Read { key, row } => histories.entry(key).or_default().push(Step::Read(row)),
        }
    }
    Ok(histories)
}

/// What a writer goes by.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) possible: Possible,
    pub(crate) is_held: bool,
}

impl Known {
    fn learn(&mut self, step: &Step) {
        // What cannot be is found again when the ledgers are compared with what is stored.
        let _ = step.apply(&mut self.possible);
        self.is_held |= matches!(step, Step::Write(_, Outcome::Held));
    }
}

/// A ledger that is being kept.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    writes: i64,
    keys: BTreeMap<String, Known>,
}

impl Ledger {
    /// Goes on with what an earlier process has left.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut writes = 0;
        let mut keys: BTreeMap<String, Known> = BTreeMap::new();
        for (key, history) in read(path)? {
            let known = keys.entry(key).or_default();
            for step in &history {
                known.learn(step);
                if let Step::Write(intent, _) = step {
                    writes = writes.max(intent.number);
                }
            }
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file, writes, keys })
    }

    /// What is known of a row.
    pub(crate) fn known(&mut self, key: &str) -> &Known {
        self.keys.entry(key.to_owned()).or_default()
    }

    /// The keys of the rows that were written, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The number of the next write.
    pub(crate) fn next_number(&mut self) -> i64 {
        self.writes += 1;
        self.writes
    }

    /// Notes a write before it is made.
    pub(crate) fn intend(&mut self, key: &str, intent: &Intent) -> Result<(), Failure> {
        self.append(&Line::Intent { key: key.to_owned(), intent: intent.clone() })
    }

    /// Notes what became of the write that was noted last.
    pub(crate) fn conclude(
        &mut self,
        key: &str,
        intent: Intent,
        outcome: Outcome,
    ) -> Result<(), Failure> {
        self.append(&Line::Outcome { key: key.to_owned(), outcome: outcome.clone() })?;
        self.keys.entry(key.to_owned()).or_default().learn(&Step::Write(intent, outcome));
        Ok(())
    }

    /// Notes what was read.
    pub(crate) fn saw(&mut self, key: &str, row: Option<Row>) -> Result<(), Failure> {
        self.append(&Line::Read { key: key.to_owned(), row: row.clone() })?;
        self.keys.entry(key.to_owned()).or_default().learn(&Step::Read(row));
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        Ok(self.file.write_all(&text)?)
    }
}
