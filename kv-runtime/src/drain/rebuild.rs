//! Rebuilds a partition in a PostgreSQL that went back further than entries are retained: from the
//! rows in Redis, and from what is left of the entries.

use std::collections::{BTreeMap, HashMap};

use super::context::Context;
use super::worker::StepError;
use crate::durable_store::{
    DurableStoreError, Offset, OffsetMove, Operation, Outcome, Statement, Transaction,
};
use crate::entry::{Change, Entry, EntryId, RawEntry, RowChange};
use crate::hot_store::{PartitionState, ReadOutcome, ReadRequest, ReadSize};
use crate::key::RowKey;
use crate::row::EncodedRow;
use crate::stores::Stores;

/// Rows of one statement.
const ROWS: usize = 500;

/// What the retained entries say of a row.
#[derive(Debug, Default)]
struct Retained {
    /// As it was when all of them were settled, if they say so; `None` within for a deleted one.
    settled: Option<Option<EncodedRow>>,
    /// Whether its first entry that is not settled creates it.
    is_created_next: Option<bool>,
}

/// By the position of the model and the escaped id.
type ByRow = HashMap<(usize, String), (EncodedRow, Retained)>;

/// A row as Redis has it, with the position of its model.
type HotRow = (usize, RowKey, EncodedRow);

/// Brings a partition to where Redis has settled it, in one transaction.
pub(super) async fn after_postgresql_went_back(
    context: &Context,
    stores: &Stores,
    offset: &Offset,
    state: &PartitionState,
) -> Result<(), StepError> {
    // Before the entries: so there is an entry of whatever is written to these rows meanwhile.
    let rows = read_rows(context, stores, offset).await?;
    let (mut retained, nonce) = read_retained(context, stores, offset, state.settled).await?;
    let mut transaction = stores.durable.begin(&[offset.partition]).await?;
    if transaction.offsets() != std::slice::from_ref(offset) {
        return Err(DurableStoreError::OffsetMoved.into());
    }
    let mut steps = Steps::default();
    for (at, key, row) in rows {
        let said = retained.remove(&(at, key.id)).map(|(_, said)| said).unwrap_or_default();
        match said.is_created_next {
            Some(true) => steps.delete(at, key.id_values),
            // What its next entries change, they change once more.
            Some(false) | None => steps.upsert(at, row),
        }
    }
    // Those that are not in Redis any more.
    for ((at, _), (id, said)) in retained {
        match (said.is_created_next, said.settled) {
            (Some(true), _) | (_, Some(None)) => steps.delete(at, id),
            (_, Some(Some(row))) => steps.upsert(at, row),
            (_, None) => {}
        }
    }
    for (at, operation) in steps.into_operations() {
        attempt(transaction.as_mut(), Statement { model: context.models[at], operation }).await?;
    }
    let to = Offset { position: state.settled, nonce, waits_at: None, ..offset.clone() };
    let moves = vec![OffsetMove { from: offset.position, from_held: offset.held, to }];
    Ok(transaction.commit(Outcome { moves, ..Outcome::default() }).await?)
}

/// What is done to the rows of each model, given by its position.
#[derive(Debug, Default)]
struct Steps {
    deleted: BTreeMap<usize, Vec<EncodedRow>>,
    upserted: BTreeMap<usize, Vec<EncodedRow>>,
}

impl Steps {
    fn delete(&mut self, model: usize, id: EncodedRow) {
        self.deleted.entry(model).or_default().push(id);
    }

    fn upsert(&mut self, model: usize, row: EncodedRow) {
        self.upserted.entry(model).or_default().push(row);
    }

    /// What goes makes room for what comes.
    fn into_operations(self) -> impl Iterator<Item = (usize, Operation)> {
        fn chunks(rows: Vec<EncodedRow>) -> Vec<Vec<EncodedRow>> {
            rows.chunks(ROWS).map(<[EncodedRow]>::to_vec).collect()
        }
        fn of_kind(
            by_model: impl Iterator<Item = (usize, Vec<EncodedRow>)>,
            kind: fn(Vec<EncodedRow>) -> Operation,
        ) -> impl Iterator<Item = (usize, Operation)> {
            by_model.flat_map(move |(model, rows)| {
                chunks(rows).into_iter().map(move |rows| (model, kind(rows)))
            })
        }
        // A child goes before its parent and comes after it.
        of_kind(self.deleted.into_iter().rev(), Operation::Delete)
            .chain(of_kind(self.upserted.into_iter(), Operation::Upsert))
    }
}

