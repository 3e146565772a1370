//! The statements on `kv_dead_letters`.

use std::time::{Duration, UNIX_EPOCH};

use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::array::ColumnArray;
use super::offsets::partition_columns;
use super::sql::{PARAMETER, unnest};
use super::statement::{Query, Statement};
use super::{classify, malformed};
use crate::dead_letters::{DeadLetter, DeadLetterFilter};
use crate::durable_store::{DurableStoreError, HeldRow, Letter, Refusal};
use crate::entry::{EntryId, RawEntry};
use crate::key::Partition;
use crate::model::{ColumnType, ModelDescriptor};

/// What an entry's id comes to in SQL, to compare it with others.
const ENTRY: &str = "string_to_array(l.entry, '-')::bigint[]";

type LetterSql = (
    BigInt,
    (Text, Integer, Text, Nullable<Text>, Nullable<Text>, Binary, Binary),
    (Nullable<Text>, Text, Nullable<Text>, Nullable<Text>, Nullable<Text>),
    BigInt,
);
type LetterRow = (
    i64,
    (String, i32, String, Option<String>, Option<String>, Vec<u8>, Vec<u8>),
    (Option<String>, String, Option<String>, Option<String>, Option<String>),
    i64,
);

/// Keeps entries as dead letters.
pub(super) async fn insert(
    connection: &mut AsyncPgConnection,
    letters: &[Letter],
) -> Result<(), DurableStoreError> {
    if letters.is_empty() {
        return Ok(());
    }
    let partitions: Vec<Partition> = letters.iter().map(|letter| letter.partition).collect();
    let mut parameters = partition_columns(&partitions);
    let mut add = |text: fn(&Letter) -> Option<String>| {
        parameters.push(ColumnArray::of_nullable_texts(letters.iter().map(text)));
    };
    add(|letter| Some(letter.entry.id.to_string()));
    add(|letter| letter.first_row().map(|row| row.model.to_string()));
    add(|letter| letter.first_row().map(|row| row.row_id.clone()));
    add(|letter| Some(hex(&letter.entry.header)));
    add(|letter| Some(hex(&letter.entry.values)));
    add(|letter| letter.refusal.sqlstate.clone());
    add(|letter| Some(letter.refusal.message.replace('\0', "\u{fffd}")));
    add(|letter| letter.refusal.detail.clone());
    add(|letter| letter.refusal.constraint.clone());
    add(|letter| letter.behind.map(|entry| entry.to_string()));
    let sql = format!(
        "INSERT INTO kv_dead_letters (queue, partition, entry, model, row_id, change, \"values\", \
         sqlstate, message, detail, constraint_name, behind) \
         SELECT u.c0, u.c1::int, u.c2, u.c3, u.c4, decode(u.c5, 'hex'), decode(u.c6, 'hex'), \
         u.c7, u.c8, u.c9, u.c10, u.c11 FROM {} ORDER BY string_to_array(u.c2, '-')::bigint[]",
        unnest(12, "")
    );
    Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    insert_further_rows(connection, letters).await
}

/// The rows of units of work beside the first.
async fn insert_further_rows(
    connection: &mut AsyncPgConnection,
    letters: &[Letter],
) -> Result<(), DurableStoreError> {
    let further = |letter: &'_ Letter| -> Vec<(EntryId, HeldRow)> {
        letter.rows.iter().skip(1).map(|row| (letter.entry.id, row.clone())).collect()
    };
    let rows: Vec<(EntryId, HeldRow)> = letters.iter().flat_map(further).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let partitions: Vec<Partition> = rows.iter().map(|(_, row)| row.partition).collect();
    let mut parameters = partition_columns(&partitions);
    let mut add = |text: fn(&(EntryId, HeldRow)) -> String| {
        parameters.push(ColumnArray::of_nullable_texts(rows.iter().map(|row| Some(text(row)))));
    };
    add(|(entry, _)| entry.to_string());
    add(|(_, row)| row.model.to_string());
    add(|(_, row)| row.row_id.clone());
    let sql = format!(
        "INSERT INTO kv_dead_letter_rows (letter, model, row_id) \
         SELECT l.id, u.c3, u.c4 FROM {} JOIN kv_dead_letters AS l \
         ON l.queue = u.c0 AND l.partition = u.c1::int AND l.entry = u.c2",
        unnest(5, "")
    );
    Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// For each row the first entry that it is held behind.
