//! Dead letters: refused entries, what queues behind them, and letting go.
//!
//! One partition with two rows; the entries of the first may be refused until somebody removes
//! the cause. Writes to a held row are accepted here, as with `OnHeld::Queue`: refusing them
//! leaves fewer states. Contents are sets of entries, a bit each, as if each were a patch.

mod state;

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};
use state::{Entry, Letter, Mark, Plan, Release, Row, Settling, State};

/// Else what PostgreSQL refuses is lost in silence.
const REFUSAL_IS_KEPT: Rule = Rule("a unique violation is a refusal, not a success");
/// Else a crash after the commit loses the letter.
const LETTERS_IN_TRANSACTION: Rule = Rule("letters commit together with the offset");
/// Else a later entry of the row takes effect without the refused one.
const BEHIND_IN_BATCH: Rule = Rule("later entries of the batch follow a refused one");
/// The same from one batch to the next.
const BEHIND_LATER: Rule = Rule("entries of a held row in later batches follow it");
/// Else a batch planned before a replay puts an entry behind a letter that is gone.
const MOVE_CHECKS_HELD: Rule = Rule("moving the offset checks the held count");
/// Else a batch that commits during a replay adds a letter that the replay does not see.
const REPLAY_LOCKS_OFFSET: Rule = Rule("replay and discard lock the offset row");
/// Else the row of a letter expires from Redis, and reads get what was before it.
const LETTERS_STAY_PINNED: Rule = Rule("the row of a letter stays pinned, marked as held");
/// The same for the drainer that comes after a crash.
const MARKED_AGAIN: Rule = Rule("settling again marks the rows of letters again");
/// Else a crash before Redis is told leaves the row held for ever.
const RELEASED_BEFORE_DELETED: Rule =
    Rule("letters are released, then the row in Redis, then the letters are deleted");
/// Else nobody finishes what a crash interrupts.
const RELEASE_IS_FINISHED: Rule = Rule("taking the lease finishes releases that are left over");
/// Else reads get what was discarded until the row expires.
const RELEASE_DELETES_ROW: Rule = Rule("letting go deletes the row from Redis");
/// The same for a row that has been written since.
const RELEASED_IS_DELETED: Rule = Rule("settling deletes a row that was let go while dirty");
/// Else a late settling marks a row that was let go since.
const MARKED_BY_ENTRY: Rule =
    Rule("settling marks a row as held only where its newest entry is the letter");
/// Else a late release lets go a row that is held anew.
const MARK_NAMES_LETTER: Rule =
    Rule("the mark names its letter, and a release looks whether it is one of its own");

const ENTRIES: usize = 3;
const LETTINGS_GO: u8 = 2;
const SETTLINGS_AT_ONCE: usize = 2;

pub(crate) struct Letters(Rules);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write { row: usize, is_bad: bool },
    RemoveCause(usize),
    Plan(u8),
    Commit,
    Settle(usize),
    RowExpires(usize),
    Crash { loses_settlings: bool },
    LetGo { row: usize, applies: bool },
    LetGoRead,
    ReleaseInRedis,
    DeleteLetters,
    ReleaserCrashes,
    FinishRelease(usize),
}

impl Letters {
    /// Nothing goes on, and nothing is left for whoever comes.
    fn is_quiet(&self, state: &State) -> bool {
        let is_left = state.letters.iter().any(|letter| letter.is_released);
        state.position as usize == state.queue.len()
            && state.settlings.is_empty()
            && state.release.is_none()
            && !(is_left && self.0.keep(RELEASE_IS_FINISHED))
    }

    fn write(state: &mut State, row: usize, is_bad: bool) {
        state.queue.push(Entry { row, is_bad });
        let entry = state.queue.len() as u8;
        let before = state.hot[row].take();
        let mark = before.as_ref().map_or(Mark::None, |row| row.mark);
        let contents = before.map_or(state.contents[row], |row| row.contents) | 1 << entry;
        state.hot[row] = Some(Row { entry, contents, expires: false, mark });
    }

    fn commit(&self, state: &mut State) {
        let Some(plan) = state.plan.take() else { return };
        let is_same = !self.0.keep(MOVE_CHECKS_HELD) || plan.held == state.held;
        if plan.from != state.position || !is_same {
            return;
        }
        let mut held_rows = if self.0.keep(BEHIND_LATER) { plan.held_rows } else { [false; 2] };
        let mut letters = Vec::new();
        for entry in plan.from + 1..=plan.to {
            let Entry { row, is_bad } = state.queue[entry as usize - 1];
            let is_behind = held_rows[row];
            if is_behind || is_bad && self.0.keep(REFUSAL_IS_KEPT) {
                held_rows[row] |= self.0.keep(BEHIND_IN_BATCH);
                letters.push(Letter { entry, row, is_behind, is_released: false });
            } else if !is_bad {
                state.contents[row] |= 1 << entry;
            }
        }
        state.position = plan.to;
        state.held = plan.held + letters.len() as u8;
        if self.0.keep(LETTERS_IN_TRANSACTION) {
            state.letters.extend(letters);
        } else {
            state.unsaved = letters;
        }
        state.settlings.push(Settling { from: plan.from, to: plan.to, held_rows });
    }

