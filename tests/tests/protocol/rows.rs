//! What Redis holds of one row: writes, settling that comes late, expiry, slow readers.
//!
//! The drainer's transactions are those of `drain`; here a commit is one step. Entries are
//! numbered as they were written. Once, either the drainer crashes or
//! somebody removes the row by hand.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a write that is not drained yet expires.
const NO_TTL_FROM_WRITE: Rule = Rule("settling sets the time to live, never the write");
/// Else a row deleted and created again is taken for the one that was drained.
const CLEAN_BY_ENTRY: Rule =
    Rule("a row is clean when its newest entry is committed, not when its version is unchanged");
/// Else rows stay pinned whose drainer crashed between commit and settling.
const SETTLED_AGAIN: Rule = Rule("taking a lease settles again from where settling came");
/// Else what an overlapped or paused settling left out counts as settled.
const SETTLED_IN_ORDER: Rule =
    Rule("how far it is settled moves only from where the settling began");
/// Else a slow reader puts back what it read before a write.
const MISS_LEAVES_TOKEN: Rule = Rule("a miss leaves a token, and only its holders fill");
/// Else a reader takes a later reader's token for its own.
const TOKEN_IS_RANDOM: Rule = Rule("the token is random");
/// Else the token does not say that nobody has written since.
const WRITE_REMOVES_TOKEN: Rule = Rule("every write removes the token");
/// Else a create overtakes one that its probe did not see.
const PROBE_HOLDS_TOKEN: Rule =
    Rule("a create that was probed goes on only where its token still is");
/// Else a read brings a deleted row back that is not drained.
const TOMBSTONE: Rule = Rule("a deleted row leaves a tombstone until it is drained");
/// Else a row filled while its entry was undrained stays stale.
const FILL_STORES_OFFSET: Rule =
    Rule("a fill stores its snapshot's offset, and settling a later entry removes what is older");
/// Else such a fill comes after the settling, which then finds nothing to remove.
const SETTLING_REMOVES_TOKEN: Rule = Rule("settling a later entry removes the token");

const ENTRIES: u8 = 3;
const MISSES: u8 = 2;
const SETTLINGS_AT_ONCE: usize = 2;

pub(crate) struct Rows(Rules);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    /// The entries, the first one numbered 1.
    queue: Vec<Change>,
    // Redis.
    row: Option<Row>,
    token: Option<u8>,
    settled: u8,
    // PostgreSQL.
    position: u8,
    // On the way.
    settlings: Vec<(u8, u8)>,
    readers: [Option<Reader>; 2],
    misses: u8,
    has_crashed: bool,
    is_removed_by_hand: bool,
    // What must not happen.
    is_created_twice: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    Put,
    Delete,
    /// One of another row in the partition.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Row {
    /// Its newest entry, or the offset it was filled from.
    entry: u8,
    /// The entry that made it what it is; none of a tombstone.
    value: Option<u8>,
    /// Starts anew with every create: the wrong thing to look at.
    version: u8,
    expires: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reader {
    token: u8,
    /// What PostgreSQL had, and at which offset.
    snapshot: Option<(Option<u8>, u8)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Write(Change),
    Commit(u8),
    Settle(usize),
    /// The drainer crashes, another settles again.
    Crash {
        loses_settlings: bool,
    },
    RowExpires,
    TokenExpires,
    RemoveByHand,
    Miss(usize),
    AskPostgresql(usize),
    Fill(usize),
    CreateProbed(usize),
}

impl State {
    fn newest_entry(&self, up_to: u8) -> u8 {
        let queue = &self.queue[..up_to as usize];
        queue.iter().rposition(|&it| it != Change::Other).map_or(0, |at| at as u8 + 1)
    }

    /// What the first entries make of the row.
    fn value_after(&self, up_to: u8) -> Option<u8> {
        let newest = self.newest_entry(up_to);
        (newest > 0 && self.queue[newest as usize - 1] == Change::Put).then_some(newest)
    }

