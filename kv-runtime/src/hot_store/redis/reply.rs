//! What the server's answers mean.

use redis::{RedisError, Value};

use super::values::ValueToDo;
use crate::entry::{CHANGE, EntryId, RawEntry, VALUES};
use crate::hot_store::{
    Membership, Observed, PartitionState, ReadOutcome, RowState, SchemeMark, Stamp, Standing, Tail,
    UnitOutcome, ValueContent, WriteOutcome,
};
use crate::key::Layout;
use crate::row::EncodedRow;

/// An answer that is not of the form the scripts and commands give.
fn unexpected(what: &'static str) -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "the server's answer is not understood",
        what.to_owned(),
    )
        .into()
}

/// Only an answer as a whole can be an error; looking for one in each of its items would cost
/// as much as reading them.
fn items(answer: Value, what: &'static str) -> Result<Vec<Value>, RedisError> {
    match answer {
        Value::Array(items) => Ok(items),
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => Err(error.into()),
        _ => Err(unexpected(what)),
    }
}

/// The first error among answers that say nothing else.
pub(super) fn all_done(answers: Vec<Value>) -> Result<(), RedisError> {
    answers.into_iter().try_for_each(|answer| match answer {
        Value::ServerError(error) => Err(error.into()),
        _ => Ok(()),
    })
}

fn bytes(value: Value, what: &'static str) -> Result<Vec<u8>, RedisError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected(what)),
    }
}

fn text<'a>(value: &'a Value, what: &'static str) -> Result<&'a str, RedisError> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| unexpected(what)),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected(what)),
    }
}

fn entry_id(value: &Value) -> Result<EntryId, RedisError> {
    text(value, "an entry's id")?.parse().map_err(|_| unexpected("an entry's id"))
}

/// The id of an entry; that of an increment with the result behind it.
fn done(answer: &Value) -> Result<WriteOutcome, RedisError> {
    const WHAT: &str = "a write's outcome";
    match text(answer, WHAT)?.split_once(' ') {
        None => entry_id(answer).map(WriteOutcome::Written),
        Some((entry, result)) => {
            let entry = entry.parse().map_err(|_| unexpected(WHAT))?;
            let result = result.parse().map_err(|_| unexpected(WHAT))?;
            Ok(WriteOutcome::Counted(entry, result))
        }
    }
}

/// The refusals as `queue.lua` numbers them.
fn refusal(number: i64) -> Option<WriteOutcome> {
    Some(match number {
        1 => WriteOutcome::Exists,
        2 => WriteOutcome::Absent,
        3 => WriteOutcome::Deleted,
        4 => WriteOutcome::Full,
        5 => WriteOutcome::Unprobed,
        6 => WriteOutcome::Held,
        7 => WriteOutcome::Stale,
        8 => WriteOutcome::Null,
        9 => WriteOutcome::Overflow,
        _ => return None,
    })
}

/// `write_unit.lua`: the entry's id, nothing, or a row's place and the number of a refusal.
pub(super) fn unit_written(answer: Option<Value>) -> Result<UnitOutcome, RedisError> {
    const WHAT: &str = "a unit of work's outcome";
    match answer.unwrap_or(Value::Nil) {
        Value::Nil => Ok(UnitOutcome::Unchanged),
        Value::ServerError(error) => Err(error.into()),
        Value::Array(items) => unit_refused(&items).ok_or_else(|| unexpected(WHAT)),
        entry => entry_id(&entry).map(UnitOutcome::Written),
    }
}

fn unit_refused(items: &[Value]) -> Option<UnitOutcome> {
    /// A claim on a unique value stands in the way.
    const VALUE: i64 = 10;
    // Counted from 1; 0 where it is not about one of them.
    let place = |number: i64| usize::try_from(number - 1).unwrap_or_default();
    match items {
        [Value::Int(row), Value::Int(number)] => {
            Some(UnitOutcome::Refused(place(*row), refusal(*number)?))
        }
        [Value::Int(row), Value::Int(VALUE), Value::Int(claim)] => {
            Some(UnitOutcome::ValueRefused { row: place(*row), claim: place(*claim) })
        }
        _ => None,
    }
}

/// `reserve_value.lua`: what is under a value's key.
pub(super) fn value_content(answer: Value) -> Result<ValueContent, RedisError> {
    Ok(ValueContent(text(&answer, "a unique value")?.to_owned()))
}

/// `take_value.lua`: what is under the key now, what was before, and what that had to live.
pub(super) fn taken(answer: Value) -> Result<Option<(String, String, Option<u64>)>, RedisError> {
    const WHAT: &str = "a unique value that was taken";
    match items(answer, WHAT)?.as_slice() {
        [] => Ok(None),
        [taking, before, Value::Int(left)] => {
            let (taking, before) = (text(taking, WHAT)?, text(before, WHAT)?);
            Ok(Some((taking.to_owned(), before.to_owned(), u64::try_from(*left).ok())))
        }
        _ => Err(unexpected(WHAT)),
    }
}

