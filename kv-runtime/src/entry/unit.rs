//! The values of a unit of work's entry: a JSON array of changes, each in the form that an entry
//! of its own would have.
//!
//! ```text
//! change  unit account 1 6f1c09d2e1a7b354 9e2f77aa01c3d5b8
//! values  [{"change":"patch account 1 6f1c…","values":{"balance":"5"}},{"change":"delete …"}]
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{EntryError, VALUES};

/// One change with its header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) change: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    values: Option<&'a RawValue>,
}

impl Part<'_> {
    /// Its values, empty where it has none.
    pub(super) fn values(&self) -> &[u8] {
        self.values.map_or(b"", |values| values.get().as_bytes())
    }
}

/// Writes changes, each with its header and its values.
pub(super) fn encode(parts: &[(String, String)]) -> String {
    let part = |(change, values): &'_ (String, String)| -> String {
        let change = Cow::Borrowed(change.as_str());
        let values: Option<&RawValue> = serde_json::from_str(values).ok();
        // Texts always make JSON.
        serde_json::to_string(&Part { change, values }).unwrap_or_default()
    };
    let parts: Vec<String> = parts.iter().map(part).collect();
    format!("[{}]", parts.join(","))
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(values: &[u8]) -> Result<Vec<Part<'_>>, EntryError> {
    serde_json::from_slice(values).map_err(|_| EntryError::Malformed(VALUES))
}
