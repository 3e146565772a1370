//! Two drainers, one partition: lease, fence, transaction, settling.
//!
//! Entries are numbered as they were written. Of what settling does to rows see `rows`.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a drainer whose lease expired ends, or takes for its own, that of its successor.
const OWNER_TOKEN: Rule = Rule("a lease is renewed and given back by its owner's token alone");
/// Else a drainer that was paused still commits after another took over.
const EPOCH_RAISED: Rule = Rule("taking a lease raises the epoch at once");
/// The other half of the fence.
const EPOCH_CHECKED: Rule = Rule("the offset moves only under the drainer's epoch");
/// Else a commit that arrives late is followed by an older one.
const POSITION_CHECKED: Rule = Rule("the offset moves only from where the drainer read it");
/// Else a crash between the two applies entries again.
const ONE_TRANSACTION: Rule = Rule("rows and offset commit in one transaction");
/// Else what was not committed is settled.
const READ_AGAIN: Rule = Rule("after a COMMIT of unknown outcome the offset row is read again");
/// Else a drainer that hangs in a transaction locks the offset row for ever.
const IDLE_TIMEOUT: Rule = Rule("an idle transaction ends before its drainer's lease");
/// Else entries are trimmed that a roll-back needs again.
const COMMIT_BEFORE_SETTLING: Rule = Rule("entries are acknowledged after the commit");

/// The key of each entry; there is none numbered 0.
const KEYS: [usize; 4] = [usize::MAX, 0, 1, 0];
const ENTRIES: u8 = 3;
const LEASES: u8 = 3;
const FAULTS: u8 = 1;

