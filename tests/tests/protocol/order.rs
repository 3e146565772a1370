//! What a refusal is: grouped statements, two partitions that depend on each other, an outage,
//! and a model that an old drainer does not know.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a unique value that is handed on in a batch is refused.
const QUEUE_ORDER: Rule = Rule("what is refused in grouped form is tried again in queue order");
/// Else the neighbours of a refused entry are refused with it.
const ONE_BY_ONE: Rule = Rule("only an entry that fails by itself is refused");
/// Else an outage makes letters.
const CONTENT_ALONE: Rule = Rule("only classes 22, 23 and 54000 are refusals, all else waits");
/// Else a child that is drained before its parent is refused.
const FOREIGN_KEY_WAITS: Rule = Rule(
    "a missing parent is waited for until the other partitions have passed their present tails",
);
/// Else two partitions wait for each other for ever.
const OLDER_DOES_NOT_WAIT: Rule =
    Rule("nobody waits for a partition that itself waits at a younger entry");
/// Else a unique value is taken before the other partition has let it go.
const DEPENDENCY: Rule =
    Rule("a batch ends before an entry whose dependency in another partition is not drained");
/// Else an old drainer holds up what a newer one understands.
const LEASE_GIVEN_BACK: Rule = Rule("a drainer that meets an unknown model gives back the lease");

/// What is written, in this order: partition and change.
const STORIES: [&[(usize, Change)]; 6] = [
    &[(0, Change::Release), (0, Change::Take { dependency: None }), (1, Change::Plain)],
    &[(0, Change::Release), (1, Change::Take { dependency: Some(0) }), (0, Change::Plain)],
    &[(0, Change::Parent(0)), (1, Change::Child(0)), (1, Change::Plain)],
    &[(0, Change::Child(1)), (1, Change::Child(0)), (0, Change::Parent(0)), (1, Change::Parent(1))],
    &[(0, Change::Plain), (0, Change::Wrong), (0, Change::Plain), (1, Change::Child(0))],
    &[(0, Change::Plain), (0, Change::New), (1, Change::New), (1, Change::Plain)],
];

pub(crate) struct Order(Rules);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    /// Always accepted.
    Plain,
    /// Always refused.
    Wrong,
    /// The row that has the unique value is deleted.
    Release,
    /// Another row is created with that value; it may name the entry that let go of it.
    Take {
        dependency: Option<usize>,
    },
    Parent(usize),
    Child(usize),
    /// One of a model that the old drainer does not know.
    New,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    story: usize,
    written: usize,
    database: Database,
    /// What each partition has drained, as the number of its entries.
    drained: [usize; 2],
    letters: Vec<usize>,
    /// The entry before which a partition waits, and the tail that the other had then.
    waits: [Option<(usize, usize)>; 2],
    is_newer_drainer: [bool; 2],
    outage: Outage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Outage {
    #[default]
    Before,
    Now,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Database {
    is_released: bool,
    parents: [bool; 2],
}

/// Why PostgreSQL refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Content,
    NoParent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Write,
    OutageBegins,
    OutageEnds,
    Drain { partition: usize, count: usize },
}

impl Database {
    fn apply(&mut self, change: Change) -> Result<(), Refusal> {
        match change {
            Change::Plain | Change::New => {}
            Change::Wrong => return Err(Refusal::Content),
            Change::Release => self.is_released = true,
            Change::Take { .. } if !self.is_released => return Err(Refusal::Content),
            Change::Take { .. } => {}
            Change::Parent(parent) => self.parents[parent] = true,
            Change::Child(parent) if !self.parents[parent] => return Err(Refusal::NoParent),
            Change::Child(_) => {}
        }
        Ok(())
    }
}

impl State {
    fn change(&self, entry: usize) -> Change {
        STORIES[self.story][entry].1
    }

    fn entries_of(&self, partition: usize) -> impl Iterator<Item = usize> {
        let written = STORIES[self.story][..self.written].iter().enumerate();
        written.filter(move |(_, (of, _))| *of == partition).map(|(entry, _)| entry)
    }

    fn is_drained(&self, entry: usize) -> bool {
        let partition = STORIES[self.story][entry].0;
        self.entries_of(partition).take(self.drained[partition]).any(|it| it == entry)
    }

    /// Whether PostgreSQL, had it been asked at once, would have refused this entry.
    fn is_refusable(&self, entry: usize) -> bool {
        let mut database = Database::default();
        let results = STORIES[self.story].iter().map(|(_, change)| database.apply(*change));
        results.collect::<Vec<_>>()[entry].is_err()
    }
}

