//! One unique value, and two rows that want it, each in a slot of its own.
//!
//! A claim on the value is not confirmed after the row is written: the row itself says whether
//! it was, and settling lets the claim expire. A row may be deleted, so that the value is handed
//! on; that the second row's entry then waits for the first one's is a matter of `order`.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a writer that slept past its deadline wins beside its successor.
const OLD_NONCE_DELETED: Rule = Rule("a take-over first deletes the old nonce");
/// The other half: the nonce is what a sleeper does not have any more.
const NONCE_CONSUMED: Rule = Rule("a row is written only where its nonce still is");
/// Else a row that was written just before has its value taken away.
const ROW_ASKED: Rule =
    Rule("whoever finds the value claimed asks the claimant's row: it may be written, or gone");
/// Else two that take over at once both have the value.
const TAKE_OVER_COMPARES: Rule = Rule("a take-over replaces only the claim that it saw");
/// Else a reservation is evicted while its writer is at work.
const DEADLINE_IS_DATA: Rule = Rule("a reservation's deadline is data, not a time to live");
/// Else the value of a row that is not in PostgreSQL yet looks free.
const VALUE_PINNED: Rule = Rule("a value is pinned until its row is drained");
/// Else a value whose key expired is given away.
const PROBED: Rule = Rule("a value that Redis does not know is looked up in PostgreSQL");
/// Else a row is drained, and its value expires, between the two.
const PROBED_WHILE_RESERVED: Rule = Rule("the value is reserved before PostgreSQL is asked");
/// Else a value that is let go is a duplicate until that is drained.
const TOMBSTONE_ASKED: Rule = Rule("a row that PostgreSQL still has may be a tombstone in Redis");
/// Else the claims of crashed writers and of deleted rows stay in Redis for ever.
const SWEPT: Rule = Rule("claims that nobody takes over are swept, as by a take-over");

const TRIES: u8 = 3;

