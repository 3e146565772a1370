//! From entries to the fewest statements that have their effect.
//!
//! Pure: it knows neither Redis nor PostgreSQL nor the clock. Folding and
//! grouping are an optimisation; [`in_queue_order`] has the same effect entry
//! by entry, for batches whose grouped form is refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::durable_store::{Operation, Statement};
use crate::entry::{Change, Entry, RowChange};
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// What all entries of a row in a batch come to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Folded {
    /// Created and deleted again: nothing to do.
    Nothing,
    Insert(EncodedRow),
    Upsert(EncodedRow),
    Patch(EncodedPatch),
    Delete,
}

impl Folded {
    fn first(change: Change) -> Self {
        match change {
            Change::Create(row) => Self::Insert(row),
            Change::Upsert(row) => Self::Upsert(row),
            Change::Patch(patch) => Self::Patch(patch),
            Change::Delete => Self::Delete,
        }
    }

    /// Whether the change can come next for the same row. Where it cannot, as with two
    /// creates, each must be put to the table by itself.
    fn allows(&self, change: &Change) -> bool {
        let is_there = matches!(self, Self::Insert(_) | Self::Upsert(_) | Self::Patch(_));
        match change {
            Change::Create(_) => !is_there,
            Change::Patch(_) | Change::Delete => is_there,
            Change::Upsert(_) => true,
        }
    }

    /// With one more change that is allowed.
    fn then(self, change: Change) -> Self {
        match (self, change) {
            (Self::Insert(_) | Self::Nothing, Change::Create(row)) => Self::Insert(row),
            (Self::Insert(_), Change::Upsert(row)) => Self::Insert(row),
            (Self::Insert(row), Change::Patch(patch)) => Self::Insert(patch.apply_to(&row)),
            (Self::Insert(_), Change::Delete) => Self::Nothing,
            (_, Change::Create(row) | Change::Upsert(row)) => Self::Upsert(row),
            (Self::Upsert(row), Change::Patch(patch)) => Self::Upsert(patch.apply_to(&row)),
            (Self::Patch(earlier), Change::Patch(patch)) => Self::Patch(earlier.merge(&patch)),
            (_, Change::Patch(patch)) => Self::Patch(patch),
            (_, Change::Delete) => Self::Delete,
        }
    }
}

/// A row of a batch.
#[derive(Debug)]
struct FoldedRow {
    model: usize,
    id: EncodedRow,
    folded: Folded,
}

/// Folds the entries of some partitions, which must be in queue order for each row.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    rows: Vec<FoldedRow>,
    by_id: HashMap<(usize, String), usize>,
}

impl Fold {
    /// Adds an entry; `false` where it cannot be folded with those before it, so that the batch
    /// has to end before it.
    #[must_use]
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        let changes = entry.changes;
        // A unit goes in as a whole or not at all.
        if changes.len() > 1 && !changes.iter().all(|change| self.allows(change)) {
            return false;
        }
        changes.into_iter().all(|change| self.add_change(change))
    }

    fn allows(&self, RowChange { model, row_id, change, .. }: &RowChange) -> bool {
        let place = self.by_id.get(&(*model, row_id.clone()));
        place.is_none_or(|&place| self.rows[place].folded.allows(change))
    }

    fn add_change(&mut self, change: RowChange) -> bool {
        let RowChange { model, row_id, id_values: id, change } = change;
        match self.by_id.entry((model, row_id)) {
            Slot::Vacant(slot) => {
                slot.insert(self.rows.len());
                self.rows.push(FoldedRow { model, id, folded: Folded::first(change) });
            }
            Slot::Occupied(slot) => {
                let folded = &mut self.rows[*slot.get()].folded;
                if !folded.allows(&change) {
                    return false;
                }
                *folded = std::mem::replace(folded, Folded::Nothing).then(change);
            }
        }
        true
    }

    /// One statement for each model and kind of change.
    ///
    /// Deletes come first, and those of a model after those of the models registered behind
    /// it; then model by model patches, inserts and upserts: so a child goes before its
    /// parent and comes after it, and a unique value is free before it is taken.
    pub(crate) fn into_statements(self, models: &[&'static ModelDescriptor]) -> Vec<Statement> {
        let mut groups: Vec<Groups> = models.iter().map(|_| Groups::default()).collect();
        for row in self.rows {
            groups[row.model].add(row.id, row.folded);
        }
        let statement = |model, operation| Statement { model, operation };
        let mut statements = Vec::new();
        for (&model, group) in models.iter().zip(&mut groups).rev() {
            statements
                .push(statement(model, Operation::Delete(std::mem::take(&mut group.deletes))));
        }
        for (&model, group) in models.iter().zip(groups) {
            for (columns, rows) in group.patches {
                statements.push(statement(model, Operation::Patch { columns, rows }));
            }
            statements.push(statement(model, Operation::Insert(group.inserts)));
            statements.push(statement(model, Operation::Upsert(group.upserts)));
        }
        statements.retain(|statement| !statement.operation.rows().is_empty());
        statements
    }
}

/// The rows of one model by what is done to them.
#[derive(Debug, Default)]
struct Groups {
    inserts: Vec<EncodedRow>,
    upserts: Vec<EncodedRow>,
    /// By the set of columns, in the order in which the sets first came.
    patches: Vec<(Vec<usize>, Vec<EncodedRow>)>,
    deletes: Vec<EncodedRow>,
}

impl Groups {
    fn add(&mut self, id: EncodedRow, folded: Folded) {
        match folded {
            Folded::Nothing => {}
            Folded::Insert(row) => self.inserts.push(row),
            Folded::Upsert(row) => self.upserts.push(row),
            Folded::Delete => self.deletes.push(id),
            // A patch of no field has no effect, and SQL has no word for it.
            Folded::Patch(patch) if patch.is_empty() => {}
            Folded::Patch(patch) => {
                let row = patch_row(&id, &patch);
                match self.patches.iter_mut().find(|(columns, _)| columns == patch.columns()) {
                    Some((_, rows)) => rows.push(row),
                    None => self.patches.push((patch.columns().to_vec(), vec![row])),
                }
            }
        }
    }
}

/// The id's values, and then the new ones.
fn patch_row(id: &EncodedRow, patch: &EncodedPatch) -> EncodedRow {
    let values = patch.values();
    let mut row =
        EncodedRow::with_capacity(id.len() + values.len(), id.byte_len() + values.byte_len());
    id.iter().chain(values.iter()).for_each(|value| row.push(value));
    row
}

/// One statement a change, in the order given.
pub(crate) fn in_queue_order(
    entries: impl IntoIterator<Item = Entry>,
    models: &[&'static ModelDescriptor],
) -> Vec<Statement> {
    let statement = |RowChange { model, id_values: id, change, .. }: RowChange| {
        let operation = match change {
            Change::Create(row) => Operation::Insert(vec![row]),
            Change::Upsert(row) => Operation::Upsert(vec![row]),
            Change::Patch(patch) if patch.is_empty() => return None,
            Change::Patch(patch) => Operation::Patch {
                columns: patch.columns().to_vec(),
                rows: vec![patch_row(&id, &patch)],
            },
            Change::Delete => Operation::Delete(vec![id]),
        };
        Some(Statement { model: models[model], operation })
    };
    entries.into_iter().flat_map(|entry| entry.changes).filter_map(statement).collect()
}