impl Order {
    fn drain(&self, state: &mut State, partition: usize, count: usize) {
        let entries = state.entries_of(partition).skip(state.drained[partition]).take(count);
        let mut batch: Vec<_> = entries.collect();
        if let Some(at) = batch.iter().position(|&it| self.is_unready(state, partition, it)) {
            let is_unknown = state.change(batch[at]) == Change::New;
            state.is_newer_drainer[partition] |=
                at == 0 && is_unknown && self.0.keep(LEASE_GIVEN_BACK);
            batch.truncate(at);
        }
        if state.outage == Outage::Now {
            if !self.0.keep(CONTENT_ALONE) {
                self.refuse(state, partition, &batch);
            }
            return;
        }
        // Grouped: what creates comes before what deletes.
        let mut database = state.database;
        let is_delete = |entry: &usize| state.change(*entry) == Change::Release;
        let (deletes, others): (Vec<_>, Vec<_>) = batch.iter().copied().partition(is_delete);
        let grouped = others.into_iter().chain(deletes);
        let failed =
            grouped.filter(|&it| database.apply(state.change(it)).is_err()).collect::<Vec<_>>();
        if failed.is_empty() {
            state.database = database;
            self.reach(state, partition, batch.len());
        } else if !self.0.keep(ONE_BY_ONE) {
            self.refuse(state, partition, &batch);
        } else if !self.0.keep(QUEUE_ORDER) {
            state.database = database;
            state.letters.extend(failed);
            self.reach(state, partition, batch.len());
        } else {
            self.drain_in_queue_order(state, partition, &batch);
        }
    }

    fn drain_in_queue_order(&self, state: &mut State, partition: usize, batch: &[usize]) {
        for &entry in batch {
            match state.database.apply(state.change(entry)) {
                Err(Refusal::NoParent) if self.waits(state, partition, entry) => return,
                Err(_) => self.refuse(state, partition, &[entry]),
                Ok(()) => self.reach(state, partition, 1),
            }
        }
    }

    fn refuse(&self, state: &mut State, partition: usize, batch: &[usize]) {
        state.letters.extend(batch);
        self.reach(state, partition, batch.len());
    }

    fn reach(&self, state: &mut State, partition: usize, count: usize) {
        state.drained[partition] += count;
        if count > 0 {
            state.waits[partition] = None;
        }
    }

    /// Whether an entry ends the batch before it.
    fn is_unready(&self, state: &State, partition: usize, entry: usize) -> bool {
        match state.change(entry) {
            Change::New => !state.is_newer_drainer[partition],
            Change::Take { dependency: Some(on) } => {
                self.0.keep(DEPENDENCY) && !state.is_drained(on)
            }
            _ => false,
        }
    }

    /// Whether a partition goes on waiting for a missing parent.
    fn waits(&self, state: &mut State, partition: usize, entry: usize) -> bool {
        let other = 1 - partition;
        let tail = state.entries_of(other).count();
        let (_, tail) = *state.waits[partition].get_or_insert((entry, tail));
        let is_passed = state.drained[other] >= tail;
        let is_older = state.waits[other].is_some_and(|(theirs, _)| theirs > entry);
        self.0.keep(FOREIGN_KEY_WAITS)
            && !is_passed
            && !(is_older && self.0.keep(OLDER_DOES_NOT_WAIT))
    }

    fn is_stuck(&self, state: &State) -> bool {
        let is_left = state.drained[0] + state.drained[1] < state.written;
        let mut steps = Vec::new();
        self.actions(state, &mut steps);
        steps.retain(|step| *step != Step::OutageBegins);
        let moves = |step: &Step| self.next_state(state, *step).is_some();
        is_left && !steps.iter().any(moves)
    }
}

impl Protocol for Order {
    const NAME: &'static str = "order";
    const RULES: &'static [Rule] = &[
        QUEUE_ORDER,
        ONE_BY_ONE,
        CONTENT_ALONE,
        FOREIGN_KEY_WAITS,
        OLDER_DOES_NOT_WAIT,
        DEPENDENCY,
        LEASE_GIVEN_BACK,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Order {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        (0..STORIES.len()).map(|story| State { story, ..State::default() }).collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.written < STORIES[state.story].len() {
            steps.push(Step::Write);
        }
        match state.outage {
            Outage::Before => steps.push(Step::OutageBegins),
            Outage::Now => steps.push(Step::OutageEnds),
            Outage::After => {}
        }
        for partition in 0..2 {
            let undrained = state.entries_of(partition).count() - state.drained[partition];
            steps.extend((1..=undrained).map(|count| Step::Drain { partition, count }));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Write => next.written += 1,
            Step::OutageBegins => next.outage = Outage::Now,
            Step::OutageEnds => next.outage = Outage::After,
            Step::Drain { partition, count } => self.drain(&mut next, partition, count),
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "5: a letter is what PostgreSQL refuses in the order of the writes",
                |_, state: &State| state.letters.iter().all(|&entry| state.is_refusable(entry)),
            ),
            Property::always("9: no partition waits for ever", |model: &Self, state: &State| {
                !model.is_stuck(state)
            }),
            Property::sometimes("a child is taken late", |_, state: &State| {
                state.story == 3 && state.drained == [2, 2] && state.letters.len() == 1
            }),
            Property::sometimes("the newer drainer drains", |_, state: &State| {
                state.story == 5 && state.drained == [2, 2]
            }),
        ]
    }
}