    fn settle(&self, state: &mut State, settling: &Settling) {
        let unsaved = std::mem::take(&mut state.unsaved);
        state.letters.extend(unsaved);
        if state.settled == settling.from {
            state.settled = settling.to;
        }
        for (at, is_held) in settling.held_rows.into_iter().enumerate() {
            let entry = state.newest_entry(at, settling.to);
            let Some(row) = &mut state.hot[at] else { continue };
            if entry <= settling.from {
                continue;
            }
            let is_newest = row.entry == entry;
            if is_held && self.0.keep(LETTERS_STAY_PINNED) {
                if is_newest || !self.0.keep(MARKED_BY_ENTRY) {
                    row.mark = Mark::Held(entry);
                }
            } else if is_newest && row.mark == Mark::Released && self.0.keep(RELEASED_IS_DELETED) {
                state.hot[at] = None;
            } else if is_newest {
                row.expires = true;
            }
        }
    }

    /// The transaction of a replay, or of a discard.
    fn let_go(&self, state: &mut State, row: usize, letters: Vec<Letter>, applies: bool) {
        let mut newest = 0;
        let mut is_refused = false;
        for letter in letters {
            let is_bad = state.queue[letter.entry as usize - 1].is_bad;
            let Some(kept) = state.letters.iter_mut().find(|it| it.entry == letter.entry) else {
                continue;
            };
            if applies && is_bad {
                kept.is_behind = false;
                is_refused = true;
                break;
            }
            kept.is_released = true;
            state.held = state.held.saturating_sub(1);
            newest = letter.entry;
            match applies {
                true => state.contents[row] |= 1 << letter.entry,
                false => state.discarded |= 1 << letter.entry,
            }
        }
        if !self.0.keep(RELEASED_BEFORE_DELETED) {
            state.letters.retain(|letter| !letter.is_released);
        }
        state.release = Some(match is_refused {
            true => Release::ToldRedis { row },
            false => Release::Committed { row, newest },
        });
    }

    fn release_in_redis(&self, state: &mut State, at: usize, newest: u8) {
        let Some(row) = &mut state.hot[at] else { return };
        let is_held_anew = matches!(row.mark, Mark::Held(letter) if letter > newest);
        if is_held_anew && self.0.keep(MARK_NAMES_LETTER) {
            return;
        }
        if !self.0.keep(RELEASE_DELETES_ROW) {
            row.mark = Mark::None;
            row.expires |= row.entry <= newest;
        } else if row.entry <= newest || row.expires {
            state.hot[at] = None;
        } else {
            row.mark = Mark::Released;
        }
    }
}

