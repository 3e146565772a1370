//! A door for the fuzz targets in `tests/fuzz` to what reads bytes that others may have written.
//!
//! Each function takes what a server could hold, and panics where that makes the runtime panic,
//! or where what it understood is not read back the same.

use std::collections::HashSet;

use crate::entry::{self, Entry, EntryId, RawEntry, RowChange};
use crate::key;
use crate::model::{KvModel, ModelDescriptor};
use crate::row::{self, EncodedRow};

#[cfg(feature = "redis")]
pub use crate::hot_store::redis::fuzzing::reply;

/// An entry's id.
pub fn entry_id(text: &str) {
    let Ok(id) = text.parse::<EntryId>() else { return };
    assert_eq!(id.to_string(), text, "one entry, two names");
    let next = EntryId { sequence: id.sequence.saturating_add(1), ..id };
    assert!(next.version() >= id.version() && id.version() >= 0, "{id} is no version");
}

/// An entry's two fields.
pub fn entry(models: &[&'static ModelDescriptor], header: &[u8], values: &[u8]) {
    let raw = RawEntry { id: EntryId::ZERO, header: header.to_vec(), values: values.to_vec() };
    let _ = raw.rows();
    let Ok(entry) = Entry::decode(&raw, models) else { return };
    let nonce = raw.nonce().expect("an entry that is understood has a nonce");
    let mut rows = HashSet::new();
    for RowChange { model, row_id, id_values, change } in &entry.changes {
        assert_eq!(&key::format_id(id_values), row_id, "one row, two ids");
        assert!(rows.insert((*model, row_id)), "a row twice");
        // By name and not by position, as the hash has them.
        let model = models[*model];
        assert!(change.fields(model).count() <= model.columns.len(), "a column twice");
    }
    assert_eq!(write_and_read(&entry, nonce, models), entry, "an entry changed on its way");
}

fn write_and_read(entry: &Entry, nonce: &str, models: &[&'static ModelDescriptor]) -> Entry {
    let changes = entry.changes.iter();
    let (mut header, values) = match entry.changes.as_slice() {
        [RowChange { model, row_id, change, .. }] => {
            let model = models[*model];
            (entry::header(model, change, row_id, nonce), change.encode_values(model))
        }
        _ => {
            let changes = changes
                .map(|change| (models[change.model], change.row_id.as_str(), &change.change));
            entry::encode_unit(changes, nonce).unwrap_or_default()
        }
    };
    entry::add_dependencies(&mut header, &entry.after);
    let raw = RawEntry { id: entry.id, header: header.into(), values: values.into() };
    match Entry::decode(&raw, models) {
        Ok(entry) => entry,
        Err(error) => panic!("an entry of ours is not understood: {error}"),
    }
}

/// The values of a row's columns.
pub fn row<'a, M: KvModel>(values: impl IntoIterator<Item = Option<&'a str>>) {
    let values: EncodedRow = values.into_iter().collect();
    can_be_sent(M::DESCRIPTOR, &values);
    let Ok(model) = row::decode::<M>(&values) else { return };
    // What was written by hand can be read and yet not be ours to write, as a year 10000.
    let Ok(encoded) = row::encode(&model) else { return };
    let Ok(decoded) = row::decode::<M>(&encoded) else { panic!("{encoded:?} is not read back") };
    // The texts and not the models: of these not even the same need be equal.
    assert_eq!(row::encode(&decoded).as_ref(), Ok(&encoded), "a row changed on its way");
    assert!(can_be_sent(M::DESCRIPTOR, &encoded), "{encoded:?} cannot be drained");
}

/// Whether the values can go into a statement.
#[cfg(feature = "postgres")]
fn can_be_sent(model: &ModelDescriptor, values: &EncodedRow) -> bool {
    use crate::durable_store::postgres::array::ColumnArray;

    // All of them, so that a malformed one does not hide another.
    let sent = model.columns.iter().zip(values.iter());
    let outcomes = sent.map(|(column, value)| ColumnArray::new(column.ty).push(value));
    outcomes.filter(Result::is_err).count() == 0
}

#[cfg(not(feature = "postgres"))]
fn can_be_sent(_: &ModelDescriptor, _: &EncodedRow) -> bool {
    true
}
