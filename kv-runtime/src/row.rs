//! A row as text: what the hot and the durable side exchange.

use crate::model::{FieldError, ModelDescriptor, NumericBounds};
use crate::value::{IsNull, KvValue, ValueError};

/// The values of some columns as text, in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EncodedRow {
    text: String,
    /// The end of each value's text, or `None` for NULL.
    ends: Vec<Option<usize>>,
}

impl EncodedRow {
    /// Without values, with room for as many that have as many bytes together.
    pub(crate) fn with_capacity(values: usize, bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(values) }
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of the value at a position, `None` being NULL or out of range.
    pub fn get(&self, position: usize) -> Option<&str> {
        let end = (*self.ends.get(position)?)?;
        let start = self.ends[..position].iter().rev().find_map(|end| *end).unwrap_or(0);
        Some(&self.text[start..end])
    }

    /// The values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let value = &self.text[start..end];
            start = end;
            Some(value)
        })
    }

    /// Appends a value.
    pub fn push(&mut self, value: Option<&str>) {
        let end = value.map(|value| {
            self.text.push_str(value);
            self.text.len()
        });
        self.ends.push(end);
    }

    /// Leaves the first values.
    #[cfg(feature = "postgres")]
    pub(crate) fn truncate(&mut self, values: usize) {
        self.ends.truncate(values);
        let end = self.ends.iter().rev().find_map(|end| *end).unwrap_or(0);
        self.text.truncate(end);
    }

    /// The bytes of all values together.
    pub(crate) fn byte_len(&self) -> usize {
        self.text.len()
    }
}

impl<'a> FromIterator<Option<&'a str>> for EncodedRow {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(values: I) -> Self {
        let mut row = Self::default();
        for value in values {
            row.push(value);
        }
        row
    }
}

/// Some columns of a row with their new values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodedPatch {
    columns: Vec<usize>,
    values: EncodedRow,
}

impl EncodedPatch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Sets a column, given by its position in the descriptor.
    ///
    /// # Errors
    /// The field with what is wrong with its value.
    pub fn set<T: KvValue>(
        &mut self,
        model: &'static ModelDescriptor,
        column: usize,
        value: &T,
    ) -> Result<(), FieldError> {
        self.columns.push(column);
        let column = &model.columns[column];
        encode_value(&mut self.values, value, column.numeric)
            .map_err(|source| FieldError { field: column.field, source })
    }

    /// The changed columns, as positions in the descriptor, ascending.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The new values, in the order of [`columns`](Self::columns).
    pub(crate) fn values(&self) -> &EncodedRow {
        &self.values
    }

    /// The changed columns with their new values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, Option<&str>)> {
        self.columns.iter().copied().zip(self.values.iter())
    }

    /// Sets columns from their text; `changes` must be in the order of the columns.
    pub(crate) fn from_changes<'a>(
        changes: impl IntoIterator<Item = (usize, Option<&'a str>)>,
    ) -> Self {
        let mut patch = Self::default();
        for (column, value) in changes {
            patch.columns.push(column);
            patch.values.push(value);
        }
        patch
    }

    /// This patch with a later one laid over it.
    pub(crate) fn merge(&self, later: &Self) -> Self {
        let mut merged: Vec<(usize, Option<&str>)> =
            self.iter().filter(|(column, _)| !later.columns.contains(column)).collect();
        merged.extend(later.iter());
        merged.sort_by_key(|(column, _)| *column);
        Self::from_changes(merged)
    }

    /// A whole row with this patch laid over it.
    pub(crate) fn apply_to(&self, row: &EncodedRow) -> EncodedRow {
        let mut changed = self.iter().peekable();
        let bytes = row.byte_len() + self.values.byte_len();
        let mut applied = EncodedRow::with_capacity(row.len(), bytes);
        for (position, value) in row.iter().enumerate() {
            match changed.next_if(|(column, _)| *column == position) {
                Some((_, new_value)) => applied.push(new_value),
                None => applied.push(value),
            }
        }
        applied
    }
}

/// Collects a row's values from the derive's `encode`.
#[derive(Debug)]
pub struct RowEncoder {
    row: EncodedRow,
}

impl RowEncoder {
    pub(crate) fn with_capacity(columns: usize) -> Self {
        Self { row: EncodedRow::with_capacity(columns, columns * 16) }
    }

    /// Appends a field's value.
    ///
    /// # Errors
    /// The field with what is wrong with its value.
    pub fn field<T: KvValue>(&mut self, field: &'static str, value: &T) -> Result<(), FieldError> {
        encode_value(&mut self.row, value, None).map_err(|source| FieldError { field, source })
    }

    /// The same of a field whose column keeps so many digits.
    ///
    /// # Errors
    /// The field with what is wrong with its value.
    pub fn bounded_field<T: KvValue>(
        &mut self,
        field: &'static str,
        value: &T,
        bounds: NumericBounds,
    ) -> Result<(), FieldError> {
        encode_value(&mut self.row, value, Some(bounds))
            .map_err(|source| FieldError { field, source })
    }

    pub(crate) fn finish(self) -> EncodedRow {
        self.row
    }
}

fn encode_value<T: KvValue>(
    row: &mut EncodedRow,
    value: &T,
    bounds: Option<NumericBounds>,
) -> Result<(), ValueError> {
    let start = row.text.len();
    let end = match value.encode(&mut row.text)? {
        IsNull::Yes => None,
        IsNull::No => Some(row.text.len()),
    };
    if let Some(bounds) = bounds.filter(|bounds| end.is_some() && !bounds.fits(&row.text[start..]))
    {
        return Err(ValueError::OutOfBounds { bounds });
    }
    row.ends.push(end);
    Ok(())
}

/// Hands a row's values to the derive's `decode`, one after the other.
#[derive(Debug)]
pub struct RowDecoder<'a> {
    row: &'a EncodedRow,
    position: usize,
    start: usize,
}

impl<'a> RowDecoder<'a> {
    pub(crate) fn new(row: &'a EncodedRow) -> Self {
        Self { row, position: 0, start: 0 }
    }

    /// Reads the next field's value.
    ///
    /// # Errors
    /// The field with what is wrong with its value.
    pub fn field<T: KvValue>(&mut self, field: &'static str) -> Result<T, FieldError> {
        let end = self.row.ends.get(self.position).copied().flatten();
        self.position += 1;
        let text = end.map(|end| {
            let text = &self.row.text[self.start..end];
            self.start = end;
            text
        });
        T::decode(text).map_err(|source| FieldError { field, source })
    }
}

/// Encodes a whole row.
pub(crate) fn encode<M: crate::KvModel>(model: &M) -> Result<EncodedRow, FieldError> {
    let mut encoder = RowEncoder::with_capacity(M::DESCRIPTOR.columns.len());
    model.encode(&mut encoder)?;
    Ok(encoder.finish())
}

/// Decodes a whole row.
pub(crate) fn decode<M: crate::KvModel>(row: &EncodedRow) -> Result<M, FieldError> {
    M::decode(&mut RowDecoder::new(row))
}

/// Encodes an id, one value a field of it.
pub(crate) fn encode_id<M: crate::KvModel>(id: &M::Id) -> Result<EncodedRow, FieldError> {
    let mut encoder = RowEncoder::with_capacity(M::DESCRIPTOR.id.len());
    M::encode_id(id, &mut encoder)?;
    Ok(encoder.finish())
}
