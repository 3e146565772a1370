//! The pair under test: what is done to it, and what it must then show.

use kv_runtime::{Error, Receipt, Repository, Transaction, TransactionRepository};
use kv_tests::models::{Account, Counter, Flight, Seat};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use proptest::{prop_assert, prop_assert_eq};

use super::model::{Answer, Operation, Refusal, State, Step, Table, UnitStep};
use super::samples::Sample;

/// The pair under test.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) pair: Pair,
}

impl System {
    /// Does an operation here and in the model, and compares what each answers.
    pub(crate) async fn take(&self, state: &mut State, operation: &Operation) -> TestCaseResult {
        match operation {
            Operation::Counter(step) => self.step(&mut state.counters, step).await?,
            Operation::Account(step) => self.step(&mut state.accounts, step).await?,
            Operation::Seat(step) => self.step(&mut state.seats, step).await?,
            Operation::Flight(step) => self.step(&mut state.flights, step).await?,
            Operation::Unit { steps, fails } => self.unit(state, steps, *fails).await?,
            Operation::Drain => {
                self.drain().await?;
                state.drained();
            }
        }
        Ok(())
    }

    async fn step<M: Sample>(&self, table: &mut Table<M>, step: &Step<M>) -> TestCaseResult {
        let rows = self.pair.kv.repository::<M>();
        let expected = table.take(step);
        let answer = perform(&rows, step).await;
        prop_assert_eq!(&answer, &expected, "the answer to {:?}", step);
        // After writes alone, for a read could bring in what the next operation should miss.
        if let Answer::Written(_) = answer {
            for id in step.written_ids() {
                let found = rows.find_by_id(&id).await;
                let found = found.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(found.as_ref(), table.rows.get(&id), "read after {:?}", step);
            }
        }
        Ok(())
    }

    async fn unit(&self, state: &mut State, steps: &[UnitStep], fails: bool) -> TestCaseResult {
        // What its reads have to answer, by tables that are changed along the way.
        let before = (state.seats.clone(), state.flights.clone());
        let expected = state.unit(steps, fails);
        let answer = self.pair.kv.transaction(async |unit| perform_unit(&unit, steps, fails).await);
        let answer = answer.await.map(|committed| committed.value).map_err(UnitError::into_refusal);
        // Which of several refusals is told hangs on what is known without a look at a row.
        prop_assert_eq!(answer.is_ok(), expected.is_ok(), "{:?}: {:?}", answer, expected);
        match answer {
            Ok(reads) => {
                let (mut seats, mut flights) = before;
                let expected: Vec<Read> = steps
                    .iter()
                    .filter_map(|step| match step {
                        UnitStep::Seat(step) => Read::seat(step, seats.take(step)),
                        UnitStep::Flight(step) => Read::flight(step, flights.take(step)),
                    })
                    .collect();
                prop_assert_eq!(reads, expected, "the reads within");
            }
            Err(refusal) => prop_assert!(
                matches!(refusal, Refusal::NotFound | Refusal::Duplicate | Refusal::Told),
                "{:?}",
                refusal
            ),
        }
        Ok(())
    }

    /// Drains everything, by a drainer of its own: one at work would race with the operations,
    /// and no failure could be repeated.
    async fn drain(&self) -> TestCaseResult {
        let drainer = self.pair.kv.drainer().model::<Counter>().model::<Account>();
        let drainer = drainer.model::<Flight>().model::<Seat>();
        let drained = drainer.spawn().shutdown().await;
        prop_assert!(drained.is_ok(), "not drained: {:?}", drained);
        Ok(())
    }

    /// After all, everything is drained: both sides have the model's rows, and none is dirty.
    pub(crate) async fn check_end(&self, state: &State) -> TestCaseResult {
        self.drain().await?;
        if self.pair.has_servers() {
            let undrained = RedisView::of(&self.pair).await.undrained().await;
            prop_assert_eq!(undrained, 0, "entries are left");
        }
        self.check_table(&state.counters).await?;
        self.check_table(&state.accounts).await?;
        self.check_table(&state.flights).await?;
        self.check_table(&state.seats).await
    }

    async fn check_table<M: Sample>(&self, table: &Table<M>) -> TestCaseResult {
        let fail = |error: Error| TestCaseError::fail(error.to_string());
        let expected: Vec<&M> = table.rows.values().collect();
        let mut durable = self.pair.kv.durable_rows::<M>().await.map_err(fail)?;
        durable.sort_by_key(|row| row.row_id());
        prop_assert_eq!(durable.iter().collect::<Vec<_>>(), expected, "in PostgreSQL");
        let rows = self.pair.kv.repository::<M>();
        for id in table.touched() {
            let hot = rows.find_by_id(id).await.map_err(fail)?;
            prop_assert_eq!(hot.as_ref(), table.rows.get(id), "in Redis");
            // A dirty row would refuse it.
            rows.invalidate(id).await.map_err(fail)?;
        }
        Ok(())
    }
}

