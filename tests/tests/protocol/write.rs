//! Writes to one row: scripts that fail, replies that are lost, retries, versions.
//!
//! One writer creates the row and repeats that until it is answered; another has read a version
//! and changes the row only if it is still that. Others change and delete the row between.

use stateright::{Model, Property};

use super::harness::{Protocol, Rule, Rules};

/// Else a row changes without its entry.
const NOTHING_FAILS_LATE: Rule = Rule("nothing that can fail comes after a script's first write");
/// Else a retry finds its own row, and calls it a duplicate.
const OPERATION_ID: Rule = Rule("a retry is known by its operation id");
/// Else another write between hides the first try.
const FOUND_IN_STREAM: Rule = Rule("a retry is looked up in the stream, not in the row alone");
/// Else a retry whose first try was trimmed is done twice.
const TRIMMED_IS_UNKNOWN: Rule = Rule("a retry from before the trimmed entries is told so");
/// Else a change that is written is answered with its neighbour's refusal.
const ANSWERS_APART: Rule = Rule("each change of a batch has its own answer");
/// Else a stale writer meets its version again after delete and create.
const VERSIONS_GO_ON: Rule = Rule("versions never start anew: they are entry ids");

const ENTRIES: usize = 4;
const TRIES: u8 = 3;

pub(crate) struct Write(Rules);

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    queue: Vec<Change>,
    row: Option<Row>,
    drained: usize,
    trimmed: usize,
    creator: Creator,
    updater: Updater,
    /// What must not happen.
    is_lost_update: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    /// By the creator, whose operation id is known.
    Created,
    Updated,
    Deleted,
    CreatedByOther,
    UpdatedByOther,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Row {
    /// Its newest entry.
    entry: usize,
    version: usize,
    last: Change,
    is_deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Creator {
    tries: u8,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Done,
    Duplicate,
    Refused,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Updater {
    /// The version and the entry that it read.
    read: Option<(usize, usize)>,
    is_done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another change in the same call may be refused.
    Create {
        is_answered: bool,
        beside_a_refusal: bool,
    },
    CreateFails,
    ReadVersion,
    UpdateVersion,
    Other(Other),
    Drain,
    Trim,
    Expire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Other {
    Create,
    Update,
    Delete,
}

impl State {
    fn times_created(&self) -> usize {
        self.queue.iter().filter(|&&it| it == Change::Created).count()
    }

    fn is_there(&self) -> bool {
        self.row.as_ref().is_some_and(|row| !row.is_deleted)
    }

    /// Whether there is a row at all, be it in Redis or in PostgreSQL.
    fn exists(&self) -> bool {
        self.queue.last().is_some_and(|&last| last != Change::Deleted)
    }
}

impl Write {
    fn append(&self, state: &mut State, change: Change) {
        state.queue.push(change);
        let entry = state.queue.len();
        let version = match &state.row {
            _ if self.0.keep(VERSIONS_GO_ON) => entry,
            Some(row) if !row.is_deleted => row.version + 1,
            _ => 1,
        };
        let is_deleted = change == Change::Deleted;
        state.row = Some(Row { entry, version, last: change, is_deleted });
    }

    fn create(&self, state: &mut State) -> Answer {
        let is_retry = state.creator.tries > 0;
        let knows = self.0.keep(OPERATION_ID);
        if is_retry && knows && self.0.keep(FOUND_IN_STREAM) {
            if state.queue[state.trimmed..].contains(&Change::Created) {
                return Answer::Done;
            }
            if state.trimmed > 0 && self.0.keep(TRIMMED_IS_UNKNOWN) {
                return Answer::Unknown;
            }
        }
        if knows && state.row.as_ref().is_some_and(|row| row.last == Change::Created) {
            return Answer::Done;
        }
        // Where Redis does not have the row, PostgreSQL was asked under a token.
        if state.exists() {
            return Answer::Duplicate;
        }
        self.append(state, Change::Created);
        Answer::Done
    }
}

impl Protocol for Write {
    const NAME: &'static str = "write";
    const RULES: &'static [Rule] = &[
        NOTHING_FAILS_LATE,
        OPERATION_ID,
        FOUND_IN_STREAM,
        TRIMMED_IS_UNKNOWN,
        ANSWERS_APART,
        VERSIONS_GO_ON,
    ];

    fn with(rules: Rules) -> Self {
        Self(rules)
    }
}

impl Model for Write {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let is_room = state.queue.len() < ENTRIES;
        if state.creator.answer.is_none() && state.creator.tries < TRIES && is_room {
            for is_answered in [true, false] {
                let beside = [true, false]
                    .map(|beside_a_refusal| Step::Create { is_answered, beside_a_refusal });
                steps.extend(beside);
            }
            steps.push(Step::CreateFails);
        }
        if state.updater.read.is_none() && state.is_there() {
            steps.push(Step::ReadVersion);
        }
        if state.updater.read.is_some() && !state.updater.is_done && state.is_there() && is_room {
            steps.push(Step::UpdateVersion);
        }
        if is_room {
            let others: &[Other] = match state.exists() {
                true => &[Other::Update, Other::Delete],
                false => &[Other::Create],
            };
            steps.extend(others.iter().map(|&other| Step::Other(other)));
        }
        if state.drained < state.queue.len() {
            steps.push(Step::Drain);
        }
        if state.trimmed + 1 < state.drained {
            steps.push(Step::Trim);
        }
        if state.row.as_ref().is_some_and(|row| row.entry <= state.drained) {
            steps.push(Step::Expire);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Create { is_answered, beside_a_refusal } => {
                let mut answer = self.create(&mut next);
                if beside_a_refusal && !self.0.keep(ANSWERS_APART) {
                    answer = Answer::Refused;
                }
                next.creator.tries += 1;
                next.creator.answer = is_answered.then_some(answer);
            }
            Step::CreateFails => {
                // Redis is full: the append is refused.
                next.creator.tries += 1;
                if !self.0.keep(NOTHING_FAILS_LATE) && !next.exists() {
                    self.append(&mut next, Change::Created);
                    next.queue.pop();
                }
            }
            Step::ReadVersion => {
                let row = next.row.as_ref()?;
                next.updater.read = Some((row.version, row.entry));
            }
            Step::UpdateVersion => {
                let (version, entry) = next.updater.read?;
                let row = next.row.as_ref()?;
                next.updater.is_done = true;
                if row.version == version {
                    next.is_lost_update |= row.entry != entry;
                    self.append(&mut next, Change::Updated);
                }
            }
            Step::Other(Other::Create) => self.append(&mut next, Change::CreatedByOther),
            Step::Other(Other::Update) => self.append(&mut next, Change::UpdatedByOther),
            Step::Other(Other::Delete) => self.append(&mut next, Change::Deleted),
            Step::Drain => next.drained += 1,
            Step::Trim => next.trimmed += 1,
            Step::Expire => next.row = None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("1: a row changes together with its entry", |_, state: &State| {
                let is_queued = |row: &Row| state.queue.get(row.entry - 1) == Some(&row.last);
                state.row.as_ref().is_none_or(is_queued)
            }),
            Property::always("8: a write is not done twice by its retry", |_, state: &State| {
                state.times_created() < 2
            }),
            Property::always("8: no false duplicate or refusal", |_, state: &State| {
                let is_told_no =
                    matches!(state.creator.answer, Some(Answer::Duplicate | Answer::Refused));
                !(is_told_no && state.times_created() > 0)
            }),
            Property::always("8: what is answered as done is done", |_, state: &State| {
                state.creator.answer != Some(Answer::Done) || state.times_created() == 1
            }),
            Property::always("8: a stale writer is told so", |_, state: &State| {
                !state.is_lost_update
            }),
            Property::sometimes("a retry gets the first answer", |_, state: &State| {
                state.creator.tries > 1 && state.creator.answer == Some(Answer::Done)
            }),
            Property::sometimes("the outcome is unknown", |_, state: &State| {
                state.creator.answer == Some(Answer::Unknown)
            }),
            Property::sometimes("a create is a duplicate", |_, state: &State| {
                state.creator.answer == Some(Answer::Duplicate)
            }),
        ]
    }
}
