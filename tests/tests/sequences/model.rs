//! What the stores should do, in its plainest form: a map for each model.

use std::collections::{BTreeMap, BTreeSet};

use kv_tests::models::{Account, Counter, Flight, Seat};
use proptest::prelude::*;

use super::samples::{Fields, Sample};

/// One operation of a sequence.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Counter(Step<Counter>),
    Account(Step<Account>),
    Seat(Step<Seat>),
    Flight(Step<Flight>),
    /// One unit of work on rows that lie together, which fails in the end or does not.
    Unit {
        steps: Vec<UnitStep>,
        fails: bool,
    },
    /// Starts a drainer, which drains what there is, and stops it.
    Drain,
}

/// A step of a unit of work.
#[derive(Debug, Clone)]
pub(crate) enum UnitStep {
    Seat(Step<Seat>),
    Flight(Step<Flight>),
}

/// What is done to the rows of one model.
#[derive(Debug, Clone)]
pub(crate) enum Step<M: Sample> {
    Create(M),
    CreateMany(Vec<M>),
    Upsert(M),
    /// Sets these fields of the row with this id to what they are here.
    Update(M, Fields),
    Delete(M::Id),
    Get(M::Id),
    Find(M::Id),
    Exists(M::Id),
    GetMany(Vec<M::Id>),
    /// Removes a clean row from Redis.
    Evict(M::Id),
}

impl<M: Sample> Step<M> {
    /// The ids of the rows that it writes, or is refused to.
    pub(crate) fn written_ids(&self) -> Vec<M::Id> {
        match self {
            Self::Create(row) | Self::Upsert(row) | Self::Update(row, _) => vec![row.row_id()],
            Self::CreateMany(rows) => rows.iter().map(M::row_id).collect(),
            Self::Delete(id) => vec![id.clone()],
            _ => Vec::new(),
        }
    }
}

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    NotFound,
    Duplicate,
    Conflict,
    /// The unit of work was told to fail.
    Told,
    /// Nothing that a sequence may meet.
    Other(String),
}

/// What a step answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer<M> {
    /// One result a row, where the step writes.
    Written(Vec<Result<(), Refusal>>),
    Row(Result<M, Refusal>),
    Rows(Vec<Option<M>>),
    Exists(bool),
}

impl<M> Answer<M> {
    /// Why a unit of work with this answer fails, if it does.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Written(results) => results.iter().find_map(|result| result.clone().err()),
            Self::Row(result) => result.as_ref().err().cloned(),
            Self::Rows(_) | Self::Exists(_) => None,
        }
    }
}

/// The rows of one model.
#[derive(Debug, Clone)]
pub(crate) struct Table<M: Sample> {
    pub(crate) rows: BTreeMap<M::Id, M>,
    /// Every id that was ever written.
    touched: BTreeSet<M::Id>,
    /// What was written since the last drain.
    dirty: BTreeSet<M::Id>,
    /// What PostgreSQL alone may have.
    evicted: BTreeSet<M::Id>,
}

impl<M: Sample> Default for Table<M> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            touched: BTreeSet::new(),
            dirty: BTreeSet::new(),
            evicted: BTreeSet::new(),
        }
    }
}

impl<M: Sample> Table<M> {
    /// Takes a step, and tells what it answers.
    pub(crate) fn take(&mut self, step: &Step<M>) -> Answer<M> {
        match step {
            Step::Create(row) => Answer::Written(vec![self.create(row)]),
            Step::CreateMany(rows) => {
                Answer::Written(rows.iter().map(|row| self.create(row)).collect())
            }
            Step::Upsert(row) => {
                self.written(row.row_id());
                self.rows.insert(row.row_id(), row.clone());
                Answer::Written(vec![Ok(())])
            }
            Step::Update(other, fields) => Answer::Written(vec![self.update(other, *fields)]),
            Step::Delete(id) => Answer::Written(vec![self.delete(id)]),
            Step::Get(id) => Answer::Row(self.rows.get(id).cloned().ok_or(Refusal::NotFound)),
            Step::Find(id) => Answer::Rows(vec![self.rows.get(id).cloned()]),
            Step::Exists(id) => Answer::Exists(self.rows.contains_key(id)),
            Step::GetMany(ids) => {
                Answer::Rows(ids.iter().map(|id| self.rows.get(id).cloned()).collect())
            }
            Step::Evict(id) => Answer::Written(vec![self.evict(id)]),
        }
    }

    /// Every id that was ever written.
    pub(crate) fn touched(&self) -> impl Iterator<Item = &M::Id> {
        self.touched.iter()
    }

    fn create(&mut self, row: &M) -> Result<(), Refusal> {
        if self.rows.contains_key(&row.row_id()) {
            return Err(Refusal::Duplicate);
        }
        self.written(row.row_id());
        self.rows.insert(row.row_id(), row.clone());
        Ok(())
    }

    fn update(&mut self, other: &M, fields: Fields) -> Result<(), Refusal> {
        let row = self.rows.get_mut(&other.row_id()).ok_or(Refusal::NotFound)?;
        row.set(other, fields);
        self.written(other.row_id());
        Ok(())
    }

    fn delete(&mut self, id: &M::Id) -> Result<(), Refusal> {
        self.rows.remove(id).ok_or(Refusal::NotFound)?;
        self.written(id.clone());
        Ok(())
    }

    fn evict(&mut self, id: &M::Id) -> Result<(), Refusal> {
        if self.dirty.contains(id) {
            return Err(Refusal::Conflict);
        }
        self.evicted.insert(id.clone());
        Ok(())
    }

