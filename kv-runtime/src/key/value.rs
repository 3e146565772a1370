//! The names of the keys of unique values.
//!
//! ```text
//! booking.reference:AB-12{7}            whose the reference AB-12 is
//! member.tenant_id+email:1:a@b.c{3}     the same of two columns
//! ```
//!
//! The partition, whose tag stands behind it, follows from the value; where the columns have all
//! that chooses the row's own partition, it is that one.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;

use super::{ESCAPED, KeySpace, Layout, format_id};
use crate::model::{ColumnType, IndexDescriptor, ModelDescriptor};
use crate::row::EncodedRow;

impl KeySpace {
    /// What the keys of an index's values begin with, and no other key does.
    pub(crate) fn value_prefix(&self, model: &ModelDescriptor, index: &IndexDescriptor) -> String {
        let names: Vec<String> = index
            .columns
            .iter()
            .map(|&at| utf8_percent_encode(model.columns[at].name, ESCAPED).to_string())
            .collect();
        format!("{}{}.{}:", self.tenant, model.key_prefix, names.join("+"))
    }

    /// The key of a value, of which no part is NULL.
    pub(crate) fn value_key(
        &self,
        model: &ModelDescriptor,
        index: &IndexDescriptor,
        values: &EncodedRow,
    ) -> String {
        self.value_key_of(self.layout(model.queue), model, index, values)
    }

    /// The same in a layout that its queue has or has had, or is on the way to.
    pub(crate) fn value_key_of(
        &self,
        layout: Layout,
        model: &ModelDescriptor,
        index: &IndexDescriptor,
        values: &EncodedRow,
    ) -> String {
        let equal: Vec<Cow<'_, str>> = index
            .columns
            .iter()
            .zip(values.iter())
            .map(|(&at, value)| one_form(model.columns[at].ty, value.unwrap_or_default()))
            .collect();
        let equal: EncodedRow = equal.iter().map(|value| Some(&**value)).collect();
        let text = format_id(&equal);
        let chosen: Option<EncodedRow> = model
            .partition_by
            .iter()
            .map(|&position| {
                let column = model.id[position];
                let at = index.columns.iter().position(|&at| at == column)?;
                Some(values.get(at))
            })
            .collect();
        let hashed = chosen.map_or_else(|| text.clone(), |chosen| format_id(&chosen));
        let tags = self.tags_of(model.queue, layout);
        let tag = tags.get(tags.share_of(&hashed)).unwrap_or_default();
        [&self.value_prefix(model, index), text.as_str(), tag].concat()
    }
}

/// Values that PostgreSQL takes to be equal have one key, however they are written.
pub(crate) fn one_form(ty: ColumnType, text: &str) -> Cow<'_, str> {
    match ty {
        ColumnType::Numeric if text.contains('.') && !text.contains(['e', 'E']) => {
            match text.trim_end_matches('0').trim_end_matches('.') {
                "-0" | "" => Cow::Borrowed("0"),
                plain => Cow::Borrowed(plain),
            }
        }
        ColumnType::Numeric if text == "-0" => Cow::Borrowed("0"),
        ColumnType::Real | ColumnType::Double if matches!(text, "-0.0" | "-0") => {
            Cow::Owned(text[1..].to_owned())
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_form() {
        for (ty, text, expected) in [
            (ColumnType::Numeric, "12.50", "12.5"),
            (ColumnType::Numeric, "12.00", "12"),
            (ColumnType::Numeric, "120", "120"),
            (ColumnType::Numeric, "-0.0", "0"),
            (ColumnType::Double, "-0.0", "0.0"),
            (ColumnType::Text, "12.50", "12.50"),
        ] {
            assert_eq!(one_form(ty, text), expected, "{text}");
        }
    }
}
