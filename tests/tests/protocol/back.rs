//! Redis or PostgreSQL goes back in time, once.
//!
//! Writes are numbered; an entry's id is the stream's last one and 1, so that after a loss ids
//! come again, as with a replica whose clock is behind. Each write adds 1 to a counter.

mod state;

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};
use state::{Durable, Entry, Repair, Row, Side, State, Value};

/// Else an entry that took the id of a lost one is skipped, with all before it.
const NONCE: Rule = Rule("the entry at the offset is compared by its nonce, too");
/// Else a PostgreSQL that lost its offset skips what was trimmed.
const START_CHECKED: Rule = Rule("where there is no offset, nothing may have been trimmed");
/// Else a partition that has merely been trimmed looks as if Redis went back.
const OFFSET_ENTRY_KEPT: Rule = Rule("the entry at the offset is never trimmed");
/// Else PostgreSQL counts on from what Redis has lost.
const ABSOLUTE_RESULTS: Rule = Rule("an entry carries results, not operations");
/// Else what is new in a stream that went back is skipped, where its id is not beyond the offset.
const DOUBT_IS_KEPT: Rule =
    Rule("an entry that may be new, and whose outcome PostgreSQL has not, becomes a letter");
/// Else the next writes again get ids before the offset.
const OFFSET_RESET: Rule = Rule("a repair moves the offset to the stream's last entry");
/// Else rows from before the loss stay in Redis.
const ROWS_REMOVED: Rule = Rule("a repair removes the rows that PostgreSQL has newer");
/// Else a crash in the repair leaves them there.
const ROWS_FIRST: Rule = Rule("a repair mends rows before it moves the offset");
/// Else rows whose entries are trimmed are lost for a PostgreSQL that went back.
const ROWS_WRITTEN_AGAIN: Rule =
    Rule("a row newer than the offset whose entry was trimmed is queued again");
/// Else rows stay pinned that Redis brought back as dirty, and nothing is trimmed any more.
const SETTLED_AGAIN: Rule =
    Rule("a drainer that meets another settled position than its own settles again from there");

const WRITES: u8 = 4;

pub(crate) struct Back(Rules);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write(usize),
    Drain(usize),
    Settle,
    SettleAgain,
    Trim,
    RowExpires(usize),
    Save(Side),
    GoBack(Side),
    RepairRows,
    RepairOffset,
    Crash,
}

impl Back {
    fn is_same(&self, state: &State) -> bool {
        let Durable { position, nonce, .. } = state.durable;
        let is_nonce = |entry: &Entry| entry.value.write == nonce || !self.0.keep(NONCE);
        if position == 0 {
            return !state.hot.is_trimmed || !self.0.keep(START_CHECKED);
        }
        state.hot.stream.iter().any(|it| it.id == position && is_nonce(it))
    }

    fn is_quiet(&self, state: &State) -> bool {
        self.is_same(state)
            && state.hot.after(state.durable.position).next().is_none()
            && state.settling.is_none()
            && state.repair == Repair::None
            && (state.hot.settled >= state.durable.position || !self.0.keep(SETTLED_AGAIN))
    }

    fn drain(&self, state: &mut State, count: usize) {
        let from = state.durable.position;
        let batch: Vec<_> = state.hot.after(from).take(count).copied().collect();
        for entry in batch {
            if state.is_held(entry.row) {
                state.durable.letters |= 1 << entry.value.write;
            } else {
                state.apply(self.0, entry);
            }
            state.durable.position = entry.id;
            state.durable.nonce = entry.value.write;
        }
        state.settling = Some((from, state.durable.position));
    }

    fn settle(&self, state: &mut State, from: u8, to: u8) {
        for at in 0..2 {
            let is_held = state.is_held(at);
            let entries = state.hot.after(from).filter(|entry| entry.row == at && entry.id <= to);
            let Some(entry) = entries.map(|entry| entry.id).last() else { continue };
            let Some(row) = &mut state.hot.rows[at] else { continue };
            if row.entry == entry {
                row.expires = !is_held;
            } else if row.entry < entry {
                state.hot.rows[at] = None;
            }
        }
        if state.hot.settled == from {
            state.hot.settled = to;
        }
    }