/// The partition's rows in Redis.
async fn read_rows(
    context: &Context,
    stores: &Stores,
    offset: &Offset,
) -> Result<Vec<HotRow>, StepError> {
    let mut rows = Vec::new();
    for (at, &model) in context.models.iter().enumerate() {
        if model.queue != offset.partition.queue {
            continue;
        }
        for keys in stores.hot.scan(model, Some(offset.partition)).await?.chunks(ROWS) {
            let keys: Vec<RowKey> =
                keys.iter().filter_map(|key| context.keys.parse_row(model, key)).collect();
            let read = stores.hot.read(&keys).await?;
            // Of the others, the entries alone tell.
            rows.extend(keys.into_iter().zip(read).filter_map(|(key, outcome)| match outcome {
                ReadOutcome::Row(row) => Some((at, key, row)),
                ReadOutcome::Deleted | ReadOutcome::Missing { .. } => None,
            }));
        }
    }
    Ok(rows)
}

/// What all entries on the queue say, and the nonce of the last one that is settled.
async fn read_retained(
    context: &Context,
    stores: &Stores,
    offset: &Offset,
    settled: EntryId,
) -> Result<(ByRow, String), StepError> {
    let (mut rows, mut nonce) = (ByRow::new(), String::new());
    let mut size = ReadSize::default();
    let mut from = EntryId::ZERO;
    loop {
        let count = size.count() + 1;
        let request = ReadRequest { partition: offset.partition, from, count };
        let read = stores.hot.read_entries(&[request]).await?;
        let entries = read.into_iter().next().unwrap_or_default();
        size.learn(entries.iter());
        for raw in entries.iter().filter(|raw| raw.id > from) {
            if raw.id == settled {
                nonce = raw.nonce().unwrap_or_default().to_owned();
            }
            note(context, &mut rows, raw, raw.id <= settled);
        }
        match entries.last() {
            Some(last) if entries.len() == count => from = last.id,
            _ => return Ok((rows, nonce)),
        }
    }
}

fn note(context: &Context, rows: &mut ByRow, raw: &RawEntry, is_settled: bool) {
    let Ok(entry) = Entry::decode(raw, &context.models) else { return };
    for RowChange { model, row_id, id_values, change } in entry.changes {
        let (_, said) =
            rows.entry((model, row_id)).or_insert_with(|| (id_values, Retained::default()));
        if !is_settled {
            said.is_created_next.get_or_insert(matches!(change, Change::Create(_)));
            continue;
        }
        match change {
            Change::Create(row) | Change::Upsert(row) => said.settled = Some(Some(row)),
            Change::Patch(patch) => {
                if let Some(Some(row)) = &mut said.settled {
                    *row = patch.apply_to(row);
                }
            }
            Change::Delete => said.settled = Some(None),
        }
    }
}

/// Rows that PostgreSQL does not take now are left out, and told of.
async fn attempt(transaction: &mut dyn Transaction, step: Statement) -> Result<(), StepError> {
    if step.operation.rows().is_empty() || attempt_all(transaction, &step).await? {
        return Ok(());
    }
    let Statement { model, operation } = step;
    for row in operation.rows() {
        let operation = match &operation {
            Operation::Delete(_) => Operation::Delete(vec![row.clone()]),
            _ => Operation::Upsert(vec![row.clone()]),
        };
        if !attempt_all(transaction, &Statement { model, operation }).await? {
            let id = crate::key::format_id(&model.id_of(row));
            tracing::error!(model = model.name, id, "a row could not be brought back");
        }
    }
    Ok(())
}

async fn attempt_all(
    transaction: &mut dyn Transaction,
    step: &Statement,
) -> Result<bool, StepError> {
    let refusal = transaction.attempt(std::slice::from_ref(step)).await?;
    if let Some(refusal) = &refusal {
        tracing::debug!(reason = refusal.message, "a part of the rebuilding was refused");
    }
    Ok(refusal.is_none())
}