async fn perform<M: Sample>(rows: &Repository<M>, step: &Step<M>) -> Answer<M> {
    let one = |result: Result<Receipt, Error>| Answer::Written(vec![written(result)]);
    match step {
        Step::Create(row) => one(rows.create(row).await),
        Step::CreateMany(many) => {
            Answer::Written(rows.create_many(many).await.into_iter().map(written).collect())
        }
        Step::Upsert(row) => one(rows.upsert(row).await),
        Step::Update(row, fields) => one(rows.update(&row.row_id(), row.to_patch(*fields)).await),
        Step::Delete(id) => one(rows.delete(id).await),
        Step::Get(id) => Answer::Row(rows.get_by_id(id).await.map_err(refusal)),
        Step::Find(id) => match rows.find_by_id(id).await {
            Ok(row) => Answer::Rows(vec![row]),
            Err(error) => Answer::Row(Err(refusal(error))),
        },
        Step::Exists(id) => match rows.exists(id).await {
            Ok(exists) => Answer::Exists(exists),
            Err(error) => Answer::Row(Err(refusal(error))),
        },
        Step::GetMany(ids) => match rows.get_many(ids).await {
            Ok(rows) => Answer::Rows(rows),
            Err(error) => Answer::Row(Err(refusal(error))),
        },
        Step::Evict(id) => Answer::Written(vec![rows.invalidate(id).await.map_err(refusal)]),
    }
}

fn written(result: Result<Receipt, Error>) -> Result<(), Refusal> {
    result.map(drop).map_err(refusal)
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::NotFound { .. } => Refusal::NotFound,
        Error::Duplicate { .. } => Refusal::Duplicate,
        Error::Conflict { .. } => Refusal::Conflict,
        other => Refusal::Other(format!("{other:?}")),
    }
}

/// What a read within a unit of work has found.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    Seat(Option<Seat>),
    Flight(Option<Flight>),
}

impl Read {
    fn seat(step: &Step<Seat>, answer: Answer<Seat>) -> Option<Self> {
        found(step, answer).map(Self::Seat)
    }

    fn flight(step: &Step<Flight>, answer: Answer<Flight>) -> Option<Self> {
        found(step, answer).map(Self::Flight)
    }
}

/// What a step has read, if it is one that reads.
fn found<M: Sample>(step: &Step<M>, answer: Answer<M>) -> Option<Option<M>> {
    match (step, answer) {
        (Step::Get(_) | Step::Find(_), Answer::Row(row)) => Some(row.ok()),
        (Step::Get(_) | Step::Find(_), Answer::Rows(rows)) => rows.into_iter().next(),
        _ => None,
    }
}

/// Why a unit of work fails here.
enum UnitError {
    Refused(Error),
    Told,
}

impl From<Error> for UnitError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl UnitError {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(error) => refusal(error),
            Self::Told => Refusal::Told,
        }
    }
}

async fn perform_unit(
    unit: &Transaction,
    steps: &[UnitStep],
    fails: bool,
) -> Result<Vec<Read>, UnitError> {
    let (seats, flights) = (unit.repository::<Seat>(), unit.repository::<Flight>());
    let mut reads = Vec::new();
    for step in steps {
        reads.extend(match step {
            UnitStep::Seat(step) => perform_within(&seats, step).await?.map(Read::Seat),
            UnitStep::Flight(step) => perform_within(&flights, step).await?.map(Read::Flight),
        });
    }
    if fails { Err(UnitError::Told) } else { Ok(reads) }
}

/// What the step has read, if it is one that reads.
async fn perform_within<M: Sample>(
    rows: &TransactionRepository<M>,
    step: &Step<M>,
) -> Result<Option<Option<M>>, Error> {
    match step {
        Step::Create(row) => rows.create(row).await?,
        Step::Upsert(row) => rows.upsert(row).await?,
        Step::Update(row, fields) => rows.update(&row.row_id(), row.to_patch(*fields)).await?,
        Step::Delete(id) => rows.delete(id).await?,
        Step::Get(id) => return rows.get_by_id(id).await.map(|row| Some(Some(row))),
        Step::Find(id) => return rows.find_by_id(id).await.map(Some),
        _ => unreachable!("no unit has it"),
    }
    Ok(None)
}