    fn repair_rows(&self, state: &mut State, position: u8) {
        for at in 0..2 {
            let Some(row) = state.hot.rows[at] else { continue };
            let is_kept =
                state.is_held(at) || self.0.keep(DOUBT_IS_KEPT) && state.doubt(at).is_some();
            let is_queued = state.hot.stream.iter().any(|entry| entry.id == row.entry);
            if row.entry <= position && !is_kept && self.0.keep(ROWS_REMOVED) {
                state.hot.rows[at] = None;
            } else if row.entry > position && !is_queued && self.0.keep(ROWS_WRITTEN_AGAIN) {
                state.hot.last += 1;
                let entry = state.hot.last;
                state.hot.stream.push(Entry { id: entry, row: at, value: row.value });
                state.hot.rows[at] = Some(Row { entry, expires: false, ..row });
            }
        }
    }

    fn repair_offset(&self, state: &mut State) {
        if self.0.keep(DOUBT_IS_KEPT) {
            for doubt in [0, 1].map(|row| state.doubt(row)).into_iter().flatten() {
                state.durable.letters |= 1 << doubt.value.write;
            }
        }
        self.drain(state, usize::MAX);
        if self.0.keep(OFFSET_RESET) {
            let last = state.hot.stream.last();
            state.durable.position = last.map_or(0, |entry| entry.id);
            state.durable.nonce = last.map_or(0, |entry| entry.value.write);
            state.settling = Some((state.hot.settled, state.durable.position));
        }
        state.is_reported = true;
    }

    fn go_back(state: &mut State, side: Side) -> Option<()> {
        state.went_back = Some(side);
        match side {
            Side::PostgreSql => state.durable = *state.saved_durable.take()?,
            Side::Redis => {
                let hot = *state.saved_hot.take()?;
                state.lost = (state.saved_at + 1..=state.written).map(|write| 1 << write).sum();
                state.must_report = state.durable.position > hot.last;
                state.hot = hot;
            }
        }
        // Connections break, and what a drainer knew is read again.
        state.settling = None;
        state.repair = Repair::None;
        Some(())
    }
}

