//! Where a page ended, so that the next one can begin behind it.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::order::{ColumnOrder, Direction};
use super::predicate::{Comparison, Predicate};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;
use crate::value::KvValue;

/// Where a page of a query ended; [`Query::after`](crate::Query::after) goes on behind it.
///
/// Its text, by `Display` and `FromStr`, can be handed to a client and taken back: letters and
/// digits alone. It holds the last row's values of the fields that the query is ordered by, and
/// its id, which a client can read. Rows that are written or deleted between two pages neither
/// repeat nor skip others.
///
/// ```
/// # use kv_runtime::{Cursor, Error, KvModel, Repository};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # struct Booking { #[kv(id, fresh)] id: i64, fare: i64 }
/// # async fn run(bookings: Repository<Booking>) -> Result<(), Box<dyn std::error::Error>> {
/// let query = bookings.query().order_by(|b| b.fare.desc()).limit(20);
/// let first = query.clone().page().await?;
/// if let Some(next) = first.next {
///     let text = next.to_string();
///     // The client comes back with it:
///     let cursor: Cursor = text.parse()?;
///     let second = query.after(cursor).page().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Tells the model and the orders.
    query: u64,
    /// The last row's values of the columns in order, as the durable side has answered them.
    values: EncodedRow,
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a cursor, or not all of it; pass on what a page answered, unchanged")]
pub struct CursorError;

impl Cursor {
    /// Behind a row that a query with these orders was answered.
    pub(super) fn new(
        model: &'static ModelDescriptor,
        orders: &[ColumnOrder],
        row: &EncodedRow,
    ) -> Self {
        let values = orders.iter().map(|order| row.get(order.column)).collect();
        Self { query: identify(model, orders), values }
    }

    /// What holds for the rows behind it, unless it is of another query.
    pub(super) fn predicate(
        &self,
        model: &'static ModelDescriptor,
        orders: &[ColumnOrder],
    ) -> Option<Predicate> {
        if self.query != identify(model, orders) || self.values.len() != orders.len() {
            return None;
        }
        let steps: Vec<(ColumnOrder, Option<&str>)> =
            orders.iter().copied().zip(self.values.iter()).collect();
        let behind = (0..steps.len()).filter_map(|at| {
            let (order, value) = steps[at];
            let mut all: Vec<Predicate> =
                steps[..at].iter().map(|(order, value)| same(order.column, *value)).collect();
            all.push(greater(order, value)?);
            Some(Predicate::All(all))
        });
        Some(Predicate::Any(behind.collect()))
    }

    /// The values as a client may have them.
    fn payload(&self) -> Vec<u8> {
        let values: Vec<Option<&str>> = self.values.iter().collect();
        let mut bytes = self.query.to_be_bytes().to_vec();
        // Texts and nulls always make JSON, and a buffer in memory takes everything.
        let _ = serde_json::to_writer(&mut bytes, &values);
        bytes
    }
}

/// A number that tells the queries apart whose cursors do not fit each other.
fn identify(model: &ModelDescriptor, orders: &[ColumnOrder]) -> u64 {
    let mut bytes = model.fingerprint.to_be_bytes().to_vec();
    bytes.extend(model.key_prefix.as_bytes());
    for ColumnOrder { column, direction } in orders {
        bytes.extend(column.to_be_bytes());
        bytes.push(u8::from(*direction == Direction::Descending));
    }
    xxh3_64(&bytes)
}

/// What holds for the rows with this value.
fn same(column: usize, value: Option<&str>) -> Predicate {
    match value {
        Some(value) => compare(column, Comparison::Equal, value),
        None => Predicate::IsNull(column),
    }
}

/// What holds for the rows with a value behind this one, if there can be any.
fn greater(order: ColumnOrder, value: Option<&str>) -> Option<Predicate> {
    let column = order.column;
    match (order.direction, value) {
        (Direction::Ascending, Some(value)) => {
            let greater = compare(column, Comparison::Greater, value);
            Some(greater.or(Predicate::IsNull(column)))
        }
        // NULL is the last.
        (Direction::Ascending, None) => None,
        (Direction::Descending, Some(value)) => Some(compare(column, Comparison::Less, value)),
        // NULL was the first.
        (Direction::Descending, None) => Some(Predicate::IsNull(column).negated()),
    }
}

