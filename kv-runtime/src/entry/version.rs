//! The version of a row is its newest entry's id, so that none ever comes twice: not after a
//! deletion, an expiry or a failover. An entry does not say it a second time.

use super::{Change, EntryId};
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

impl Change {
    /// As an entry has it: without what others than its caller decide, which are the version and
    /// what PostgreSQL fills.
    pub(crate) fn without_foreign(self, model: &ModelDescriptor) -> Self {
        match self {
            Self::Create(row) => Self::Create(without_foreign(model, row)),
            Self::Upsert(row) => Self::Upsert(without_foreign(model, row)),
            // A patch has no setters for them.
            Self::Patch(_) | Self::Delete => self,
        }
    }

    /// The name of the column that it gives a new version, if there is one.
    pub(crate) fn version_column(&self, model: &'static ModelDescriptor) -> Option<&'static str> {
        let is_delete = matches!(self, Self::Delete);
        model.version.filter(|_| !is_delete).map(|position| model.columns[position].name)
    }

    /// As it takes effect.
    pub(crate) fn with_version(self, model: &ModelDescriptor, entry: EntryId) -> Self {
        match (self, model.version) {
            (Self::Create(row), _) => Self::Create(set_version(model, row, entry)),
            (Self::Upsert(row), _) => Self::Upsert(set_version(model, row, entry)),
            (Self::Patch(patch), Some(column)) => {
                let version = entry.version().to_string();
                let raise = EncodedPatch::from_changes([(column, Some(version.as_str()))]);
                Self::Patch(patch.merge(&raise))
            }
            (change, _) => change,
        }
    }
}

/// A row with the version that an entry gives it; of a model without one, as it is.
pub(crate) fn set_version(model: &ModelDescriptor, row: EncodedRow, entry: EntryId) -> EncodedRow {
    let Some(column) = model.version else { return row };
    let version = entry.version().to_string();
    EncodedPatch::from_changes([(column, Some(version.as_str()))]).apply_to(&row)
}

/// A row without what others than its caller decide.
pub(crate) fn without_foreign(model: &ModelDescriptor, row: EncodedRow) -> EncodedRow {
    let is_foreign = |at: &usize| model.version == Some(*at) || model.columns[*at].read_only;
    let mut foreign = (0..model.columns.len()).filter(is_foreign).peekable();
    if foreign.peek().is_none() {
        return row;
    }
    EncodedPatch::from_changes(foreign.map(|at| (at, None))).apply_to(&row)
}
