//! A process that writes, and keeps a ledger for each of its tasks.

mod choice;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kv_runtime::{Error, Kv, Receipt, Repository};

use self::choice::{Choice, Keys, next_choice};
use crate::Failure;
use crate::change::{Change, Row};
use crate::child::{self, End};
use crate::ledger::{Ledger, Outcome};
use crate::models::{Account, Ledgered, Parcel, Seat};
use crate::options::WriterOptions;

/// A task waits up to this long between two writes, so that the machine has room for the rest.
const PAUSE_MAX: Duration = Duration::from_millis(12);

/// The file of a task's ledger.
pub(crate) fn ledger_name(writer: usize, task: usize) -> String {
    format!("writer-{writer}-task-{task}.jsonl")
}

/// Writes until it is told to end.
pub(crate) async fn run(options: WriterOptions) -> Result<(), Failure> {
    let mut end = End::of_input();
    let Some(kv) = child::connect(&mut end).await? else { return Ok(()) };
    let tasks: Vec<_> = (0..options.tasks)
        .map(|task| {
            let path = options.ledgers.join(ledger_name(options.number, task));
            // Each task has choices of its own, and others after each restart.
            let seed = [options.number as u64, task as u64, options.restarts]
                .iter()
                .fold(options.seed, |seed, part| fastrand::Rng::with_seed(seed ^ part).u64(..));
            let keys = Keys::of(options.number, task);
            let random = fastrand::Rng::with_seed(seed);
            tokio::spawn(run_task(kv.clone(), path, keys, random, end.clone()))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn run_task(
    kv: Kv,
    ledger: PathBuf,
    mut keys: Keys,
    mut random: fastrand::Rng,
    end: End,
) -> Result<(), Failure> {
    let repositories = Repositories::of(&kv);
    let mut ledger = open(&ledger, &mut keys)?;
    while !end.is_here() {
        let (key, choice) = next_choice(&mut random, &mut keys, &mut ledger);
        match choice {
            Choice::Read => {
                // A read that fails tells nothing.
                if let Ok(row) = repositories.read(&key).await? {
                    ledger.saw(&key, row)?;
                }
            }
            Choice::Write(intent) => {
                ledger.intend(&key, &intent)?;
                let written = repositories.write(&key, &intent.change).await?;
                ledger.conclude(&key, intent, outcome_of(written))?;
            }
        }
        tokio::time::sleep(PAUSE_MAX.mul_f64(random.f64())).await;
    }
    Ok(())
}

fn open(path: &Path, keys: &mut Keys) -> Result<Ledger, Failure> {
    let ledger = Ledger::open(path)?;
    keys.go_on_after(ledger.keys());
    Ok(ledger)
}

fn outcome_of(written: Result<Receipt, Error>) -> Outcome {
    let error = match written {
        Ok(receipt) => return Outcome::Acknowledged(receipt.entry.to_string()),
        Err(error) => error,
    };
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    match error {
        Error::OutcomeUnknown { .. } => Outcome::Unknown,
        Error::Duplicate { .. } => Outcome::Duplicate,
        Error::NotFound { .. } => Outcome::NotFound,
        Error::Full { .. }
        | Error::Unavailable { .. }
        | Error::Timeout { .. }
        | Error::Conflict { .. } => Outcome::NotDone(reason),
        _ => Outcome::Wrong(reason),
    }
}

/// The repositories of all models.
struct Repositories {
    accounts: Repository<Account>,
    seats: Repository<Seat>,
    parcels: Repository<Parcel>,
}

impl Repositories {
    fn of(kv: &Kv) -> Self {
        Self { accounts: kv.repository(), seats: kv.repository(), parcels: kv.repository() }
    }

    async fn write(&self, key: &str, change: &Change) -> Result<Result<Receipt, Error>, Failure> {
        match key.split(':').next() {
            Some("account") => write(&self.accounts, key, change).await,
            Some("seat") => write(&self.seats, key, change).await,
            _ => write(&self.parcels, key, change).await,
        }
    }

    async fn read(&self, key: &str) -> Result<Result<Option<Row>, Error>, Failure> {
        match key.split(':').next() {
            Some("account") => read(&self.accounts, key).await,
            Some("seat") => read(&self.seats, key).await,
            _ => read(&self.parcels, key).await,
        }
    }
}

async fn write<M: Ledgered>(
    repository: &Repository<M>,
    key: &str,
    change: &Change,
) -> Result<Result<Receipt, Error>, Failure> {
    let id = M::id_of(key).ok_or("a key without an id")?;
    let row = |row| M::from_row(row).ok_or("a row that is none of its model");
    Ok(match change {
        Change::Create(values) => repository.create(&row(values)?).await,
        Change::Upsert(values) => repository.upsert(&row(values)?).await,
        Change::Patch(patch) => {
            let patch = M::patch_of(patch).ok_or("a patch that is none of its model")?;
            repository.update(&id, patch).await
        }
        Change::Delete => repository.delete(&id).await,
    })
}

async fn read<M: Ledgered>(
    repository: &Repository<M>,
    key: &str,
) -> Result<Result<Option<Row>, Error>, Failure> {
    let id = M::id_of(key).ok_or("a key without an id")?;
    Ok(repository.find_by_id(&id).await.map(|row| row.map(|row| row.to_row())))
}
