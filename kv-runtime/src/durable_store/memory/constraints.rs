//! What the tables rule out beside a second row of an id: NULL where a value has to be, a unique
//! value that another row has, and a reference to no row.
//!
//! What only SQL can say is left to PostgreSQL: unique indexes of some rows (`when`) and conditions
//! (`check`) rule out nothing here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Tables, Undo, refusal};
use crate::durable_store::Refusal;
use crate::key::one_form;
use crate::model::{IndexDescriptor, ModelDescriptor, ReferenceDescriptor};
use crate::row::EncodedRow;
use crate::schema::name::{pkey_name, reference_name, unique_name};

/// The models that have shown themselves, so that a table without rows is told from one that is
/// nobody's here.
pub(super) type KnownModels = Arc<Mutex<Vec<&'static ModelDescriptor>>>;

/// The values that rows have in columns that constraints are about.
#[derive(Debug, Default)]
pub(super) struct Constraints {
    known: KnownModels,
    by_table: HashMap<&'static str, Keys>,
}

/// Those of one table.
#[derive(Debug)]
struct Keys {
    model: &'static ModelDescriptor,
    /// For each unique index whose rows have a value: one, but within an attempt.
    unique: Vec<HashMap<EncodedRow, Vec<EncodedRow>>>,
    /// For each foreign key how many rows have a value.
    references: Vec<HashMap<EncodedRow, usize>>,
}

impl Keys {
    fn new(model: &'static ModelDescriptor) -> Self {
        let unique = vec![HashMap::new(); unique_indexes(model).count()];
        Self { model, unique, references: vec![HashMap::new(); model.references.len()] }
    }

    fn forget(&mut self, id: &EncodedRow, row: &EncodedRow) {
        for (index, rows) in unique_indexes(self.model).zip(&mut self.unique) {
            let Some(values) = values(self.model, index.columns, row) else { continue };
            let Some(holders) = rows.get_mut(&values) else { continue };
            holders.retain(|holder| holder != id);
            if holders.is_empty() {
                rows.remove(&values);
            }
        }
        for (reference, counts) in self.model.references.iter().zip(&mut self.references) {
            let Some(values) = values(self.model, reference.columns, row) else { continue };
            let count = counts.get_mut(&values).map_or(0, |count| {
                *count -= 1;
                *count
            });
            if count == 0 {
                counts.remove(&values);
            }
        }
    }

    fn remember(&mut self, id: &EncodedRow, row: &EncodedRow) {
        for (index, rows) in unique_indexes(self.model).zip(&mut self.unique) {
            if let Some(values) = values(self.model, index.columns, row) {
                rows.entry(values).or_default().push(id.clone());
            }
        }
        for (reference, counts) in self.model.references.iter().zip(&mut self.references) {
            if let Some(values) = values(self.model, reference.columns, row) {
                *counts.entry(values).or_default() += 1;
            }
        }
    }
}

/// Those that are about all rows.
fn unique_indexes(
    model: &'static ModelDescriptor,
) -> impl Iterator<Item = &'static IndexDescriptor> {
    model.unique.iter().filter(|index| index.when.is_none())
}

/// The values of some columns; `None` if one of them is NULL, which equals nothing.
fn values(
    model: &'static ModelDescriptor,
    positions: &[usize],
    row: &EncodedRow,
) -> Option<EncodedRow> {
    let mut values = EncodedRow::default();
    for &position in positions {
        values.push(Some(&one_form(model.columns[position].ty, row.get(position)?)));
    }
    Some(values)
}

impl Constraints {
    pub(super) fn new(known: KnownModels) -> Self {
        Self { known, by_table: HashMap::new() }
    }

    /// Before rows of a model are written.
    pub(super) fn prepare(&mut self, model: &'static ModelDescriptor) {
        self.by_table.entry(model.table).or_insert_with(|| Keys::new(model));
    }

    /// After a row was put in the place of another.
    pub(super) fn replace(
        &mut self,
        table: &str,
        id: &EncodedRow,
        before: Option<&EncodedRow>,
        after: Option<&EncodedRow>,
    ) {
        let Some(keys) = self.by_table.get_mut(table) else { return };
        if let Some(row) = before {
            keys.forget(id, row);
        }
        if let Some(row) = after {
            keys.remember(id, row);
        }
    }

    /// What is told of a row at once.
    pub(super) fn check_row(
        model: &'static ModelDescriptor,
        row: &EncodedRow,
    ) -> Result<(), Refusal> {
        for (column, value) in model.columns.iter().zip(row.iter()) {
            if value.is_none() && !column.nullable {
                let reason = format!("column `{}` has no value", column.column);
                return Err(refusal("23502", model.table, reason));
            }
        }
        Ok(())
    }

