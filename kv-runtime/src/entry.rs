//! Entries of a queue: their ids, and the form in which a stream holds them.
//!
//! An entry has two fields:
//!
//! ```text
//! change  create booking 42 6f1c09d2e1a7b354 9e2f77aa01c3d5b8
//! values  {"id":"42","status":"new","driver_id":null}
//! ```
//!
//! The header says operation, key prefix of the model, escaped id, operation id and fingerprint
//! of the columns; behind that may be what the entry has to take effect after, in other partitions
//! of its queue: `7/1763766000000-3,9/1763766000004-0`. The values are the changed columns by name, each as text or NULL; of a whole
//! row those that are NULL are left out, and of any the version, which follows from the entry's id.
//! One field for all of them, because what an entry costs to append and to read goes by the number
//! of its fields.
//!
//! A unit of work is one entry with the changes of several rows: see [`unit`].
//!
//! An entry carries results, not operations on an earlier state, so that applying it once more
//! changes nothing. Its id, which only ever grows within a partition, is the row's version.

mod unit;
mod values;
mod version;

#[cfg(feature = "redis")]
pub(crate) use values::column_name;
pub(crate) use version::{set_version, without_foreign};

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::key;
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// The name of the field with the header.
pub(crate) const CHANGE: &str = "change";
/// The name of the field with the values.
pub(crate) const VALUES: &str = "values";
/// The operation of an entry with the changes of several rows.
const UNIT: &str = "unit";

/// The id of an entry: the server's time in milliseconds, and a sequence within it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since 1970.
    pub milliseconds: u64,
    /// The sequence number within the millisecond.
    pub sequence: u64,
}

impl EntryId {
    /// Before every entry.
    pub const ZERO: Self = Self { milliseconds: 0, sequence: 0 };

    /// The least id behind this one.
    pub(crate) fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }

    /// The greatest id before this one.
    pub(crate) fn before(self) -> Self {
        match (self.milliseconds, self.sequence) {
            (0, 0) => Self::ZERO,
            (milliseconds, 0) => Self { milliseconds: milliseconds - 1, sequence: u64::MAX },
            (milliseconds, sequence) => Self { milliseconds, sequence: sequence - 1 },
        }
    }

    /// The id as one number that grows with it: 43 bits of time and 20 of sequence.
    ///
    /// It is the version of the row that the entry changed.
    pub fn version(self) -> i64 {
        // An id that was made by hand may be past what the bits hold: the year 2248.
        let milliseconds = self.milliseconds.min((1 << 43) - 1);
        // Added, so that a clock that went back for long does not make versions that are the same.
        let version = (milliseconds << 20).saturating_add(self.sequence);
        i64::try_from(version).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.sequence)
    }
}

impl FromStr for EntryId {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (milliseconds, sequence) = text.split_once('-')?;
            Some(Self { milliseconds: number(milliseconds)?, sequence: number(sequence)? })
        };
        parse().ok_or(EntryError::InvalidId)
    }
}

/// A number as Redis writes it: `parse` alone would take a sign and zeros in front.
fn number(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    is_canonical.then(|| text.parse().ok())?
}

/// An entry of another partition of the same queue, which has to take effect before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The number of its partition.
    pub(crate) partition: u16,
    pub(crate) entry: EntryId,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.entry)
    }
}

impl FromStr for Dependency {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (partition, entry) = text.split_once('/').ok_or(MALFORMED)?;
        let partition = number(partition).and_then(|number| u16::try_from(number).ok());
        Ok(Self { partition: partition.ok_or(MALFORMED)?, entry: entry.parse()? })
    }
}

/// What a write does to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A row that was not there.
    Create(EncodedRow),
    /// A whole row, whether it was there or not.
    Upsert(EncodedRow),
    /// New values for some columns of a row that is there.
    Patch(EncodedPatch),
    /// The end of a row that is there.
    Delete,
}