pub(crate) struct Unique(Rules);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    /// The value's key.
    value: Option<Claim>,
    /// A nonce in each row's slot.
    nonces: [Option<u8>; 2],
    rows: [Row; 2],
    /// Which rows PostgreSQL has.
    drained: [bool; 2],
    writers: [Writer; 2],
    /// The claim that is swept.
    sweep: Option<Claim>,
    tries: u8,
    has_crashed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Claim {
    row: usize,
    nonce: u8,
    /// Its deadline has passed.
    is_late: bool,
    /// Its row is drained.
    expires: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Row {
    #[default]
    Absent,
    Written,
    Deleted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Writer {
    phase: Phase,
    nonce: u8,
    /// The other row had the value while this writer was at work.
    has_met_other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Phase {
    #[default]
    Begin,
    HasNonce,
    MetClaim(Claim),
    NonceDeleted(Claim),
    Reserved,
    Probed {
        is_found: bool,
    },
    MayWrite,
    Done,
    Duplicate,
    /// Another took over; the writer may try again.
    Lost,
    Crashed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    PutNonce(usize),
    Reserve(usize),
    AskClaimant(usize),
    TakeOver(usize),
    Probe(usize),
    AskRow(usize),
    WriteRow(usize),
    Crash(usize),
    DeadlinePasses,
    Evict,
    DeleteRow(usize),
    Drain(usize),
    Sweep,
    FinishSweep,
}

impl Unique {
    fn steps_of(&self, state: &State, at: usize, steps: &mut Vec<Step>) {
        let is_at_work = |claim: Claim| !claim.is_late && state.rows[claim.row] == Row::Absent;
        match state.writers[at].phase {
            Phase::Begin | Phase::Lost if state.tries < TRIES => steps.push(Step::PutNonce(at)),
            Phase::HasNonce if !state.value.is_some_and(is_at_work) => {
                steps.push(Step::Reserve(at))
            }
            Phase::MetClaim(_) => steps.push(Step::AskClaimant(at)),
            Phase::NonceDeleted(_) => steps.push(Step::TakeOver(at)),
            Phase::Reserved => steps.push(Step::Probe(at)),
            Phase::Probed { .. } => steps.push(Step::AskRow(at)),
            Phase::MayWrite => steps.push(Step::WriteRow(at)),
            _ => {}
        }
    }

    /// What goes on by itself.
    fn steps_without_faults(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::new();
        for at in 0..2 {
            self.steps_of(state, at, &mut steps);
            if state.drained[at] != (state.rows[at] == Row::Written)
                || state.rows[at] == Row::Deleted
            {
                steps.push(Step::Drain(at));
            }
        }
        match (state.value, state.sweep) {
            (_, Some(_)) => steps.push(Step::FinishSweep),
            (Some(claim), _) if !claim.is_late => steps.push(Step::DeadlinePasses),
            (Some(claim), _) if state.rows[claim.row] == Row::Absent && self.0.keep(SWEPT) => {
                steps.push(Step::Sweep);
            }
            _ => {}
        }
        steps
    }

    fn reserve(&self, state: &mut State, at: usize) {
        state.writers[at].phase = match state.value {
            Some(claim) => Phase::MetClaim(claim),
            None => self.claim(state, at),
        };
    }

    fn claim(&self, state: &mut State, at: usize) -> Phase {
        let nonce = state.writers[at].nonce;
        state.value = Some(Claim { row: at, nonce, is_late: false, expires: false });
        match self.0.keep(PROBED) && self.0.keep(PROBED_WHILE_RESERVED) {
            true => Phase::Reserved,
            false => Phase::MayWrite,
        }
    }

    /// In the slot of the claimant's row: its writer has won, or cannot win any more.
    fn ask_claimant(&self, state: &mut State, claim: Claim) -> bool {
        if state.nonces[claim.row] == Some(claim.nonce) && self.0.keep(OLD_NONCE_DELETED) {
            state.nonces[claim.row] = None;
        }
        state.rows[claim.row] == Row::Written && self.0.keep(ROW_ASKED)
    }

    fn take_over(&self, state: &mut State, at: usize) {
        let Phase::NonceDeleted(claim) = state.writers[at].phase else { return };
        let is_same = is_claimed(state, claim.nonce);
        state.writers[at].phase = match is_same || !self.0.keep(TAKE_OVER_COMPARES) {
            true => self.claim(state, at),
            false => Phase::HasNonce,
        };
    }

    /// Gives up a value that another row turned out to have.
    fn give_up(state: &mut State, at: usize) {
        if is_claimed(state, state.writers[at].nonce) {
            state.value = None;
        }
        state.writers[at].phase = Phase::Duplicate;
    }

    fn ask_row(&self, state: &mut State, at: usize, is_found: bool) {
        let other = state.rows[1 - at];
        if is_found && (other == Row::Written || !self.0.keep(TOMBSTONE_ASKED)) {
            Self::give_up(state, at);
        } else if is_found && other == Row::Absent {
            // It was drained meanwhile.
            state.writers[at].phase = Phase::Reserved;
        } else {
            let is_early = self.0.keep(PROBED) && !self.0.keep(PROBED_WHILE_RESERVED);
            state.writers[at].phase = if is_early { Phase::HasNonce } else { Phase::MayWrite };
        }
    }

    /// Nobody is at work any more.
    fn is_quiet(&self, state: &State) -> bool {
        self.steps_without_faults(state).is_empty()
    }
}

fn is_claimed(state: &State, nonce: u8) -> bool {
    state.value.is_some_and(|claim| claim.nonce == nonce)
}

impl Protocol for Unique {
    const NAME: &'static str = "unique";
    const RULES: &'static [Rule] = &[
        OLD_NONCE_DELETED,
        NONCE_CONSUMED,
        ROW_ASKED,
        TAKE_OVER_COMPARES,
        DEADLINE_IS_DATA,
        VALUE_PINNED,
        PROBED,
        PROBED_WHILE_RESERVED,
        TOMBSTONE_ASKED,
        SWEPT,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Unique {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend(self.steps_without_faults(state));
        if let Some(claim) = state.value {
            let may_go = match state.rows[claim.row] {
                Row::Absent => !self.0.keep(DEADLINE_IS_DATA),
                _ => claim.expires || !self.0.keep(VALUE_PINNED),
            };
            if may_go {
                steps.push(Step::Evict);
            }
        }
        for (at, writer) in state.writers.iter().enumerate() {
            if !state.has_crashed && !matches!(writer.phase, Phase::Begin | Phase::Done) {
                steps.push(Step::Crash(at));
            }
            if state.rows[at] == Row::Written {
                steps.push(Step::DeleteRow(at));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::PutNonce(at) => {
                next.tries += 1;
                next.nonces[at] = Some(next.tries);
                let is_early = self.0.keep(PROBED) && !self.0.keep(PROBED_WHILE_RESERVED);
                let phase = if is_early { Phase::Reserved } else { Phase::HasNonce };
                next.writers[at] = Writer { phase, nonce: next.tries, has_met_other: false };
            }
            Step::Reserve(at) => self.reserve(&mut next, at),
            Step::AskClaimant(at) => {
                let Phase::MetClaim(claim) = next.writers[at].phase else { return None };
                next.writers[at].phase = match self.ask_claimant(&mut next, claim) {
                    true => Phase::Duplicate,
                    false => Phase::NonceDeleted(claim),
                };
            }
            Step::TakeOver(at) => self.take_over(&mut next, at),
            Step::Probe(at) => {
                let is_found = next.drained[1 - at];
                next.writers[at].phase = Phase::Probed { is_found };
            }
            Step::AskRow(at) => {
                let Phase::Probed { is_found } = next.writers[at].phase else { return None };
                self.ask_row(&mut next, at, is_found);
            }
            Step::WriteRow(at) => {
                let is_there = next.nonces[at] == Some(next.writers[at].nonce);
                if is_there || !self.0.keep(NONCE_CONSUMED) {
                    next.nonces[at] = None;
                    next.rows[at] = Row::Written;
                    next.writers[at].phase = Phase::Done;
                } else {
                    next.writers[at].phase = Phase::Lost;
                }
            }
            Step::Crash(at) => {
                next.has_crashed = true;
                next.writers[at].phase = Phase::Crashed;
            }
            Step::DeadlinePasses => next.value.as_mut()?.is_late = true,
            Step::Evict => next.value = None,
            Step::DeleteRow(at) => next.rows[at] = Row::Deleted,
            Step::Drain(at) => {
                let is_own = next.value.is_some_and(|claim| claim.row == at);
                next.drained[at] = next.rows[at] == Row::Written;
                if next.rows[at] == Row::Deleted {
                    next.rows[at] = Row::Absent;
                } else if is_own {
                    next.value.as_mut()?.expires = true;
                }
            }
            Step::Sweep => {
                let claim = next.value?;
                let is_written = self.ask_claimant(&mut next, claim);
                next.sweep = (!is_written).then_some(claim);
            }
            Step::FinishSweep => {
                let claim = next.sweep.take()?;
                if is_claimed(&next, claim.nonce) {
                    next.value = None;
                }
            }
        }
        for at in 0..2 {
            next.writers[at].has_met_other |= next.rows[1 - at] == Row::Written;
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("7: a value belongs to one row", |_, state: &State| {
                state.rows != [Row::Written, Row::Written]
            }),
            Property::always(
                "7: a failed or crashed create does not burn the value",
                |model: &Self, state: &State| {
                    let is_owner =
                        |claim: Claim| state.rows[claim.row] == Row::Written && claim.expires;
                    !model.is_quiet(state) || state.value.is_none_or(is_owner)
                },
            ),
            Property::always("8: no false duplicate", |_, state: &State| {
                state.writers.iter().all(|it| it.phase != Phase::Duplicate || it.has_met_other)
            }),
            Property::always("9: every writer gets an answer", |model: &Self, state: &State| {
                let is_waiting = |writer: &Writer| writer.phase == Phase::HasNonce;
                !model.is_quiet(state) || !state.writers.iter().any(is_waiting)
            }),
            Property::sometimes("the value is handed on", |_, state: &State| {
                state.rows == [Row::Deleted, Row::Written]
            }),
            Property::sometimes(
                "the value of a crashed writer is taken over",
                |_, state: &State| {
                    state.writers[0].phase == Phase::Crashed
                        && state.writers[1].phase == Phase::Done
                        && state.rows[0] == Row::Absent
                },
            ),
        ]
    }
}