    fn newest_value(&self) -> Option<u8> {
        self.value_after(self.queue.len() as u8)
    }

    fn version_after(&self, up_to: u8) -> u8 {
        let queue = self.queue[..up_to as usize].iter().rev();
        queue.take_while(|&&it| it != Change::Delete).filter(|&&it| it == Change::Put).count() as u8
    }

    fn is_dirty(&self) -> bool {
        self.newest_entry(self.queue.len() as u8) > self.position
    }

    fn is_quiet(&self) -> bool {
        self.position == self.queue.len() as u8 && self.settlings.is_empty()
    }
}

impl Rows {
    fn write(&self, state: &mut State, change: Change) {
        state.queue.push(change);
        let entry = state.queue.len() as u8;
        if change == Change::Other {
            return;
        }
        if self.0.keep(WRITE_REMOVES_TOKEN) {
            state.token = None;
        }
        let value = state.newest_value();
        let version = state.version_after(entry);
        let expires = !self.0.keep(NO_TTL_FROM_WRITE);
        let leaves_row = value.is_some() || self.0.keep(TOMBSTONE);
        state.row = leaves_row.then_some(Row { entry, value, version, expires });
    }

    fn settle(&self, state: &mut State, from: u8, to: u8) {
        if state.settled == from || !self.0.keep(SETTLED_IN_ORDER) {
            state.settled = state.settled.max(to);
        }
        let entry = state.newest_entry(to);
        if entry <= from {
            return;
        }
        if self.0.keep(SETTLING_REMOVES_TOKEN) {
            state.token = None;
        }
        let Some(row) = &mut state.row else { return };
        let is_clean = match self.0.keep(CLEAN_BY_ENTRY) {
            true => row.entry == entry,
            false => row.version == version_of(&state.queue, entry),
        };
        if is_clean {
            row.expires = true;
            if row.value.is_none() {
                state.row = None;
            }
        } else if row.entry < entry && self.0.keep(FILL_STORES_OFFSET) {
            state.row = None;
        }
    }

    fn fill(&self, state: &mut State, reader: usize) {
        let Some(Reader { token, snapshot: Some((value, offset)) }) = state.readers[reader].take()
        else {
            return;
        };
        let may_fill = match self.0.keep(MISS_LEAVES_TOKEN) {
            true => state.token == Some(token),
            false => state.row.is_none(),
        };
        if may_fill && value.is_some() {
            state.token = None;
            state.row = Some(Row { entry: offset, value, version: 0, expires: true });
        }
    }

    fn create_probed(&self, state: &mut State, reader: usize) {
        let Some(Reader { token, .. }) = state.readers[reader].take() else { return };
        if state.row.is_some() || self.0.keep(PROBE_HOLDS_TOKEN) && state.token != Some(token) {
            return;
        }
        state.is_created_twice |= state.newest_value().is_some();
        self.write(state, Change::Put);
    }
}

fn version_of(queue: &[Change], entry: u8) -> u8 {
    let state = State { queue: queue.to_vec(), ..State::default() };
    state.version_after(entry)
}