impl Change {
    /// The operation's name on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Upsert(_) => "upsert",
            Self::Patch(_) => "patch",
            Self::Delete => "delete",
        }
    }

    /// The bytes of all values together.
    pub(crate) fn byte_len(&self) -> usize {
        match self {
            Self::Create(row) | Self::Upsert(row) => row.byte_len(),
            Self::Patch(patch) => patch.values().byte_len(),
            Self::Delete => 0,
        }
    }

    /// The values as an entry has them.
    pub(crate) fn encode_values(&self, model: &'static ModelDescriptor) -> String {
        match self {
            Self::Create(row) | Self::Upsert(row) => {
                let values = row.iter().enumerate().filter(|(_, value)| value.is_some());
                values::encode(model, values, row.byte_len())
            }
            Self::Patch(patch) => values::encode(model, patch.iter(), patch.values().byte_len()),
            Self::Delete => String::new(),
        }
    }

    /// The columns with their values, by name; where a patch sets one to NULL, without. NULLs of a
    /// whole row are absent.
    pub(crate) fn fields(
        &self,
        model: &'static ModelDescriptor,
    ) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let (row, patch) = match self {
            Self::Create(row) | Self::Upsert(row) => (Some(row), None),
            Self::Patch(patch) => (None, Some(patch)),
            Self::Delete => (None, None),
        };
        let of_row = row.into_iter().flat_map(|row| row.iter().enumerate());
        let of_row = of_row.filter(|(_, value)| value.is_some());
        let of_patch = patch.into_iter().flat_map(EncodedPatch::iter);
        of_row.chain(of_patch).map(|(position, value)| (model.columns[position].name, value))
    }
}

/// An entry as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    /// Its id.
    pub(crate) id: EntryId,
    /// Its header, empty where it has none.
    pub(crate) header: Vec<u8>,
    /// Its values, empty where it has none.
    pub(crate) values: Vec<u8>,
}

impl RawEntry {
    /// Its operation id, which tells it from any other entry that ever had its id.
    pub(crate) fn nonce(&self) -> Option<&str> {
        let nonce = std::str::from_utf8(&self.header).ok()?.split(' ').nth(3)?;
        // PostgreSQL keeps no text with a NUL, nor has any of ours one.
        (!nonce.contains('\0')).then_some(nonce)
    }

    /// The rows that it names, each by the key prefix of its model and its escaped id.
    pub(crate) fn rows(&self) -> Vec<(String, String)> {
        let Ok(header) = std::str::from_utf8(&self.header) else { return Vec::new() };
        if !is_unit(header) {
            return row_of(header).into_iter().collect();
        }
        let parts = unit::decode(&self.values).unwrap_or_default();
        let mut seen = HashSet::new();
        let rows = parts.iter().filter_map(|part| row_of(&part.change));
        let rows: Vec<_> = rows.filter(|row| seen.insert(row.clone())).collect();
        // Of a unit that cannot be read, the header still names one.
        if rows.is_empty() { row_of(header).into_iter().collect() } else { rows }
    }

    /// What it takes in memory, roughly.
    pub(crate) fn byte_len(&self) -> usize {
        self.header.len() + self.values.len()
    }
}

fn is_unit(header: &str) -> bool {
    header.split(' ').next() == Some(UNIT)
}

fn row_of(header: &str) -> Option<(String, String)> {
    let mut words = header.split(' ').skip(1);
    let (key_prefix, row_id) = (words.next()?, words.next()?);
    key::parse_id(row_id)?;
    if key_prefix.contains('\0') {
        // PostgreSQL keeps no such text, nor has any of ours one.
        return None;
    }
    Some((key_prefix.to_owned(), row_id.to_owned()))
}

/// An entry that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its id.
    pub(crate) id: EntryId,
    /// What has to take effect before it.
    pub(crate) after: Vec<Dependency>,
    /// What it does, each of another row; several for a unit of work.
    pub(crate) changes: Vec<RowChange>,
}

/// What an entry does to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowChange {
    /// The model's position in the list that it was decoded with.
    pub(crate) model: usize,
    /// The escaped id of the row.
    pub(crate) row_id: String,
    /// The values of that id, one a field of it.
    pub(crate) id_values: EncodedRow,
    pub(crate) change: Change,
}

/// Why an entry was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The id is not `<milliseconds>-<sequence>`.
    #[error("the entry id is not of the form <milliseconds>-<sequence>")]
    InvalidId,
    /// A field is missing or not of its form.
    #[error("its field `{0}` is missing or malformed")]
    Malformed(&'static str),
    /// No registered model has this name.
    #[error("no model with key prefix `{0}` is registered with the drainer; add `.model::<…>()`")]
    UnknownModel(String),
    /// The entry has a column that the model does not.
    #[error("model `{model}` has no column `{column}`; a newer drainer is needed")]
    UnknownColumn {
        /// The model's key prefix.
        model: &'static str,
        /// The entry's column.
        column: String,
    },
}

