//! What is stored of one row, beside what its ledger has.

use std::collections::BTreeMap;

use super::stored::Letter;
use crate::change::{Change, Row};
use crate::ledger::{Outcome, Step};
use crate::possible::Possible;

/// What PostgreSQL has of a row.
pub(super) struct Stored<'a> {
    pub(super) row: Option<Row>,
    /// In the order of their entries.
    pub(super) letters: &'a [Letter],
}

/// All that differs.
pub(super) fn check_history(history: &[Step], stored: &Stored<'_>) -> Vec<String> {
    let mut differences = Vec::new();
    let first_letter = check_letters(history, stored.letters, &mut differences);
    check_held(history, first_letter.is_some(), &mut differences);
    replay(history, &mut Possible::default(), &mut differences);
    // What PostgreSQL has is what was before the first letter.
    let applied = &history[..first_letter.unwrap_or(history.len())];
    check_row(applied, &stored.row, &mut differences);
    differences.sort();
    differences.dedup();
    differences
}

/// The states that Redis may have the row in.
pub(super) fn possible_in_redis(history: &[Step]) -> Possible {
    let mut possible = Possible::default();
    // Contradictions are reported where PostgreSQL's row is compared.
    replay(history, &mut possible, &mut Vec::new());
    possible
}

fn replay<'a>(
    steps: impl IntoIterator<Item = &'a Step>,
    possible: &mut Possible,
    differences: &mut Vec<String>,
) {
    for step in steps {
        if let Err(contradiction) = step.apply(possible) {
            differences.push(format!("the writer {}: {step}", contradiction.0));
        }
    }
}

/// The letters are one poisoned write and all that follow it. Answers the place of the first.
fn check_letters(
    history: &[Step],
    letters: &[Letter],
    differences: &mut Vec<String>,
) -> Option<usize> {
    let mut first: Option<(usize, &Letter)> = None;
    let mut passed = 0;
    for letter in letters {
        let Some(place) = place_of(&history[passed..], letter).map(|place| passed + place) else {
            differences.push(format!("no write made the dead letter {letter:?}"));
            continue;
        };
        let Step::Write(intent, _) = &history[place] else { continue };
        if !is_of(letter, &intent.change) {
            differences.push(format!("{letter:?} is not what was written by {}", history[place]));
        }
        match first {
            None => {
                first = Some((place, letter));
                let expected = intent.poison.map(|poison| poison.sqlstate());
                if expected.is_none() || letter.sqlstate.as_deref() != expected {
                    differences.push(format!("{letter:?} was not to be refused so"));
                }
                if letter.behind.is_some() {
                    differences.push(format!("{letter:?} is the first, and behind another"));
                }
            }
            Some((_, refused)) => {
                if letter.behind.as_ref() != Some(&refused.entry) {
                    differences.push(format!("{letter:?} is not behind {}", refused.entry));
                }
                check_none_is_missing(&history[passed..place], differences);
            }
        }
        passed = place + 1;
    }
    first.map(|(place, _)| {
        check_none_is_missing(&history[passed..], differences);
        place
    })
}

fn check_none_is_missing(behind: &[Step], differences: &mut Vec<String>) {
    for step in behind {
        if matches!(step, Step::Write(_, Outcome::Acknowledged(_))) {
            differences.push(format!("is behind a dead letter, and is none: {step}"));
        }
    }
}

/// The write that a letter is of: the one with its entry; else one of unknown outcome.
fn place_of(history: &[Step], letter: &Letter) -> Option<usize> {
    let is_entry = |step: &Step| match step {
        Step::Write(_, Outcome::Acknowledged(entry)) => *entry == letter.entry,
        _ => false,
    };
    let may_be = |step: &Step| match step {
        Step::Write(intent, Outcome::Unknown) => is_of(letter, &intent.change),
        _ => false,
    };
    history.iter().position(is_entry).or_else(|| history.iter().position(may_be))
}

fn is_of(letter: &Letter, change: &Change) -> bool {
    let values = || serde_json::from_str::<BTreeMap<String, Option<String>>>(&letter.values);
    letter.operation() == change.name()
        && match change {
            Change::Create(row) | Change::Upsert(row) => values().is_ok_and(|values| {
                let present = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
                present.collect::<Row>() == *row
            }),
            Change::Patch(patch) => values().is_ok_and(|values| values == *patch),
            Change::Delete => letter.values.is_empty(),
        }
}

fn check_held(history: &[Step], has_letters: bool, differences: &mut Vec<String>) {
    let mut was_held = false;
    for step in history {
        match step {
            Step::Write(_, Outcome::Held) => was_held = true,
            Step::Write(_, Outcome::Acknowledged(_)) if was_held => {
                differences.push(format!("was acknowledged, although the row is held: {step}"));
            }
            Step::Write(_, Outcome::Wrong(_)) => {
                differences.push(format!("no fault explains the answer: {step}"));
            }
            _ => {}
        }
    }
    if was_held && !has_letters {
        differences.push("was told to be held, and has no dead letter".to_owned());
    }
}

fn check_row(applied: &[Step], row: &Option<Row>, differences: &mut Vec<String>) {
    let mut possible = Possible::default();
    let happened = applied.iter().enumerate().filter(|(at, step)| {
        let Step::Write(intent, outcome) = step else { return true };
        let Some(poison) = intent.poison else { return true };
        let is_cured = applied[at + 1..].iter().any(|later| match later {
            Step::Write(later, Outcome::Acknowledged(_) | Outcome::Unknown) => {
                poison.is_cured_by(&later.change)
            }
            _ => false,
        });
        if !is_cured && matches!(outcome, Outcome::Acknowledged(_)) {
            differences.push(format!("is poison, and no dead letter: {step}"));
        }
        // Poison that stays and is no letter was never written.
        is_cured || *outcome != Outcome::Unknown
    });
    let happened: Vec<&Step> = happened.map(|(_, step)| step).collect();
    replay(happened, &mut possible, differences);
    if !possible.contains(row) {
        let allowed = possible.states();
        differences.push(format!("PostgreSQL has {row:?}, and the ledger allows {allowed:?}"));
    }
}