impl Protocol for Letters {
    const NAME: &'static str = "letters";
    const RULES: &'static [Rule] = &[
        REFUSAL_IS_KEPT,
        LETTERS_IN_TRANSACTION,
        BEHIND_IN_BATCH,
        BEHIND_LATER,
        MOVE_CHECKS_HELD,
        REPLAY_LOCKS_OFFSET,
        LETTERS_STAY_PINNED,
        MARKED_AGAIN,
        RELEASED_BEFORE_DELETED,
        RELEASE_IS_FINISHED,
        RELEASE_DELETES_ROW,
        RELEASED_IS_DELETED,
        MARKED_BY_ENTRY,
        MARK_NAMES_LETTER,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Letters {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let written = state.queue.len();
        if written < ENTRIES {
            let writes = [(0, true), (0, false), (1, false)];
            steps.extend(writes.map(|(row, is_bad)| Step::Write { row, is_bad }));
        }
        let is_letter =
            |entry: usize| state.letters.iter().any(|it| it.entry as usize == entry + 1);
        let bad = (0..written).filter(|&at| state.queue[at].is_bad && is_letter(at));
        steps.extend(bad.map(Step::RemoveCause));
        match &state.plan {
            Some(_) => steps.push(Step::Commit),
            None if state.settlings.len() < SETTLINGS_AT_ONCE => {
                steps.extend((state.position + 1..=written as u8).map(Step::Plan));
            }
            None => {}
        }
        steps.extend((0..state.settlings.len()).map(Step::Settle));
        if !state.has_crashed {
            steps.extend([true, false].map(|loses_settlings| Step::Crash { loses_settlings }));
        }
        for row in 0..2 {
            if state.hot[row].as_ref().is_some_and(|row| row.expires) {
                steps.push(Step::RowExpires(row));
            }
            if state.release.is_none() {
                let mut letters = state.letters.iter().filter(|letter| letter.row == row);
                if letters.any(|letter| letter.is_released) && self.0.keep(RELEASE_IS_FINISHED) {
                    steps.push(Step::FinishRelease(row));
                }
                if state.held_rows()[row] && state.lettings_go < LETTINGS_GO {
                    steps.extend([true, false].map(|applies| Step::LetGo { row, applies }));
                }
            }
        }
        if let Some(release) = &state.release {
            steps.push(match release {
                Release::Read { .. } => Step::LetGoRead,
                Release::Committed { .. } => Step::ReleaseInRedis,
                Release::ToldRedis { .. } => Step::DeleteLetters,
            });
            if !state.has_crashed {
                steps.push(Step::ReleaserCrashes);
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write { row, is_bad } => Self::write(&mut next, row, is_bad),
            Step::RemoveCause(at) => next.queue[at].is_bad = false,
            Step::Plan(to) => {
                let held_rows = next.held_rows();
                next.plan = Some(Plan { from: next.position, to, held: next.held, held_rows });
            }
            Step::Commit => self.commit(&mut next),
            Step::Settle(at) => {
                let settling = next.settlings.remove(at);
                self.settle(&mut next, &settling);
            }
            Step::RowExpires(row) => next.hot[row] = None,
            Step::Crash { loses_settlings } => {
                next.has_crashed = true;
                next.plan = None;
                if loses_settlings {
                    next.settlings.clear();
                    next.unsaved.clear();
                }
                if next.settled < next.position {
                    let is_known = self.0.keep(MARKED_AGAIN);
                    let held_rows = if is_known { next.held_rows() } else { [false; 2] };
                    let (from, to) = (next.settled, next.position);
                    next.settlings.push(Settling { from, to, held_rows });
                }
            }
            Step::LetGo { row, applies } => {
                next.lettings_go += 1;
                let letters = next.letters_of(row).copied().collect();
                if self.0.keep(REPLAY_LOCKS_OFFSET) {
                    self.let_go(&mut next, row, letters, applies);
                } else {
                    next.release = Some(Release::Read { row, letters, applies });
                }
            }
            Step::LetGoRead => {
                let Some(Release::Read { row, letters, applies }) = next.release.take() else {
                    return None;
                };
                self.let_go(&mut next, row, letters, applies);
            }
            Step::ReleaseInRedis => {
                let Some(Release::Committed { row, newest }) = next.release else { return None };
                self.release_in_redis(&mut next, row, newest);
                next.release = Some(Release::ToldRedis { row });
            }
            Step::DeleteLetters => {
                let Some(Release::ToldRedis { row }) = next.release.take() else { return None };
                next.letters.retain(|letter| letter.row != row || !letter.is_released);
            }
            Step::ReleaserCrashes => {
                next.has_crashed = true;
                next.release = None;
            }
            Step::FinishRelease(row) => {
                let letters = next.letters.iter();
                let released = letters.filter(|letter| letter.row == row && letter.is_released);
                let newest = released.map(|letter| letter.entry).max()?;
                next.release = Some(Release::Committed { row, newest });
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "5: letters are what was refused, and all behind it",
                |_, state: &State| (0..2).all(|row| state.letters_are_exact(row)),
            ),
            Property::always("5: all else takes effect, in order", |_, state: &State| {
                (0..2).all(|row| {
                    state.contents[row] == state.expected(row) || !state.unsaved.is_empty()
                })
            }),
            Property::always("5: the held count is the number of letters", |_, state: &State| {
                let letters = state.letters.iter().filter(|letter| !letter.is_released);
                state.held as usize == letters.count() || !state.unsaved.is_empty()
            }),
            Property::always("6: a dirty or held row stays readable", |_, state: &State| {
                (0..2).all(|at| {
                    let newest = state.newest_entry(at, state.queue.len() as u8);
                    let is_pinned = |row: &Row| !row.expires && row.entry == newest;
                    let must_be = newest > state.position || state.held_rows()[at];
                    !must_be || state.hot[at].as_ref().is_some_and(is_pinned)
                })
            }),
            Property::always(
                "9: once all is settled, only held rows are held and pinned",
                |model: &Self, state: &State| {
                    !model.is_quiet(state)
                        || (0..2).all(|at| {
                            let is_held = state.held_rows()[at];
                            let is_as_held = |row: &Row| {
                                is_held == matches!(row.mark, Mark::Held(_))
                                    && is_held != row.expires
                            };
                            state.hot[at].as_ref().is_none_or(is_as_held)
                        })
                },
            ),
            Property::always(
                "6: once all is settled, Redis has what PostgreSQL has",
                |model: &Self, state: &State| {
                    !model.is_quiet(state)
                        || (0..2).all(|at| {
                            let is_same = |row: &Row| row.contents == state.contents[at];
                            state.held_rows()[at] || state.hot[at].as_ref().is_none_or(is_same)
                        })
                },
            ),
            Property::sometimes("a row is held anew after it was let go", |_, state: &State| {
                state.held_rows()[0] && state.lettings_go > 0 && state.release.is_none()
            }),
        ]
    }
}