impl Protocol for Back {
    const NAME: &'static str = "back";
    const RULES: &'static [Rule] = &[
        NONCE,
        START_CHECKED,
        OFFSET_ENTRY_KEPT,
        ABSOLUTE_RESULTS,
        DOUBT_IS_KEPT,
        OFFSET_RESET,
        ROWS_REMOVED,
        ROWS_FIRST,
        ROWS_WRITTEN_AGAIN,
        SETTLED_AGAIN,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Back {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.written < WRITES {
            steps.extend([Step::Write(0), Step::Write(1)]);
        }
        if state.settling.is_some() {
            steps.push(Step::Settle);
        } else if !self.is_same(state) {
            steps.push(if state.repair == Repair::None && self.0.keep(ROWS_FIRST) {
                Step::RepairRows
            } else {
                Step::RepairOffset
            });
        } else if matches!(state.repair, Repair::OffsetDone(_)) {
            steps.push(Step::RepairRows);
        } else {
            let undrained = state.hot.after(state.durable.position).count();
            steps.extend((1..=undrained.min(2)).map(Step::Drain));
            if state.hot.settled < state.durable.position && self.0.keep(SETTLED_AGAIN) {
                steps.push(Step::SettleAgain);
            }
            let settled = state.hot.settled.min(state.durable.position);
            let is_kept = |id| id == state.durable.position && self.0.keep(OFFSET_ENTRY_KEPT);
            if state.hot.stream.first().is_some_and(|it| it.id <= settled && !is_kept(it.id)) {
                steps.push(Step::Trim);
            }
        }
        let rows = state.hot.rows.iter().enumerate();
        let expiring = rows.filter(|(_, row)| row.is_some_and(|row| row.expires));
        steps.extend(expiring.map(|(at, _)| Step::RowExpires(at)));
        if state.went_back.is_none() {
            match (&state.saved_hot, &state.saved_durable) {
                (None, None) => steps.extend([Side::Redis, Side::PostgreSql].map(Step::Save)),
                (Some(_), _) => steps.push(Step::GoBack(Side::Redis)),
                (_, Some(_)) => steps.push(Step::GoBack(Side::PostgreSql)),
            }
        }
        if !state.has_crashed && state.repair != Repair::None {
            steps.push(Step::Crash);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write(row) => {
                next.written += 1;
                next.rows[row].push(next.written);
                next.hot.last += 1;
                let before = next.hot.rows[row].map_or(next.durable.rows[row], |row| row.value);
                let value = Value { write: next.written, count: before.count + 1 };
                let entry = next.hot.last;
                next.hot.stream.push(Entry { id: entry, row, value });
                next.hot.rows[row] = Some(Row { entry, value, expires: false });
            }
            Step::Drain(count) => self.drain(&mut next, count),
            Step::Settle => {
                let (from, to) = next.settling.take()?;
                self.settle(&mut next, from, to);
            }
            Step::SettleAgain => next.settling = Some((next.hot.settled, next.durable.position)),
            Step::Trim => {
                next.hot.is_trimmed = true;
                next.hot.stream.remove(0);
            }
            Step::RowExpires(row) => next.hot.rows[row] = None,
            Step::Save(Side::Redis) => {
                next.saved_hot = Some(Box::new(next.hot.clone()));
                next.saved_at = next.written;
            }
            Step::Save(Side::PostgreSql) => {
                next.saved_durable = Some(Box::new(next.durable.clone()))
            }
            Step::GoBack(side) => Self::go_back(&mut next, side)?,
            Step::RepairRows => {
                let position = match next.repair {
                    Repair::OffsetDone(position) => position,
                    _ => next.durable.position,
                };
                self.repair_rows(&mut next, position);
                let is_first = self.0.keep(ROWS_FIRST);
                next.repair = if is_first { Repair::RowsDone } else { Repair::None };
            }
            Step::RepairOffset => {
                let position = next.durable.position;
                self.repair_offset(&mut next);
                let is_last = self.0.keep(ROWS_FIRST);
                next.repair = if is_last { Repair::None } else { Repair::OffsetDone(position) };
            }
            Step::Crash => {
                next.has_crashed = true;
                next.repair = Repair::None;
                next.settling = None;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "10: nothing newer in PostgreSQL is overwritten by something older",
                |_, state: &State| !state.is_rewound,
            ),
            Property::always(
                "10: nothing is skipped but what Redis lost",
                |model: &Self, state: &State| {
                    let is_said = state.is_reported && state.went_back == Some(Side::PostgreSql);
                    !model.is_quiet(state)
                        || is_said
                        || (0..2).all(|row| {
                            let mut left = state.rows[row]
                                .iter()
                                .filter(|&write| state.lost & 1 << write == 0);
                            let newest = left.next_back().copied().unwrap_or_default();
                            state.durable.rows[row].write >= newest || state.is_letter(newest)
                        })
                },
            ),
            Property::always(
                "10: what went back is reported, and nothing else",
                |model: &Self, state: &State| {
                    let must = model.is_quiet(state) && state.must_report;
                    state.is_reported <= state.went_back.is_some() && must <= state.is_reported
                },
            ),
            Property::always(
                "10: once all is settled, Redis has what PostgreSQL has",
                |model: &Self, state: &State| {
                    !model.is_quiet(state)
                        || (0..2).all(|at| {
                            let is_same = |row: Row| row.value == state.durable.rows[at];
                            state.is_held(at) || state.hot.rows[at].is_none_or(is_same)
                        })
                },
            ),
            Property::always(
                "9: once all is settled, no row and no entry is pinned",
                |model: &Self, state: &State| {
                    !model.is_quiet(state)
                        || state.hot.settled == state.durable.position
                            && (0..2).all(|at| {
                                state.is_held(at)
                                    || state.hot.rows[at].is_none_or(|row| row.expires)
                            })
                },
            ),
            Property::always(
                "10: what was repaired is drained on",
                |model: &Self, state: &State| !state.is_reported || model.is_same(state),
            ),
            Property::sometimes(
                "Redis went back, and all is mended",
                |model: &Self, state: &State| {
                    model.is_quiet(state)
                        && state.went_back == Some(Side::Redis)
                        && state.is_reported
                },
            ),
            Property::sometimes(
                "PostgreSQL went back, and all is applied again",
                |model: &Self, state: &State| {
                    model.is_quiet(state)
                        && state.went_back == Some(Side::PostgreSql)
                        && !state.is_reported
                },
            ),
        ]
    }
}
