//! An id as a part of a key: different ids never make the same text, and no id can bring a tag or a
//! separator of its own.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::row::EncodedRow;

/// What is escaped in a part of an id: what has a meaning in keys, in hash tags
/// or in the patterns of `SCAN`, and what cannot be seen.
pub(super) const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'%')
    .add(b':')
    .add(b'{')
    .add(b'}')
    .add(b'*')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b' ');

/// Writes an id's values as the part of a key: escaped, separated by `:`.
pub(crate) fn format_id(id: &EncodedRow) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(id.byte_len() + id.len());
    for (index, value) in id.iter().enumerate() {
        if index > 0 {
            text.push(':');
        }
        // No field of an id is nullable, and writing to a `String` cannot fail.
        let _ = write!(text, "{}", utf8_percent_encode(value.unwrap_or_default(), ESCAPED));
    }
    text
}

/// Reads what [`format_id`] wrote; `None` for anything else.
pub(crate) fn parse_id(text: &str) -> Option<EncodedRow> {
    let mut id = EncodedRow::with_capacity(1, text.len());
    for part in text.split(':') {
        let value = percent_decode_str(part).decode_utf8().ok()?;
        // Other escapes of the same value are not ours.
        let mut escaped = utf8_percent_encode(&value, ESCAPED);
        let rest = escaped.try_fold(part, |rest, chunk| rest.strip_prefix(chunk))?;
        if !rest.is_empty() {
            return None;
        }
        id.push(Some(&value));
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_id_are_escaped_and_read_back() {
        for parts in
            [vec!["a:b", "c"], vec!["a", "b:c"], vec!["", ""], vec!["{7}", "*%?"], vec!["é\0"]]
        {
            let id: EncodedRow = parts.iter().map(|part| Some(*part)).collect();
            let text = format_id(&id);
            assert!(!text.contains(['{', '}', '*', '\0']), "{text}");
            assert_eq!(parse_id(&text), Some(id), "{text}");
        }
        assert_eq!(parse_id("%61"), None, "an escape that was not needed");
    }
}