pub(crate) struct Drain(Rules);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    // Redis.
    written: u8,
    settled: u8,
    lease: Option<u8>,
    leases: u8,
    /// The lease whose drainer took over last.
    owner: u8,
    // PostgreSQL.
    rows: [u8; 2],
    position: u8,
    epoch: u8,
    open: Option<Transaction>,
    drainers: [Drainer; 2],
    faults: u8,
    // What must not happen.
    is_robbed: bool,
    is_unfenced: bool,
    is_rewound: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Transaction {
    drainer: usize,
    token: u8,
    from: u8,
    to: u8,
    /// COMMIT is on its way, or was done.
    is_sent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Drainer {
    token: Option<u8>,
    /// 0 until it has raised it.
    epoch: u8,
    position: u8,
    planned: Option<(u8, u8)>,
    committing: Option<(u8, u8)>,
    is_hanging: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
    LeaseExpires,
    TakeLease(usize),
    Renew(usize),
    GiveBack(usize),
    RaiseEpoch(usize),
    Plan(usize, u8),
    Begin(usize),
    SendCommit(usize),
    LoseConnection(usize),
    Commits,
    RollsBack,
    Crash(usize),
    Hang(usize),
}

impl Drain {
    fn steps_of(&self, state: &State, at: usize, steps: &mut Vec<Step>) {
        let drainer = &state.drainers[at];
        if drainer.is_hanging {
            return;
        }
        if drainer.token.is_none() {
            if state.lease.is_none() && state.leases < LEASES && drainer.committing.is_none() {
                steps.push(Step::TakeLease(at));
            }
        } else if drainer.epoch == 0 {
            if state.open.is_none() {
                steps.push(Step::RaiseEpoch(at));
            }
        } else {
            if drainer.planned.is_none() {
                let from = drainer.committing.map_or(drainer.position, |(_, to)| to);
                steps.extend((from + 1..=state.written).map(|to| Step::Plan(at, to)));
            }
            if drainer.planned.is_some() && drainer.committing.is_none() && state.open.is_none() {
                steps.push(Step::Begin(at));
            }
        }
        if let (Some(open), Some(_)) = (state.open, drainer.committing) {
            steps.push(if open.is_sent { Step::LoseConnection(at) } else { Step::SendCommit(at) });
        }
    }

    fn steps_of_postgresql(&self, state: &State, steps: &mut Vec<Step>) {
        let Some(open) = state.open else { return };
        if open.is_sent {
            steps.push(Step::Commits);
        }
        if !state.drainers[open.drainer].is_hanging || self.0.keep(IDLE_TIMEOUT) {
            steps.push(Step::RollsBack);
        }
    }

    /// Some drainer has the lease, and nothing that is no fault will ever get it on.
    fn is_stuck(&self, state: &State) -> bool {
        let holds = |at: &usize| {
            let drainer = &state.drainers[*at];
            drainer.token.is_some() && drainer.token == state.lease && !drainer.is_hanging
        };
        let Some(at) = (0..2).find(holds) else { return false };
        let mut steps = Vec::new();
        self.steps_of(state, at, &mut steps);
        self.steps_of_postgresql(state, &mut steps);
        steps.is_empty() && state.position < state.written
    }

    fn begin(&self, state: &mut State, at: usize) {
        let drainer = &mut state.drainers[at];
        let Some((from, to)) = drainer.planned.take() else { return };
        if self.0.keep(EPOCH_CHECKED) && drainer.epoch != state.epoch {
            *drainer = Drainer::default();
        } else if self.0.keep(POSITION_CHECKED) && from != state.position {
            drainer.position = state.position;
        } else {
            drainer.committing = Some((from, to));
            let token = drainer.token.unwrap_or_default();
            state.open = Some(Transaction { drainer: at, token, from, to, is_sent: false });
        }
    }

    fn commit(&self, state: &mut State) {
        let Some(open) = state.open.take() else { return };
        let rows = state.rows;
        for entry in open.from + 1..=open.to {
            state.rows[KEYS[entry as usize]] = entry;
        }
        state.is_rewound |= (0..2).any(|key| state.rows[key] < rows[key]);
        state.is_unfenced |= open.token < state.owner;
        if self.0.keep(ONE_TRANSACTION) {
            state.position = open.to;
        }
    }

    /// The drainer learns what became of its transaction, where it is still there to learn it.
    fn learn(&self, state: &mut State, at: usize, is_taken_as_done: bool) {
        let drainer = &mut state.drainers[at];
        if drainer.is_hanging {
            return;
        }
        let Some((_, to)) = drainer.committing.take() else { return };
        if is_taken_as_done {
            drainer.position = to;
            state.settled = state.settled.max(to);
            if !self.0.keep(ONE_TRANSACTION) {
                state.position = to;
            }
        } else {
            drainer.planned = None;
            drainer.position = state.position;
        }
    }
}

impl Protocol for Drain {
    const NAME: &'static str = "drain";
    const RULES: &'static [Rule] = &[
        OWNER_TOKEN,
        EPOCH_RAISED,
        EPOCH_CHECKED,
        POSITION_CHECKED,
        ONE_TRANSACTION,
        READ_AGAIN,
        IDLE_TIMEOUT,
        COMMIT_BEFORE_SETTLING,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Drain {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.written < ENTRIES {
            steps.push(Step::Write);
        }
        if state.lease.is_some() {
            steps.push(Step::LeaseExpires);
        }
        self.steps_of_postgresql(state, steps);
        for (at, drainer) in state.drainers.iter().enumerate() {
            self.steps_of(state, at, steps);
            if drainer.is_hanging || drainer.token.is_none() {
                continue;
            }
            if drainer.committing.is_none() {
                steps.extend([Step::Renew(at), Step::GiveBack(at)]);
            }
            if state.faults < FAULTS {
                steps.extend([Step::Hang(at), Step::Crash(at)]);
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write => next.written += 1,
            Step::LeaseExpires => next.lease = None,
            Step::TakeLease(at) => {
                next.leases += 1;
                next.lease = Some(next.leases);
                next.drainers[at].token = next.lease;
            }
            Step::Renew(at) => {
                let is_own = next.drainers[at].token == next.lease;
                if self.0.keep(OWNER_TOKEN) || next.lease.is_none() {
                    if is_own {
                        return None;
                    }
                    next.drainers[at] = Drainer::default();
                } else {
                    next.is_robbed |= !is_own;
                }
            }
            Step::GiveBack(at) => {
                let token = std::mem::take(&mut next.drainers[at]).token;
                if next.lease == token {
                    next.lease = None;
                } else if !self.0.keep(OWNER_TOKEN) {
                    next.is_robbed |= next.lease.take().is_some();
                }
            }
            Step::RaiseEpoch(at) => {
                if self.0.keep(EPOCH_RAISED) || next.epoch == 0 {
                    next.epoch += 1;
                }
                let drainer = &mut next.drainers[at];
                drainer.epoch = next.epoch;
                drainer.position = next.position;
                next.owner = drainer.token.unwrap_or_default();
                // What the one before did not settle.
                next.settled = next.settled.max(next.position);
            }
            Step::Plan(at, to) => {
                let drainer = &mut next.drainers[at];
                let from = drainer.committing.map_or(drainer.position, |(_, to)| to);
                drainer.planned = Some((from, to));
            }
            Step::Begin(at) => self.begin(&mut next, at),
            Step::SendCommit(_) => {
                let open = next.open.as_mut()?;
                open.is_sent = true;
                if !self.0.keep(COMMIT_BEFORE_SETTLING) {
                    next.settled = next.settled.max(open.to);
                }
            }
            Step::LoseConnection(at) => self.learn(&mut next, at, !self.0.keep(READ_AGAIN)),
            Step::Commits | Step::RollsBack => {
                let at = next.open?.drainer;
                if step == Step::Commits {
                    self.commit(&mut next);
                }
                next.open = None;
                self.learn(&mut next, at, step == Step::Commits);
            }
            Step::Crash(at) => {
                next.faults += 1;
                next.drainers[at] = Drainer::default();
            }
            Step::Hang(at) => {
                next.faults += 1;
                next.drainers[at].is_hanging = true;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "3: a drainer whose lease was taken over does not commit",
                |_, state: &State| !state.is_unfenced,
            ),
            Property::always(
                "3: PostgreSQL has the entries up to the offset, once each",
                |_, state: &State| {
                    let newest = |key: usize| {
                        (1..=state.position).rfind(|&entry| KEYS[entry as usize] == key)
                    };
                    (0..2).all(|key| state.rows[key] == newest(key).unwrap_or_default())
                },
            ),
            Property::always(
                "4: nothing older takes effect after something newer",
                |_, state: &State| !state.is_rewound,
            ),
            Property::always("3: nothing is settled before it is committed", |_, state: &State| {
                state.settled <= state.position
            }),
            Property::always("3: an unexpired lease stays its owner's", |_, state: &State| {
                !state.is_robbed
            }),
            Property::always("9: whoever has the lease gets on", |model: &Self, state| {
                !model.is_stuck(state)
            }),
            Property::sometimes("all is drained and settled by the second", |_, state: &State| {
                state.settled == ENTRIES && state.drainers[1].token.is_some()
            }),
        ]
    }
}