/// Of a script that is about unique values: its answer, and what is to become of values elsewhere.
pub(super) fn with_values(answer: Value) -> Result<(Value, Vec<ValueToDo>), RedisError> {
    const WHAT: &str = "what becomes of unique values";
    let Value::Array(parts) = answer else { return Ok((answer, Vec::new())) };
    let [answer, Value::Array(words)] = parts.as_slice() else { return Err(unexpected(WHAT)) };
    let to_do = words.chunks_exact(5).map(|words| {
        let word = |at: usize| Ok::<_, RedisError>(text(&words[at], WHAT)?.to_owned());
        Ok(ValueToDo { key: word(0)?, arguments: [word(1)?, word(2)?, word(3)?, word(4)?] })
    });
    Ok((answer.clone(), to_do.collect::<Result<_, RedisError>>()?))
}

/// `CLUSTER SLOTS`: the first and the last slot of each range, and its master's host and port.
pub(super) fn slots(answer: Value) -> Result<Vec<(u16, u16, String, u16)>, RedisError> {
    const WHAT: &str = "the slots of a cluster";
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).map_err(|_| unexpected(WHAT)),
        _ => Err(unexpected(WHAT)),
    };
    let range = |range: Value| match items(range, WHAT)?.as_slice() {
        [first, last, Value::Array(master), ..] => match master.as_slice() {
            [host, port, ..] => {
                let host = text(host, WHAT).unwrap_or_default().to_owned();
                Ok((number(first)?, number(last)?, host, number(port)?))
            }
            _ => Err(unexpected(WHAT)),
        },
        _ => Err(unexpected(WHAT)),
    };
    items(answer, WHAT)?.into_iter().map(range).collect()
}

/// `reserve.lua`, with the row's metadata as it stands.
pub(super) fn observed<'a>(
    answer: Value,
    known: impl ExactSizeIterator<Item = (usize, Option<&'a str>)>,
) -> Result<Observed, RedisError> {
    const WHAT: &str = "a row";
    let values = items(answer, WHAT)?;
    let stamp = match values.first() {
        Some(meta) => Stamp(text(meta, WHAT)?.to_owned()),
        None => return Err(unexpected(WHAT)),
    };
    Ok(Observed { outcome: row(Value::Array(values), known)?, stamp })
}

/// What a call of `write.lua` answers.
#[derive(Debug)]
pub(super) struct Written {
    /// What became of each change.
    pub(super) outcomes: Vec<Result<WriteOutcome, RedisError>>,
    /// For each check, how many more entries there was room for.
    pub(super) rooms: Vec<i64>,
}

/// `write.lua`: for each change the id of its entry, the number of a refusal, or an error; then
/// the results of the checks.
pub(super) fn written(answer: Option<Value>, changes: usize) -> Result<Written, RedisError> {
    const WHAT: &str = "a write's outcome";
    let outcome = |answer: Value| match answer {
        Value::ServerError(error) => Err(error.into()),
        Value::Int(number) => refusal(number).ok_or_else(|| unexpected(WHAT)),
        entry => done(&entry),
    };
    let room = |answer: Value| match answer {
        Value::Int(room) => Ok(room),
        _ => Err(unexpected(WHAT)),
    };
    let mut answers = items(answer.unwrap_or(Value::Nil), WHAT)?.into_iter();
    let outcomes: Vec<_> = answers.by_ref().take(changes).map(outcome).collect();
    if outcomes.len() < changes {
        return Err(unexpected(WHAT));
    }
    Ok(Written { outcomes, rooms: answers.map(room).collect::<Result<_, _>>()? })
}

/// `HMGET` of a row's metadata and columns: a row, a tombstone, a reader's token, or nothing.
///
/// Columns that are known were not asked for; they come with their positions, in order.
pub(super) fn row<'a>(
    answer: Value,
    known: impl ExactSizeIterator<Item = (usize, Option<&'a str>)>,
) -> Result<ReadOutcome, RedisError> {
    const WHAT: &str = "a row";
    let values = items(answer, WHAT)?;
    let Some((meta, columns)) = values.split_first() else { return Err(unexpected(WHAT)) };
    match meta {
        Value::Nil => return Ok(ReadOutcome::Missing { token: None }),
        meta => {
            let meta = text(meta, WHAT)?;
            if meta.split(' ').nth(2) == Some("deleted") {
                return Ok(ReadOutcome::Deleted);
            }
            if let Some(token) = meta.strip_prefix("reading ") {
                // Nobody's: the row is not to be put here, or is just being written.
                let is_shared = token != "-" && !token.starts_with('!');
                let token = is_shared.then(|| token.to_owned());
                return Ok(ReadOutcome::Missing { token });
            }
        }
    }
    let bytes = columns.iter().map(|column| match column {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    });
    let mut row = EncodedRow::with_capacity(columns.len() + known.len(), bytes.sum());
    let mut known = known.peekable();
    for column in columns {
        while let Some((_, value)) = known.next_if(|(at, _)| *at == row.len()) {
            row.push(value);
        }
        row.push(match column {
            Value::Nil => None,
            value => Some(text(value, WHAT)?),
        });
    }
    known.for_each(|(_, value)| row.push(value));
    Ok(ReadOutcome::Row(row))
}