pub(super) async fn held(
    connection: &mut AsyncPgConnection,
    rows: &[HeldRow],
) -> Result<Vec<Option<EntryId>>, DurableStoreError> {
    let partitions: Vec<Partition> = rows.iter().map(|row| row.partition).collect();
    let mut parameters = partition_columns(&partitions);
    parameters.push(ColumnArray::of_texts(rows.iter().map(|row| &*row.model)));
    parameters.push(ColumnArray::of_texts(rows.iter().map(|row| &row.row_id)));
    let sql = format!(
        "SELECT u.ordinal::int, (array_agg(l.entry ORDER BY {ENTRY}))[1] FROM {} \
         JOIN kv_held_rows AS l ON l.queue = u.c0 AND l.partition = u.c1::int \
         AND l.model = u.c2 AND l.row_id = u.c3 AND NOT l.released GROUP BY u.ordinal",
        unnest(4, "WITH ORDINALITY")
    );
    let query = Query::<(Integer, Text)>::new(Statement { sql, parameters });
    let found: Vec<(i32, String)> = query.load(connection).await.map_err(classify)?;
    let mut held = vec![None; rows.len()];
    for (ordinal, entry) in found {
        let entry = entry.parse().map_err(|_| malformed("kv_dead_letters"))?;
        if let Some(place) = usize::try_from(ordinal - 1).ok().and_then(|at| held.get_mut(at)) {
            *place = Some(entry);
        }
    }
    Ok(held)
}

/// The escaped ids of a model's rows with dead letters.
///
/// Of those that are released, too: until they are forgotten, Redis may have the row as it was.
pub(super) async fn held_rows_of(
    connection: &mut AsyncPgConnection,
    model: &ModelDescriptor,
) -> Result<Vec<String>, DurableStoreError> {
    let sql = format!(
        "SELECT DISTINCT l.row_id FROM kv_held_rows AS l WHERE l.queue = ({PARAMETER})[1] \
         AND l.model = ({PARAMETER})[1] AND l.row_id IS NOT NULL"
    );
    let parameters =
        vec![ColumnArray::of_texts([model.queue]), ColumnArray::of_texts([model.key_prefix])];
    let query = Query::<Text>::new(Statement { sql, parameters });
    query.load(connection).await.map_err(classify)
}

