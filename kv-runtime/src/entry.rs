//! Entries of a queue: their ids, and the form in which a stream holds them.
//!
//! The first field of an entry is its header, named `@`:
//!
//! ```text
//! create booking 42 6f1c09d2e1a7b354 9e2f…
//! ```
//!
//! operation, key prefix of the model, escaped id, operation id, fingerprint of the columns.
//! A patch that sets columns to NULL names them in a second field, `@null`, separated by commas.
//! Then come a name and a value for each column that is not NULL.
//!
//! An entry carries results, not operations on an earlier state, so that applying it once more
//! changes nothing. Its id, which only ever grows within a partition, is the row's version.

use std::fmt;
use std::str::FromStr;

use crate::key;
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// The name of the header.
pub(crate) const HEADER: &str = "@";
/// The name of the field with the columns that a patch sets to NULL.
pub(crate) const NULLS: &str = "@null";

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

    /// The id as one number that grows with it: 43 bits of time and 20 of sequence.
    ///
    /// It is the version of the row that the entry changed.
    pub fn version(self) -> i64 {
        let version = (self.milliseconds << 20) | self.sequence.min((1 << 20) - 1);
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
            Some(Self {
                milliseconds: milliseconds.parse().ok()?,
                sequence: sequence.parse().ok()?,
            })
        };
        parse().ok_or(EntryError::InvalidId)
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

    /// The columns with a value, and those set to NULL by name. NULLs of a whole row are absent.
    pub(crate) fn fields(
        &self,
        model: &'static ModelDescriptor,
    ) -> (Vec<(&'static str, &str)>, Vec<&'static str>) {
        let name = |position: usize| model.columns[position].name;
        match self {
            Self::Create(row) | Self::Upsert(row) => {
                let values = row.iter().enumerate();
                (values.filter_map(|(at, value)| Some((name(at), value?))).collect(), Vec::new())
            }
            Self::Patch(patch) => {
                let mut values = Vec::with_capacity(patch.columns().len());
                let mut nulls = Vec::new();
                for (at, value) in patch.iter() {
                    match value {
                        Some(value) => values.push((name(at), value)),
                        None => nulls.push(name(at)),
                    }
                }
                (values, nulls)
            }
            Self::Delete => (Vec::new(), Vec::new()),
        }
    }
}

/// An entry as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    /// Its id.
    pub(crate) id: EntryId,
    /// Its fields' names and values in order.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawEntry {
    /// Its operation id, which tells it from any other entry that ever had its id.
    pub(crate) fn nonce(&self) -> Option<&str> {
        let (_, header) = self.fields.first()?;
        std::str::from_utf8(header).ok()?.split(' ').nth(3)
    }
}

/// An entry that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its id.
    pub(crate) id: EntryId,
    /// The model's position in the list that it was decoded with.
    pub(crate) model: usize,
    /// The escaped id of the row.
    pub(crate) row_id: String,
    /// The random id of the operation that wrote it; no other entry has the same.
    pub(crate) nonce: String,
    /// What it does.
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
    let fingerprint = format!("{:016x}", model.fingerprint);
    [change.name(), model.key_prefix, row_id, operation_id, &fingerprint].join(" ")
}

impl Entry {
    /// Reads an entry of one of the `models`.
    pub(crate) fn decode(
        raw: &RawEntry,
        models: &[&'static ModelDescriptor],
    ) -> Result<Self, EntryError> {
        let mut fields = raw.fields.iter().map(|(name, value)| {
            let name = std::str::from_utf8(name).map_err(|_| EntryError::Malformed("name"))?;
            let value = std::str::from_utf8(value).map_err(|_| EntryError::Malformed("value"))?;
            Ok((name, value))
        });
        let Some((HEADER, header)) = fields.next().transpose()? else {
            return Err(EntryError::Malformed(HEADER));
        };
        let mut words = header.split(' ');
        let mut word = || words.next().ok_or(EntryError::Malformed(HEADER));
        let (operation, key_prefix, row_id, nonce) = (word()?, word()?, word()?, word()?);
        let model = models
            .iter()
            .position(|model| model.key_prefix == key_prefix)
            .ok_or_else(|| EntryError::UnknownModel(key_prefix.to_owned()))?;
        let mut columns = fields.collect::<Result<Vec<_>, _>>()?;
        let nulls = match columns.first() {
            Some((NULLS, _)) => Some(columns.remove(0).1),
            _ => None,
        };
        Ok(Self {
            id: raw.id,
            model,
            row_id: row_id.to_owned(),
            nonce: nonce.to_owned(),
            change: decode_change(models[model], operation, columns, nulls)?,
        })
    }

    /// The values of the row's id, one a field of it.
    pub(crate) fn id_values(&self) -> Result<EncodedRow, EntryError> {
        key::parse_id(&self.row_id).ok_or(EntryError::Malformed(HEADER))
    }
}

fn decode_change(
    model: &'static ModelDescriptor,
    operation: &str,
    columns: Vec<(&str, &str)>,
    nulls: Option<&str>,
) -> Result<Change, EntryError> {
    match operation {
        "create" => Ok(Change::Create(whole_row(model, columns)?)),
        "upsert" => Ok(Change::Upsert(whole_row(model, columns)?)),
        "patch" => Ok(Change::Patch(patch(model, columns, nulls)?)),
        "delete" => Ok(Change::Delete),
        _ => Err(EntryError::Malformed(HEADER)),
    }
}

fn unknown_column(model: &'static ModelDescriptor, column: &str) -> EntryError {
    EntryError::UnknownColumn { model: model.key_prefix, column: column.to_owned() }
}

fn whole_row(
    model: &'static ModelDescriptor,
    columns: Vec<(&str, &str)>,
) -> Result<EncodedRow, EntryError> {
    place(model, columns.into_iter())
        .map(|values| values.into_iter().collect())
        .map_err(|column| unknown_column(model, column))
}

/// Puts named values at their columns' positions; the error is a name that no column has.
fn place<'a>(
    model: &'static ModelDescriptor,
    named: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Option<&'a str>>, &'a str> {
    let mut values = vec![None; model.columns.len()];
    let mut expected = 0;
    for (name, value) in named {
        let position = model.position_of(name, expected).ok_or(name)?;
        values[position] = Some(value);
        expected = position + 1;
    }
    Ok(values)
}

fn patch(
    model: &'static ModelDescriptor,
    columns: Vec<(&str, &str)>,
    nulls: Option<&str>,
) -> Result<EncodedPatch, EntryError> {
    let nulls = nulls.into_iter().flat_map(|names| names.split(',')).map(|name| (name, None));
    let values = columns.into_iter().map(|(name, value)| (name, Some(value)));
    let mut changes = values
        .chain(nulls)
        .map(|(name, value)| {
            let position = model.position_of(name, 0).ok_or_else(|| unknown_column(model, name))?;
            Ok((position, value))
        })
        .collect::<Result<Vec<_>, _>>()?;
    changes.sort_by_key(|(position, _)| *position);
    Ok(EncodedPatch::from_changes(changes))
}