/// `HGET` of a row's metadata, and its time to live.
pub(super) fn row_state(meta: &Value, ttl: &Value) -> Result<RowState, RedisError> {
    const WHAT: &str = "a row's state";
    let meta = match meta {
        Value::Nil => return Ok(RowState::Missing),
        Value::ServerError(error) => return Err(error.clone().into()),
        meta => text(meta, WHAT)?,
    };
    Ok(match (meta.starts_with("reading "), ttl) {
        (true, _) => RowState::Missing,
        _ if meta.ends_with(" held") => RowState::Held,
        _ if meta.split(' ').nth(2) == Some("deleted") => RowState::Deleted,
        // Dirty rows, and they alone, have no time to live.
        (_, Value::Int(-1)) => RowState::Dirty,
        _ => RowState::Clean,
    })
}

/// `join.lua`: the number of members, and of those that stand before.
pub(super) fn membership(answer: Option<Value>) -> Result<Membership, RedisError> {
    const WHAT: &str = "a membership";
    let count = |value: &Value| match value {
        Value::Int(count) => usize::try_from(*count).map_err(|_| unexpected(WHAT)),
        _ => Err(unexpected(WHAT)),
    };
    match items(answer.unwrap_or(Value::Nil), WHAT)?.as_slice() {
        [members, rank] => Ok(Membership { members: count(members)?, rank: count(rank)? }),
        _ => Err(unexpected(WHAT)),
    }
}

/// A whole number that is the score of a member; zero where it is none.
pub(super) fn score(answer: Value) -> Result<u64, RedisError> {
    let score: Option<f64> = redis::from_redis_value(answer)?;
    // Less than zero and more than it holds come to its ends.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(score.unwrap_or_default() as u64)
}

/// The members of a set.
pub(super) fn texts(answer: Value) -> Result<Vec<String>, RedisError> {
    Ok(redis::from_redis_value(answer)?)
}

/// `SCAN`: where to go on, and keys.
pub(super) fn scanned(answer: Value) -> Result<(String, Vec<String>), RedisError> {
    const WHAT: &str = "a scan";
    let mut parts = items(answer, WHAT)?.into_iter();
    let (Some(cursor), Some(keys)) = (parts.next(), parts.next()) else {
        return Err(unexpected(WHAT));
    };
    let keys = items(keys, WHAT)?;
    // A key that is not text is not one of ours.
    let keys = keys.iter().filter_map(|key| text(key, WHAT).ok().map(str::to_owned));
    Ok((text(&cursor, WHAT)?.to_owned(), keys.collect()))
}

/// `XRANGE`: entries with their fields.
pub(super) fn entries(answer: Value) -> Result<Vec<RawEntry>, RedisError> {
    const WHAT: &str = "an entry";
    items(answer, WHAT)?
        .into_iter()
        .map(|entry| {
            let mut entry = items(entry, WHAT)?.into_iter();
            let (Some(id), Some(fields), None) = (entry.next(), entry.next(), entry.next()) else {
                return Err(unexpected(WHAT));
            };
            let mut raw = RawEntry { id: entry_id(&id)?, header: Vec::new(), values: Vec::new() };
            let mut fields = items(fields, WHAT)?.into_iter();
            while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
                match text(&name, WHAT)? {
                    CHANGE => raw.header = bytes(value, WHAT)?,
                    VALUES => raw.values = bytes(value, WHAT)?,
                    // Whoever reads the entry sees what it has not got.
                    _ => {}
                }
            }
            Ok(raw)
        })
        .collect()
}

/// `XREAD`: the streams that have something, with that.
pub(super) fn streams(answer: Value) -> Result<Vec<(String, Vec<RawEntry>)>, RedisError> {
    const WHAT: &str = "entries of streams";
    let stream = |stream: Value| {
        let mut stream = items(stream, WHAT)?.into_iter();
        let (Some(name), Some(read), None) = (stream.next(), stream.next(), stream.next()) else {
            return Err(unexpected(WHAT));
        };
        Ok((text(&name, WHAT)?.to_owned(), entries(read)?))
    };
    items(answer, WHAT)?.into_iter().map(stream).collect()
}

