//! The part of [`crate::fuzzing`] that knows Redis.

use redis::Value;

use super::reply;
use crate::entry::{CHANGE, RawEntry, VALUES};
use crate::hot_store::ReadOutcome;
use crate::row::EncodedRow;

/// An answer of the server, as it comes over the wire.
pub fn reply(bytes: &[u8]) {
    let Ok(answer) = redis::parse_redis_value(bytes) else { return };
    if let Ok(ReadOutcome::Row(row)) = reply::row(answer.clone(), std::iter::empty()) {
        let again = reply::row(answer_of_row(&row), std::iter::empty());
        assert_eq!(again.ok(), Some(ReadOutcome::Row(row)), "a row changed on its way");
    }
    if let Ok(entries) = reply::entries(answer.clone()) {
        let again = reply::entries(answer_of_entries(&entries));
        assert_eq!(again.ok(), Some(entries), "entries changed on their way");
    }
    for changes in [0, 1, 3] {
        if let Ok(written) = reply::written(Some(answer.clone()), changes) {
            assert_eq!(written.outcomes.len(), changes, "an outcome for each change");
        }
    }
    if let Value::Array(items) = &answer
        && let [counters, length, last] = items.as_slice()
        && let Ok(state) = reply::state(counters.clone(), length, last.clone())
    {
        assert_eq!(state.newest.to_string().parse(), Ok(state.newest), "one entry, two names");
    }
    let _ = reply::streams(answer.clone());
    let _ = reply::all_done(vec![answer]);
}

fn text(text: impl Into<Vec<u8>>) -> Value {
    Value::BulkString(text.into())
}

fn answer_of_row(row: &EncodedRow) -> Value {
    let columns = row.iter().map(|value| value.map_or(Value::Nil, text));
    Value::Array(std::iter::once(text("1-1 nonce")).chain(columns).collect())
}

fn answer_of_entries(entries: &[RawEntry]) -> Value {
    let entry = |entry: &RawEntry| {
        let fields = vec![
            text(CHANGE),
            text(entry.header.clone()),
            text(VALUES),
            text(entry.values.clone()),
        ];
        Value::Array(vec![text(entry.id.to_string()), Value::Array(fields)])
    };
    Value::Array(entries.iter().map(entry).collect())
}