/// Dead letters in the order of their entries.
pub(super) async fn load(
    connection: &mut AsyncPgConnection,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetter>, DurableStoreError> {
    let query = Query::<LetterSql>::new(select(filter)?);
    let rows: Vec<LetterRow> = query.load(connection).await.map_err(classify)?;
    rows.into_iter().map(decode).collect()
}

fn select(filter: &DeadLetterFilter) -> Result<Statement, DurableStoreError> {
    let mut conditions =
        vec![if filter.released { "l.released" } else { "NOT l.released" }.to_owned()];
    let mut parameters = Vec::new();
    let mut any_of = |condition: &str, value: Option<String>| {
        if let Some(value) = value {
            parameters.push(ColumnArray::of_texts([value]));
            conditions.push(condition.replace('?', &format!("({PARAMETER})[1]")));
        }
    };
    any_of("l.id = ?::bigint", filter.id.map(|id| id.to_string()));
    any_of("l.entry = ?", filter.entry.map(|entry| entry.to_string()));
    // A parameter stands in one place, so the three are looked at together.
    any_of(
        "EXISTS (SELECT FROM (SELECT ? AS text) AS e WHERE l.sqlstate = e.text \
         OR l.constraint_name = e.text OR position(e.text IN l.message) > 0)",
        filter.error.clone(),
    );
    let row = [("h.model", &filter.model), ("h.row_id", &filter.row_id)];
    let row: Vec<(&str, &String)> =
        row.into_iter().filter_map(|(column, value)| Some((column, value.as_ref()?))).collect();
    if !row.is_empty() {
        // Of a unit of work, any of its rows can be asked for.
        let is_same = row.iter().map(|(column, _)| format!(" AND {column} = ({PARAMETER})[1]"));
        let is_same: String = is_same.collect();
        conditions
            .push(format!("EXISTS (SELECT FROM kv_held_rows AS h WHERE h.letter = l.id{is_same})"));
        parameters.extend(row.iter().map(|(_, value)| ColumnArray::of_texts([*value])));
    }
    if let Some(partitions) = &filter.partitions {
        parameters.extend(partition_columns(partitions));
        conditions.push(format!(
            "(l.queue, l.partition) IN (SELECT u.c0, u.c1::int FROM {})",
            unnest(2, "")
        ));
    }
    let limit = filter.limit.map_or_else(String::new, |limit| format!(" LIMIT {limit}"));
    let sql = format!(
        "SELECT l.id, l.queue, l.partition, l.entry, l.model, l.row_id, l.change, l.\"values\", \
         l.sqlstate, l.message, l.detail, l.constraint_name, l.behind, \
         (extract(epoch FROM l.refused_at) * 1000000)::bigint \
         FROM kv_dead_letters AS l WHERE {} ORDER BY {ENTRY}, l.id{limit}",
        conditions.join(" AND ")
    );
    Ok(Statement { sql, parameters })
}

fn decode(row: LetterRow) -> Result<DeadLetter, DurableStoreError> {
    let (id, entry, refusal, refused_at) = row;
    let (queue, partition, entry, model, row_id, header, values) = entry;
    let (sqlstate, message, detail, constraint, behind) = refusal;
    let malformed = || malformed("kv_dead_letters");
    let entry: EntryId = entry.parse().map_err(|_| malformed())?;
    let behind = behind.as_deref().map(str::parse).transpose();
    let microseconds = u64::try_from(refused_at).unwrap_or_default();
    Ok(DeadLetter {
        id,
        queue,
        partition: u16::try_from(partition).map_err(|_| malformed())?,
        entry,
        model,
        row_id,
        change: String::from_utf8_lossy(&header).into_owned(),
        values: String::from_utf8_lossy(&values).into_owned(),
        sqlstate,
        message,
        detail,
        constraint,
        behind: behind.map_err(|_| malformed())?,
        refused_at: UNIX_EPOCH + Duration::from_micros(microseconds),
        raw: RawEntry { id: entry, header, values },
    })
}

fn of_ids(ids: &[i64]) -> ColumnArray {
    let mut array = ColumnArray::new(ColumnType::BigInt);
    for id in ids {
        // A number's text is a number.
        let _ = array.push(Some(&id.to_string()));
    }
    array
}

/// Marks dead letters as replayed or discarded.
pub(super) async fn release(
    connection: &mut AsyncPgConnection,
    ids: &[i64],
) -> Result<(), DurableStoreError> {
    let sql = format!("UPDATE kv_dead_letters SET released = true WHERE id = ANY({PARAMETER})");
    run(connection, sql, ids).await
}

/// Forgets dead letters that were released.
pub(super) async fn forget(
    connection: &mut AsyncPgConnection,
    ids: &[i64],
) -> Result<(), DurableStoreError> {
    let sql = format!("DELETE FROM kv_dead_letters WHERE released AND id = ANY({PARAMETER})");
    run(connection, sql, ids).await
}

async fn run(
    connection: &mut AsyncPgConnection,
    sql: String,
    ids: &[i64],
) -> Result<(), DurableStoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let statement = Statement { sql, parameters: vec![of_ids(ids)] };
    statement.execute(connection).await.map_err(classify)?;
    Ok(())
}

/// Says why a dead letter was refused again; it is the first of its row now.
pub(super) async fn refuse_again(
    connection: &mut AsyncPgConnection,
    id: i64,
    refusal: &Refusal,
) -> Result<(), DurableStoreError> {
    let texts = [
        refusal.sqlstate.clone(),
        Some(refusal.message.replace('\0', "\u{fffd}")),
        refusal.detail.clone(),
        refusal.constraint.clone(),
    ];
    let mut parameters: Vec<ColumnArray> =
        texts.into_iter().map(|text| ColumnArray::of_nullable_texts([text])).collect();
    parameters.push(of_ids(&[id]));
    let first = format!("({PARAMETER})[1]");
    let sql = format!(
        "UPDATE kv_dead_letters SET sqlstate = {first}, message = {first}, detail = {first}, \
         constraint_name = {first}, behind = NULL, refused_at = now() WHERE id = {first}"
    );
    Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    Ok(())
}