/// `HMGET` of a partition's `retained`, `position`, `trimmed` and `scheme`, its stream's length and
/// last entry.
pub(super) fn state(
    counters: Value,
    length: &Value,
    last: Value,
) -> Result<PartitionState, RedisError> {
    const WHAT: &str = "a partition's state";
    let values = items(counters, WHAT)?;
    let [retained, position, trimmed, scheme] = values.as_slice() else {
        return Err(unexpected(WHAT));
    };
    let newest = items(last, WHAT)?.into_iter().next();
    let newest = newest.map(|entry| items(entry, WHAT)).transpose()?.unwrap_or_default();
    Ok(PartitionState {
        undrained: undrained(length, retained)?,
        settled: place(position)?,
        trimmed: place(trimmed)?,
        newest: newest.first().map(entry_id).transpose()?.unwrap_or_default(),
        is_moved: is_moved(scheme),
    })
}

/// `HMGET` of a partition's `retained`, `position` and `scheme`, and its stream's length.
pub(super) fn tail(counters: Value, length: &Value) -> Result<Tail, RedisError> {
    const WHAT: &str = "what is not settled";
    let values = items(counters, WHAT)?;
    let [retained, position, scheme] = values.as_slice() else { return Err(unexpected(WHAT)) };
    Ok(Tail {
        undrained: undrained(length, retained)?,
        settled: place(position)?,
        is_moved: is_moved(scheme),
    })
}

/// How many entries of a stream are not settled: some of the others are kept.
fn undrained(length: &Value, retained: &Value) -> Result<u64, RedisError> {
    const WHAT: &str = "how many entries are not settled";
    let length = match length {
        Value::Int(length) => *length,
        Value::ServerError(error) => return Err(error.clone().into()),
        _ => return Err(unexpected(WHAT)),
    };
    let retained = match retained {
        Value::Nil => 0,
        count => text(count, WHAT)?.parse::<i64>().map_err(|_| unexpected(WHAT))?,
    };
    Ok(u64::try_from(length.saturating_sub(retained)).unwrap_or_default())
}

/// A place in a stream, which is its beginning where nothing is said.
fn place(value: &Value) -> Result<EntryId, RedisError> {
    match value {
        Value::Nil => Ok(EntryId::ZERO),
        entry => entry_id(entry),
    }
}

fn is_moved(scheme: &Value) -> bool {
    text(scheme, "a storage scheme").is_ok_and(|scheme| scheme == "moved")
}

/// `HGET` of a partition's `scheme`.
pub(super) fn scheme_mark(answer: Value) -> Result<SchemeMark, RedisError> {
    const WHAT: &str = "a storage scheme";
    match answer {
        Value::Nil => Ok(SchemeMark::None),
        Value::ServerError(error) => Err(error.into()),
        answer => match text(&answer, WHAT)? {
            "closed" => Ok(SchemeMark::Closed),
            "moved" => Ok(SchemeMark::Moved),
            name => name.parse().map(SchemeMark::Of).map_err(|_| unexpected(WHAT)),
        },
    }
}

/// `GET` of the layouts that a queue has had.
pub(super) fn layouts(answer: Value) -> Result<Vec<Layout>, RedisError> {
    const WHAT: &str = "the layouts of a queue";
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => Err(error.into()),
        answer => {
            let layouts = text(&answer, WHAT)?.split(',').map(str::parse);
            layouts.collect::<Result<_, _>>().map_err(|_| unexpected(WHAT))
        }
    }
}

/// `locate.lua`: whether an entry is there, what is settled, and what is trimmed.
pub(super) fn standing(entry: EntryId, answer: Value) -> Result<Standing, RedisError> {
    const WHAT: &str = "where an entry stands";
    let values = items(answer, WHAT)?;
    let [Value::Int(is_there), settled, trimmed] = values.as_slice() else {
        return Err(unexpected(WHAT));
    };
    Ok(Standing::new(entry, *is_there == 1, entry_id(settled)?, entry_id(trimmed)?))
}

/// `WAIT`: how many replicas; `WAITAOF`: whether it is on this server's disk, and how many
/// replicas'.
pub(super) fn acknowledged(answer: Value) -> Result<u32, RedisError> {
    const WHAT: &str = "a number of replicas";
    let number = match answer {
        Value::Int(replicas) => replicas,
        answer => match items(answer, WHAT)?.as_slice() {
            [Value::Int(local), _] => *local,
            _ => return Err(unexpected(WHAT)),
        },
    };
    u32::try_from(number).map_err(|_| unexpected(WHAT))
}
