//! The values of an entry: a JSON object of texts and NULLs.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::EntryError;
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// Writes columns, given by position, and their values.
pub(super) fn encode<'a>(
    model: &'static ModelDescriptor,
    values: impl Iterator<Item = (usize, Option<&'a str>)>,
    byte_len: usize,
) -> String {
    let mut json = Vec::with_capacity(byte_len + byte_len / 4 + model.columns.len() * 16);
    json.push(b'{');
    for (position, value) in values {
        if json.len() > 1 {
            json.push(b',');
        }
        push_text(&mut json, model.columns[position].name);
        json.push(b':');
        match value {
            Some(text) => push_text(&mut json, text),
            None => json.extend_from_slice(b"null"),
        }
    }
    json.push(b'}');
    // Only whole texts were written.
    String::from_utf8(json).unwrap_or_default()
}

/// The name of a column, as it stands before its value.
pub(crate) fn column_name(model: &'static ModelDescriptor, position: usize) -> String {
    let mut json = Vec::new();
    push_text(&mut json, model.columns[position].name);
    String::from_utf8(json).unwrap_or_default()
}

/// Appends a text with its quotes and escapes; a buffer in memory takes everything.
fn push_text(json: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(json, text);
}

/// Changed columns, by position, with their values.
#[derive(Debug)]
pub(super) struct Values<'a> {
    columns: usize,
    changes: Vec<(usize, Option<Cow<'a, str>>)>,
}

impl Values<'_> {
    /// A whole row: what is not named is NULL.
    pub(super) fn into_row(self) -> EncodedRow {
        let mut changes = self.changes.iter().peekable();
        let bytes = self.changes.iter().filter_map(|(_, value)| Some(value.as_ref()?.len()));
        let mut row = EncodedRow::with_capacity(self.columns, bytes.sum());
        for position in 0..self.columns {
            let change = changes.next_if(|(at, _)| *at == position);
            row.push(change.and_then(|(_, value)| value.as_deref()));
        }
        row
    }

    /// A patch: what is not named is left alone.
    pub(super) fn into_patch(self) -> EncodedPatch {
        let changes = self.changes.iter();
        EncodedPatch::from_changes(changes.map(|(position, value)| (*position, value.as_deref())))
    }
}

/// Reads columns of a model by name.
pub(super) fn decode<'a>(
    model: &'static ModelDescriptor,
    json: &'a [u8],
) -> Result<Values<'a>, EntryError> {
    let mut unknown = None;
    // At once, instead of text by text.
    let json = std::str::from_utf8(json).map_err(|_| EntryError::Malformed(super::VALUES))?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = Columns { model, unknown: &mut unknown };
    let values = seed.deserialize(&mut deserializer);
    let values = values.and_then(|values| deserializer.end().map(|()| values));
    match (values, unknown) {
        (_, Some(column)) => Err(EntryError::UnknownColumn { model: model.key_prefix, column }),
        (Ok(mut values), None) => {
            // Written in this order, unless by hand.
            if !values.changes.is_sorted_by_key(|(position, _)| *position) {
                values.changes.sort_by_key(|(position, _)| *position);
            }
            Ok(values)
        }
        (Err(_), None) => Err(EntryError::Malformed(super::VALUES)),
    }
}

/// Reads the object straight into positions.
struct Columns<'u> {
    model: &'static ModelDescriptor,
    /// The first name that no column has.
    unknown: &'u mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Columns<'_> {
    type Value = Values<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Values<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Columns<'_> {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts and NULLs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values<'de>, A::Error> {
        let mut changes: Vec<(usize, Option<Cow<'de, str>>)> =
            Vec::with_capacity(self.model.columns.len());
        let mut expected = 0;
        while let Some(Text(name)) = map.next_key()? {
            let Some(position) = self.model.position_of(&name, expected) else {
                *self.unknown = Some(name.into_owned());
                return Err(de::Error::custom("unknown column"));
            };
            let value: Option<Text<'de>> = map.next_value()?;
            if changes.iter().any(|(at, _)| *at == position) {
                return Err(de::Error::custom("a column comes twice"));
            }
            changes.push((position, value.map(|Text(text)| text)));
            expected = position + 1;
        }
        Ok(Values { columns: self.model.columns.len(), changes })
    }
}

/// A text that is borrowed from the entry where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}