/// Writes a header.
pub(crate) fn header(
    model: &ModelDescriptor,
    change: &Change,
    row_id: &str,
    operation_id: &str,
) -> String {
    header_of(change.name(), model, row_id, operation_id)
}

fn header_of(operation: &str, model: &ModelDescriptor, row_id: &str, operation_id: &str) -> String {
    let fingerprint = format!("{:016x}", model.fingerprint);
    [operation, model.key_prefix, row_id, operation_id, &fingerprint].join(" ")
}

/// Writes the header and the values of a unit of work; `None` without a change.
///
/// The header names the first row. What the entry has to take effect after goes behind it.
pub(crate) fn encode_unit<'a>(
    changes: impl IntoIterator<Item = (&'static ModelDescriptor, &'a str, &'a Change)>,
    operation_id: &str,
) -> Option<(String, String)> {
    let mut unit_header = None;
    let mut parts = Vec::new();
    for (model, row_id, change) in changes {
        unit_header.get_or_insert_with(|| header_of(UNIT, model, row_id, operation_id));
        parts.push((header(model, change, row_id, operation_id), change.encode_values(model)));
    }
    Some((unit_header?, unit::encode(&parts)))
}

/// Says in a header what its entry has to take effect after.
pub(crate) fn add_dependencies(header: &mut String, after: &[Dependency]) {
    for (at, dependency) in after.iter().enumerate() {
        header.push(if at == 0 { ' ' } else { ',' });
        header.push_str(&dependency.to_string());
    }
}

impl Entry {
    /// Reads an entry of some of the `models`.
    pub(crate) fn decode(
        raw: &RawEntry,
        models: &[&'static ModelDescriptor],
    ) -> Result<Self, EntryError> {
        let header = std::str::from_utf8(&raw.header).map_err(|_| MALFORMED)?;
        // The operation id is the fourth word.
        if header.contains('\0') || header.split(' ').nth(3).is_none() {
            return Err(MALFORMED);
        }
        let after =
            header.split(' ').nth(5).map(|after| after.split(',').map(str::parse).collect());
        let after = after.unwrap_or_else(|| Ok(Vec::new()))?;
        let changes = if is_unit(header) {
            let parts = unit::decode(&raw.values)?;
            let read = |part: &unit::Part<'_>| {
                RowChange::decode(raw.id, &part.change, part.values(), models)
            };
            let changes: Vec<RowChange> = parts.iter().map(read).collect::<Result<_, _>>()?;
            check_rows_differ(&changes)?;
            changes
        } else {
            vec![RowChange::decode(raw.id, header, &raw.values, models)?]
        };
        Ok(Self { id: raw.id, after, changes })
    }
}

const MALFORMED: EntryError = EntryError::Malformed(CHANGE);

/// A unit has one change of a row, and what they come to does not hang on their order.
fn check_rows_differ(changes: &[RowChange]) -> Result<(), EntryError> {
    let mut seen = HashSet::new();
    let differ = changes.iter().all(|change| seen.insert((change.model, &change.row_id)));
    if differ && !changes.is_empty() { Ok(()) } else { Err(EntryError::Malformed(VALUES)) }
}

impl RowChange {
    fn decode(
        entry: EntryId,
        header: &str,
        values: &[u8],
        models: &[&'static ModelDescriptor],
    ) -> Result<Self, EntryError> {
        let mut words = header.split(' ');
        let mut word = || words.next().ok_or(MALFORMED);
        let (operation, key_prefix, row_id, _) = (word()?, word()?, word()?, word()?);
        let model = models
            .iter()
            .position(|model| model.key_prefix == key_prefix)
            .ok_or_else(|| EntryError::UnknownModel(key_prefix.to_owned()))?;
        let values = || values::decode(models[model], values);
        let change = match operation {
            "create" => Change::Create(values()?.into_row()),
            "upsert" => Change::Upsert(values()?.into_row()),
            "patch" => Change::Patch(values()?.into_patch()),
            "delete" => Change::Delete,
            _ => return Err(MALFORMED),
        };
        let change = change.with_version(models[model], entry);
        let id_values = key::parse_id(row_id).ok_or(MALFORMED)?;
        Ok(Self { model, row_id: row_id.to_owned(), id_values, change })
    }
}
