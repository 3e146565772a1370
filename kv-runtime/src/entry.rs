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
//! of the columns. The values are the changed columns by name, each as text or NULL; of a whole
//! row those that are NULL are left out, and of any the version, which follows from the entry's id.
//! One field for all of them, because what an entry costs to append and to read goes by the number
//! of its fields.
//!
//! An entry carries results, not operations on an earlier state, so that applying it once more
//! changes nothing. Its id, which only ever grows within a partition, is the row's version.

mod values;
mod version;

#[cfg(feature = "redis")]
pub(crate) use values::column_name;
pub(crate) use version::set_version;

use std::fmt;
use std::str::FromStr;

use crate::key;
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// The name of the field with the header.
pub(crate) const CHANGE: &str = "change";
/// The name of the field with the values.
pub(crate) const VALUES: &str = "values";

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
    /// Its header, empty where it has none.
    pub(crate) header: Vec<u8>,
    /// Its values, empty where it has none.
    pub(crate) values: Vec<u8>,
}

impl RawEntry {
    /// Its operation id, which tells it from any other entry that ever had its id.
    pub(crate) fn nonce(&self) -> Option<&str> {
        std::str::from_utf8(&self.header).ok()?.split(' ').nth(3)
    }

    /// The key prefix of its model and the escaped id of its row, if it names them.
    pub(crate) fn row(&self) -> Option<(&str, &str)> {
        let mut words = std::str::from_utf8(&self.header).ok()?.split(' ').skip(1);
        let (key_prefix, row_id) = (words.next()?, words.next()?);
        key::parse_id(row_id)?;
        Some((key_prefix, row_id))
    }

    /// What it takes in memory, roughly.
    pub(crate) fn byte_len(&self) -> usize {
        self.header.len() + self.values.len()
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
        const MALFORMED: EntryError = EntryError::Malformed(CHANGE);
        let header = std::str::from_utf8(&raw.header).map_err(|_| MALFORMED)?;
        let mut words = header.split(' ');
        let mut word = || words.next().ok_or(MALFORMED);
        let (operation, key_prefix, row_id, nonce) = (word()?, word()?, word()?, word()?);
        let model = models
            .iter()
            .position(|model| model.key_prefix == key_prefix)
            .ok_or_else(|| EntryError::UnknownModel(key_prefix.to_owned()))?;
        let values = || values::decode(models[model], &raw.values);
        let change = match operation {
            "create" => Change::Create(values()?.into_row()),
            "upsert" => Change::Upsert(values()?.into_row()),
            "patch" => Change::Patch(values()?.into_patch()),
            "delete" => Change::Delete,
            _ => return Err(MALFORMED),
        };
        let change = change.with_version(models[model], raw.id);
        Ok(Self { id: raw.id, model, row_id: row_id.to_owned(), nonce: nonce.to_owned(), change })
    }

    /// The values of the row's id, one a field of it.
    pub(crate) fn id_values(&self) -> Result<EncodedRow, EntryError> {
        key::parse_id(&self.row_id).ok_or(EntryError::Malformed(CHANGE))
    }
}