fn compare(column: usize, comparison: Comparison, value: &str) -> Predicate {
    Predicate::CompareStored { column, comparison, text: value.to_owned() }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload = self.payload();
        // A slip in copying must not go on at another place.
        write!(f, "{:016x}", xxh3_64(&payload))?;
        payload.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = Vec::<u8>::decode(Some(&format!("\\x{text}"))).map_err(|_| CursorError)?;
        let (checksum, payload) = bytes.split_first_chunk::<8>().ok_or(CursorError)?;
        if u64::from_be_bytes(*checksum) != xxh3_64(payload) {
            return Err(CursorError);
        }
        let (query, values) = payload.split_first_chunk::<8>().ok_or(CursorError)?;
        let values: Vec<Option<String>> =
            serde_json::from_slice(values).map_err(|_| CursorError)?;
        // No text of PostgreSQL has it.
        if values.iter().flatten().any(|value| value.contains('\0')) {
            return Err(CursorError);
        }
        let values = values.iter().map(Option::as_deref).collect();
        Ok(Self { query: u64::from_be_bytes(*query), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldError;
    use crate::query::evaluate::evaluate;
    use crate::query::select::Select;
    use crate::query::select::tests::MODEL;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let values = [Some("é'"), None, Some("")].into_iter().collect();
        let cursor = Cursor { query: 7, values };
        let text = cursor.to_string();
        assert!(text.chars().all(|character| character.is_ascii_alphanumeric()), "{text}");
        assert_eq!(text.parse(), Ok(cursor));
        let last = if text.ends_with('0') { "1" } else { "0" };
        let other = format!("{}{last}", &text[..text.len() - 1]);
        let (short, shorter) = (&text[..text.len() - 1], &text[..text.len() - 2]);
        let spaced = format!(" {text}");
        let malformed =
            ["", "0", "zz", "é", "\0", "\\x", short, shorter, &text[2..], &other, &spaced];
        for malformed in malformed {
            assert_eq!(malformed.parse::<Cursor>(), Err(CursorError), "{malformed}");
        }
    }

    /// The text of a cursor with any payload, as somebody can make it up.
    fn made_up(payload: &[u8]) -> String {
        let bytes = xxh3_64(payload).to_be_bytes();
        bytes.iter().chain(payload).map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_cursor_that_is_made_up_is_an_error_at_the_worst() {
        let query = 7_u64.to_be_bytes();
        assert!(made_up(&[&query, &b"[\"1\",null]"[..]].concat()).parse::<Cursor>().is_ok());
        let deep = "[".repeat(100_000);
        for values in ["", "[", "[]x", "{}", "[1]", "[[]]", "[\"\\u0000\"]", "[\"\\ud800\"]", &deep]
        {
            let text = made_up(&[&query, values.as_bytes()].concat());
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{values}");
        }
        for payload in [&b""[..], &query[1..]] {
            assert_eq!(made_up(payload).parse::<Cursor>(), Err(CursorError));
        }
    }

    /// How many of one row are behind a cursor with these values, unless the cursor is refused.
    fn behind(values: &[Option<&str>]) -> Option<Result<usize, FieldError>> {
        let orders = [ColumnOrder { column: 0, direction: Direction::Ascending }];
        let values = values.iter().copied().collect();
        let cursor = Cursor { query: identify(&MODEL, &orders), values };
        let predicate = Some(cursor.predicate(&MODEL, &orders)?);
        let row: EncodedRow = [Some("1"), Some("2"), None].into_iter().collect();
        let select = Select { predicate, ..Select::new(&MODEL) };
        Some(evaluate(&select, [&row].into_iter()).map(|rows| rows.len()))
    }

    #[test]
    fn values_that_are_made_up_are_told() {
        assert!(matches!(behind(&[Some("0")]), Some(Ok(1))));
        assert!(matches!(behind(&[Some("1")]), Some(Ok(0))));
        assert!(matches!(behind(&[None]), Some(Ok(0))), "an id is never NULL");
        assert!(matches!(behind(&[Some("x")]), Some(Err(_))));
        assert!(behind(&[]).is_none() && behind(&[Some("0"), None]).is_none());
    }
}
