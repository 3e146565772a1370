//! A switch of the partition count, or of the storage scheme: one row, its old slot and its new.
//!
//! The layout is written in each slot and in the offset row. The switch closes the old slot,
//! drains it, drops its clean row, and opens the new one.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a writer with old settings writes where nobody drains any more.
const SCRIPTS_CHECK: Rule = Rule("every script checks the layout of its slot");
/// Else an entry that is appended after the last look is left behind.
const CLOSED_FIRST: Rule = Rule("the old slot is closed before it is drained");
/// Else the new slot is opened while the old one has entries.
const DRAINED_FIRST: Rule = Rule("the old slot is drained before the new one is opened");
/// Else a reader with old settings gets a row that has been written in its new slot.
const CLEAN_DROPPED: Rule = Rule("clean rows are dropped before the new slot is opened");
const WRITES: u8 = 3;

pub(crate) struct Layout(Rules);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    // Redis: the old slot and the new one.
    slots: [Slot; 2],
    written: u8,
    /// The row in PostgreSQL, as its newest write.
    row: u8,
    switch: Switch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Slot {
    is_open: bool,
    /// The row, as its newest write.
    row: Option<u8>,
    queue: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Switch {
    #[default]
    Before,
    Closed,
    Drained,
    Dropped,
    Done,
}

/// Each names the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write(usize),
    Fill(usize),
    Drain(usize),
    Switch,
}

impl Layout {
    fn may_run(&self, slot: &Slot) -> bool {
        slot.is_open || !self.0.keep(SCRIPTS_CHECK)
    }

    fn switch(&self, state: &mut State) {
        let [old, new] = &mut state.slots;
        state.switch = match state.switch {
            Switch::Before => {
                old.is_open = !self.0.keep(CLOSED_FIRST);
                Switch::Closed
            }
            Switch::Closed => Switch::Drained,
            Switch::Drained => {
                if self.0.keep(CLEAN_DROPPED) {
                    old.row = None;
                }
                Switch::Dropped
            }
            Switch::Dropped | Switch::Done => {
                old.is_open = false;
                new.is_open = true;
                Switch::Done
            }
        };
    }
}

impl Protocol for Layout {
    const NAME: &'static str = "layout";
    const RULES: &'static [Rule] = &[SCRIPTS_CHECK, CLOSED_FIRST, DRAINED_FIRST, CLEAN_DROPPED];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Layout {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let old = Slot { is_open: true, ..Slot::default() };
        vec![State { slots: [old, Slot::default()], ..State::default() }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (at, slot) in state.slots.iter().enumerate() {
            if self.may_run(slot) && state.written < WRITES {
                steps.push(Step::Write(at));
            }
            if self.may_run(slot) && slot.row.is_none() {
                steps.push(Step::Fill(at));
            }
            let is_drained_here = (at == 1) == (state.switch == Switch::Done);
            if is_drained_here && !slot.queue.is_empty() {
                steps.push(Step::Drain(at));
            }
        }
        let is_empty = state.slots[0].queue.is_empty() || !self.0.keep(DRAINED_FIRST);
        if state.switch != Switch::Done && (state.switch != Switch::Closed || is_empty) {
            steps.push(Step::Switch);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write(at) => {
                next.written += 1;
                next.slots[at].row = Some(next.written);
                next.slots[at].queue.push(next.written);
            }
            Step::Fill(at) => next.slots[at].row = Some(next.row),
            Step::Drain(at) => next.row = next.slots[at].queue.remove(0),
            Step::Switch => self.switch(&mut next),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("3: nothing is left where nobody drains", |_, state: &State| {
                state.switch != Switch::Done || state.slots[0].queue.is_empty()
            }),
            Property::always("6: a read never gets an old value", |model: &Self, state: &State| {
                // A hit is no script: only a miss tells a reader of the switch.
                state.slots.iter().all(|slot| match slot.row {
                    Some(row) => row == state.written,
                    None => !model.may_run(slot) || state.row == state.written,
                })
            }),
            Property::sometimes("the row is written on", |_, state: &State| {
                state.switch == Switch::Done && state.row == WRITES
            }),
        ]
    }
}