impl Protocol for Rows {
    const NAME: &'static str = "rows";
    const RULES: &'static [Rule] = &[
        NO_TTL_FROM_WRITE,
        CLEAN_BY_ENTRY,
        SETTLED_AGAIN,
        SETTLED_IN_ORDER,
        MISS_LEAVES_TOKEN,
        TOKEN_IS_RANDOM,
        WRITE_REMOVES_TOKEN,
        PROBE_HOLDS_TOKEN,
        TOMBSTONE,
        FILL_STORES_OFFSET,
        SETTLING_REMOVES_TOKEN,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Rows {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let written = state.queue.len() as u8;
        if written < ENTRIES {
            steps.extend([Change::Put, Change::Delete, Change::Other].map(Step::Write));
        }
        if state.settlings.len() < SETTLINGS_AT_ONCE {
            steps.extend((state.position + 1..=written).map(Step::Commit));
        }
        steps.extend((0..state.settlings.len()).map(Step::Settle));
        if !state.has_crashed && !state.is_removed_by_hand {
            steps.extend([true, false].map(|loses_settlings| Step::Crash { loses_settlings }));
        }
        if state.row.as_ref().is_some_and(|row| row.expires) {
            steps.push(Step::RowExpires);
        }
        if state.token.is_some() {
            steps.push(Step::TokenExpires);
        }
        if state.row.is_some() && !state.is_removed_by_hand && !state.has_crashed {
            steps.push(Step::RemoveByHand);
        }
        for (at, reader) in state.readers.iter().enumerate() {
            match reader {
                None if state.row.is_none() && state.misses < MISSES => steps.push(Step::Miss(at)),
                None => {}
                Some(Reader { snapshot: None, .. }) => steps.push(Step::AskPostgresql(at)),
                Some(Reader { snapshot: Some((None, _)), .. }) if written < ENTRIES => {
                    steps.push(Step::CreateProbed(at));
                }
                Some(_) => steps.push(Step::Fill(at)),
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write(change) => self.write(&mut next, change),
            Step::Commit(to) => {
                next.settlings.push((next.position, to));
                next.position = to;
            }
            Step::Settle(at) => {
                let (from, to) = next.settlings.remove(at);
                self.settle(&mut next, from, to);
            }
            Step::Crash { loses_settlings } => {
                next.has_crashed = true;
                if loses_settlings {
                    next.settlings.clear();
                }
                if self.0.keep(SETTLED_AGAIN) && next.settled < next.position {
                    next.settlings.push((next.settled, next.position));
                }
            }
            Step::RowExpires => next.row = None,
            Step::TokenExpires => next.token = None,
            Step::RemoveByHand => {
                next.is_removed_by_hand = true;
                next.row = None;
            }
            Step::Miss(at) => {
                next.misses += 1;
                let random = if self.0.keep(TOKEN_IS_RANDOM) { next.misses } else { 0 };
                let token = *next.token.get_or_insert(random);
                next.readers[at] = Some(Reader { token, snapshot: None });
            }
            Step::AskPostgresql(at) => {
                let value = next.value_after(next.position);
                next.readers[at].as_mut()?.snapshot = Some((value, next.position));
            }
            Step::Fill(at) => self.fill(&mut next, at),
            Step::CreateProbed(at) => self.create_probed(&mut next, at),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("2: a dirty row neither expires nor is gone", |_, state: &State| {
                let is_pinned = |row: &Row| !row.expires && row.entry > state.position;
                !state.is_dirty()
                    || state.is_removed_by_hand
                    || state.row.as_ref().is_some_and(is_pinned)
            }),
            Property::always("6: a read never gets an old value", |_, state: &State| {
                let is_new = |row: &Row| row.value == state.newest_value();
                state.is_removed_by_hand || state.row.as_ref().is_none_or(is_new)
            }),
            Property::always(
                "6: once all is settled, Redis has what PostgreSQL has",
                |_, state: &State| {
                    let is_new = |row: &Row| row.value == state.newest_value();
                    !state.is_quiet() || state.row.as_ref().is_none_or(is_new)
                },
            ),
            Property::always("9: once all is settled, no row is pinned", |_, state: &State| {
                !state.is_quiet() || state.row.as_ref().is_none_or(|row| row.expires)
            }),
            Property::always("8: a create is refused while there is a row", |_, state: &State| {
                !state.is_created_twice || state.is_removed_by_hand
            }),
            Property::sometimes("a row is filled again after a write", |_, state: &State| {
                state
                    .row
                    .as_ref()
                    .is_some_and(|row| row.entry == ENTRIES && row.version == 0 && row.expires)
            }),
            Property::sometimes("all is settled after a crash", |_, state: &State| {
                state.has_crashed && state.settled == ENTRIES
            }),
        ]
    }
}
