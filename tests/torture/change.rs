//! Rows and their changes as the ledgers hold them: columns by name, with their values as text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A whole row; a column that is NULL is left out.
pub(crate) type Row = BTreeMap<String, String>;
/// The columns that a patch changes; `None` makes one NULL.
pub(crate) type Patch = BTreeMap<String, Option<String>>;

/// What a write does to a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Create(Row),
    Upsert(Row),
    Patch(Patch),
    Delete,
}

/// Why PostgreSQL refuses a row that Redis took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Poison {
    /// A note that the table's `CHECK` forbids.
    Note,
    /// A weight that the table's column cannot hold.
    Weight,
    /// A label that another row has.
    Label,
}

impl Poison {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Note, Self::Weight, Self::Label];

    /// The column that it lies in.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Weight => "weight",
            Self::Label => "label",
        }
    }

    /// What PostgreSQL says to it.
    pub(crate) fn sqlstate(self) -> &'static str {
        match self {
            Self::Note => "23514",
            Self::Weight => "22003",
            Self::Label => "23505",
        }
    }

    /// Whether a later change of the row takes it away again: where both are drained together,
    /// PostgreSQL may never see it.
    pub(crate) fn is_cured_by(self, change: &Change) -> bool {
        match change {
            Change::Create(_) | Change::Upsert(_) | Change::Delete => true,
            Change::Patch(patch) => patch.contains_key(self.column()),
        }
    }
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

    /// What becomes of a row by it, `None` where it cannot be.
    pub(crate) fn apply(&self, state: &Option<Row>) -> Option<Option<Row>> {
        match (self, state) {
            (Self::Create(row), None) | (Self::Upsert(row), _) => Some(Some(row.clone())),
            (Self::Patch(patch), Some(row)) => Some(Some(patched(row, patch))),
            (Self::Delete, Some(_)) => Some(None),
            (Self::Create(_), Some(_)) | (Self::Patch(_) | Self::Delete, None) => None,
        }
    }
}

fn patched(row: &Row, patch: &Patch) -> Row {
    let mut row = row.clone();
    for (column, value) in patch {
        match value {
            Some(value) => row.insert(column.clone(), value.clone()),
            None => row.remove(column),
        };
    }
    row
}