    /// What is told of rows when all of an attempt is done, as it is of a deferrable constraint.
    pub(super) fn check_unique(&self, changed: &[Undo], tables: &Tables) -> Result<(), Refusal> {
        for Undo { table, id, .. } in changed {
            let row = tables.get(table).and_then(|rows| rows.get(id));
            let (Some(row), Some(keys)) = (row, self.by_table.get(table)) else { continue };
            for (index, rows) in unique_indexes(keys.model).zip(&keys.unique) {
                let holders = values(keys.model, index.columns, row).and_then(|key| rows.get(&key));
                if holders.is_some_and(|holders| holders.len() > 1) {
                    let name = unique_name(keys.model, index);
                    let reason = format!("another row has the same `{}`", index.name);
                    return Err(refusal("23505", table, reason).of(name));
                }
            }
        }
        Ok(())
    }

    /// What is told of rows at the end of a statement, as PostgreSQL does it.
    pub(super) fn check_references(
        &self,
        model: &'static ModelDescriptor,
        changed: &[Undo],
        tables: &Tables,
    ) -> Result<(), Refusal> {
        let referring = self.referring(model);
        for Undo { id, before, .. } in changed {
            let after = tables.get(model.table).and_then(|rows| rows.get(id));
            if let Some(row) = after {
                self.check_has_parents(model, row, tables)?;
            }
            let Some(before) = before else { continue };
            for (child, at) in &referring {
                let reference = &child.model.references[*at];
                let Some(positions) = targets(model, reference) else { continue };
                let Some(key) = values(model, &positions, before) else { continue };
                let is_needed = child.references[*at].contains_key(&key);
                if is_needed && !self.has_row(reference, &key, tables) {
                    let reason = format!("a row of it is needed by table `{}`", child.model.table);
                    let name = reference_name(child.model, reference);
                    return Err(refusal("23503", model.table, reason).of(name));
                }
            }
        }
        Ok(())
    }

    fn check_has_parents(
        &self,
        model: &'static ModelDescriptor,
        row: &EncodedRow,
        tables: &Tables,
    ) -> Result<(), Refusal> {
        for reference in model.references {
            let Some(key) = values(model, reference.columns, row) else { continue };
            if !self.has_row(reference, &key, tables) {
                let reason = format!("it refers to no row of table `{}`", reference.table);
                let name = reference_name(model, reference);
                return Err(refusal("23503", model.table, reason).of(name));
            }
        }
        Ok(())
    }

    /// The tables with foreign keys to a model's, and the places of these.
    fn referring(&self, model: &ModelDescriptor) -> Vec<(&Keys, usize)> {
        let places = |keys: &Keys| {
            let references = keys.model.references.iter().enumerate();
            references.filter(|(_, it)| it.table == model.table).map(|(at, _)| at).collect()
        };
        self.by_table
            .values()
            .flat_map(|keys| Vec::into_iter(places(keys)).map(move |at: usize| (keys, at)))
            .collect()
    }

    /// Whether there is a row with these values; of a table that is no model's, there may be any.
    fn has_row(&self, reference: &ReferenceDescriptor, key: &EncodedRow, tables: &Tables) -> bool {
        let Some(keys) = self.by_table.get(reference.table) else {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            return !known.iter().any(|model| model.table == reference.table);
        };
        let Some(positions) = targets(keys.model, reference) else { return true };
        let mut unique = unique_indexes(keys.model).zip(&keys.unique);
        if let Some((_, rows)) = unique.find(|(index, _)| index.columns == positions) {
            return rows.contains_key(key);
        }
        let Some(rows) = tables.get(reference.table) else { return false };
        if keys.model.id == positions && rows.contains_key(key) {
            return true;
        }
        // Its columns may be in another order, or its texts other ones of the same value.
        rows.values().any(|row| values(keys.model, &positions, row).as_ref() == Some(key))
    }
}

/// The columns that a foreign key refers to, as positions in their model.
fn targets(model: &ModelDescriptor, reference: &ReferenceDescriptor) -> Option<Vec<usize>> {
    let position = |name: &&str| model.columns.iter().position(|column| column.column == *name);
    reference.targets.iter().map(position).collect()
}

impl Refusal {
    fn of(self, constraint: String) -> Self {
        Self { constraint: Some(constraint), ..self }
    }
}

/// The refusal of a second row of an id.
pub(super) fn id_is_taken(model: &ModelDescriptor) -> Refusal {
    refusal("23505", model.table, "a row with this id is there already").of(pkey_name(model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KvModel;

    #[derive(Debug, Clone, PartialEq, KvModel)]
    struct Price {
        #[kv(id, fresh)]
        id: i64,
        amount: i64,
        note: Option<String>,
    }

    #[test]
    fn null_is_refused_where_the_field_is_no_option() {
        let check = |values: [Option<&str>; 3]| {
            let row: EncodedRow = values.into_iter().collect();
            Constraints::check_row(Price::DESCRIPTOR, &row).err()?.sqlstate
        };
        assert_eq!(check([Some("1"), None, None]).as_deref(), Some("23502"));
        assert_eq!(check([Some("1"), Some("2"), None]), None);
    }
}