    /// What a unit of work creates and deletes again, it does not touch.
    fn leave_what_came_and_went(&mut self, before: &Self) {
        let has_changed = |id: &M::Id| self.rows.contains_key(id) || before.rows.contains_key(id);
        self.dirty.retain(|id| has_changed(id) || before.dirty.contains(id));
        let still_evicted = before.evicted.iter().filter(|id| !has_changed(id)).cloned();
        self.evicted.extend(still_evicted);
    }

    fn written(&mut self, id: M::Id) {
        self.evicted.remove(&id);
        self.touched.insert(id.clone());
        self.dirty.insert(id);
    }

    /// Whether the step is one that a caller may take: who says that an id is fresh vouches for
    /// it, and only Redis is asked.
    fn may_take(&self, step: &Step<M>) -> bool {
        let created = match step {
            Step::Create(row) => std::slice::from_ref(row),
            Step::CreateMany(rows) => rows,
            _ => &[],
        };
        let is_vouched_for = |row: &M| !self.evicted.contains(&row.row_id());
        !M::DESCRIPTOR.id_is_fresh || created.iter().all(is_vouched_for)
    }
}

/// Everything that a sequence has come to.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) counters: Table<Counter>,
    pub(crate) accounts: Table<Account>,
    pub(crate) seats: Table<Seat>,
    pub(crate) flights: Table<Flight>,
}

impl State {
    /// Whether a caller may do this now; else it is left out of the sequence.
    pub(crate) fn may_take(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Counter(step) => self.counters.may_take(step),
            Operation::Account(step) => self.accounts.may_take(step),
            Operation::Seat(step) => self.seats.may_take(step),
            Operation::Flight(step) => self.flights.may_take(step),
            // Their ids are not fresh, so nobody vouches for anything.
            Operation::Unit { .. } | Operation::Drain => true,
        }
    }

    /// Does all steps of a unit of work, or none.
    pub(crate) fn unit(&mut self, steps: &[UnitStep], fails: bool) -> Result<(), Refusal> {
        let (mut seats, mut flights) = (self.seats.clone(), self.flights.clone());
        for step in steps {
            let refusal = match step {
                UnitStep::Seat(step) => seats.take(step).refusal(),
                UnitStep::Flight(step) => flights.take(step).refusal(),
            };
            refusal.map_or(Ok(()), Err)?;
        }
        if fails {
            return Err(Refusal::Told);
        }
        seats.leave_what_came_and_went(&self.seats);
        flights.leave_what_came_and_went(&self.flights);
        (self.seats, self.flights) = (seats, flights);
        Ok(())
    }

    /// Everything written so far is drained.
    pub(crate) fn drained(&mut self) {
        self.counters.dirty.clear();
        self.accounts.dirty.clear();
        self.seats.dirty.clear();
        self.flights.dirty.clear();
    }
}

/// Any operation; those before others are the simpler ones.
pub(crate) fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => Just(Operation::Drain),
        6 => steps::<Counter>().prop_map(Operation::Counter),
        6 => steps::<Account>().prop_map(Operation::Account),
        6 => steps::<Seat>().prop_map(Operation::Seat),
        2 => steps::<Flight>().prop_map(Operation::Flight),
        6 => units(),
    ]
}

/// Of rows that lie together: a flight and its seats.
fn units() -> impl Strategy<Value = Operation> {
    let seats = Seat::rows().prop_filter("it is of flight AA", |seat| seat.flight == "AA");
    let flights = Flight::rows().prop_filter("it is flight AA", |flight| flight.flight == "AA");
    let step = prop_oneof![
        2 => unit_steps(seats).prop_map(UnitStep::Seat),
        1 => unit_steps(flights).prop_map(UnitStep::Flight),
    ];
    let fails = prop::bool::weighted(0.1);
    (prop::collection::vec(step, 1..5), fails)
        .prop_map(|(steps, fails)| Operation::Unit { steps, fails })
}

fn unit_steps<M: Sample>(rows: impl Strategy<Value = M> + Clone) -> impl Strategy<Value = Step<M>> {
    let ids = rows.clone().prop_map(|row| row.row_id());
    prop_oneof![
        2 => rows.clone().prop_map(Step::Create),
        2 => rows.clone().prop_map(Step::Upsert),
        4 => (rows, any::<Fields>()).prop_map(|(row, fields)| Step::Update(row, fields)),
        1 => ids.clone().prop_map(Step::Delete),
        1 => ids.clone().prop_map(Step::Get),
        2 => ids.prop_map(Step::Find),
    ]
}

fn steps<M: Sample>() -> impl Strategy<Value = Step<M>> {
    let many = 1..4_usize;
    prop_oneof![
        3 => M::rows().prop_map(Step::Create),
        1 => prop::collection::vec(M::rows(), many.clone()).prop_map(Step::CreateMany),
        2 => M::rows().prop_map(Step::Upsert),
        5 => (M::rows(), any::<Fields>()).prop_map(|(row, fields)| Step::Update(row, fields)),
        3 => M::ids().prop_map(Step::Delete),
        1 => M::ids().prop_map(Step::Get),
        1 => M::ids().prop_map(Step::Find),
        1 => M::ids().prop_map(Step::Exists),
        1 => prop::collection::vec(M::ids(), many).prop_map(Step::GetMany),
        3 => M::ids().prop_map(Step::Evict),
    ]
}
