//! The statements on `kv_offsets`.

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel_async::AsyncPgConnection;
use diesel_async::RunQueryDsl;

use super::array::ColumnArray;
use super::sql::unnest;
use super::statement::{Query, Statement};
use super::{classify, malformed};
use crate::durable_store::{DurableStoreError, Offset, OffsetMove};
use crate::key::{Layout, Partition};
use crate::scheme::StorageScheme;

/// Offsets as PostgreSQL answers them: queue, partition, position, nonce, epoch, the number of
/// partitions where it was never changed, held,
/// the entry that is waited at, scheme, and whether the queue has other partitions by now.
type OffsetSql =
    (Text, Integer, Text, Text, BigInt, Nullable<Integer>, BigInt, Nullable<Text>, Text, Bool);
type OffsetRow = (String, i32, String, String, i64, Option<i32>, i64, Option<String>, String, bool);

const COLUMNS: &str = "o.queue, o.partition, o.position, o.nonce, o.epoch, \
     CASE WHEN o.first_partition = 0 AND NOT o.is_moved THEN o.layout END, \
     o.held, o.waits_at, o.scheme, o.is_moved";

/// What is done with the offsets that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Nobody else can move them until the transaction ends.
    Lock,
    /// Their epoch is raised first.
    TakeOver,
}

/// Queues and partition numbers as the first two parameters.
pub(super) fn partition_columns(partitions: &[Partition]) -> Vec<ColumnArray> {
    let queues = partitions.iter().map(|partition| partition.queue);
    let numbers = partitions.iter().map(|partition| partition.number.to_string());
    vec![ColumnArray::of_texts(queues), ColumnArray::of_texts(numbers)]
}

/// Makes sure that partitions have an offset row. Where the number of partitions was changed, all that
/// there are have one.
pub(super) async fn create(
    connection: &mut AsyncPgConnection,
    partitions: &[Partition],
    layout: u16,
) -> Result<(), DurableStoreError> {
    let sql = format!(
        "INSERT INTO kv_offsets (queue, partition, layout) \
         SELECT u.c0, u.c1::int, u.c2::int FROM {} WHERE NOT EXISTS \
         (SELECT 1 FROM kv_offsets AS o WHERE o.queue = u.c0 AND o.first_partition > 0) \
         ON CONFLICT (queue, partition) DO NOTHING",
        unnest(3, "")
    );
    let mut parameters = partition_columns(partitions);
    let layout = layout.to_string();
    parameters.push(ColumnArray::of_texts(partitions.iter().map(|_| layout.as_str())));
    Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    Ok(())
}

/// The offsets of partitions, in their order.
pub(super) async fn load(
    connection: &mut AsyncPgConnection,
    partitions: &[Partition],
    layout: u16,
    access: Access,
) -> Result<Vec<Offset>, DurableStoreError> {
    let rows = unnest(2, "");
    let is_same = "o.queue = u.c0 AND o.partition = u.c1::int";
    let sql = match access {
        Access::TakeOver => format!(
            "UPDATE kv_offsets AS o SET epoch = o.epoch + 1, updated_at = now() FROM {rows} \
             WHERE {is_same} RETURNING {COLUMNS}"
        ),
        Access::Read | Access::Lock => {
            // In one order, so that two who lock several cannot wait for each other.
            let lock = if access == Access::Lock {
                " ORDER BY o.queue, o.partition FOR UPDATE OF o"
            } else {
                ""
            };
            format!("SELECT {COLUMNS} FROM {rows} JOIN kv_offsets AS o ON {is_same}{lock}")
        }
    };
    let statement = Statement { sql, parameters: partition_columns(partitions) };
    let rows: Vec<OffsetRow> =
        Query::<OffsetSql>::new(statement).load(connection).await.map_err(classify)?;
    let find = |&partition: &Partition| {
        let number = i32::from(partition.number);
        let row = rows.iter().find(|row| row.0 == partition.queue && row.1 == number);
        row.map_or(Ok(Offset::start(partition)), |row| decode(partition, row, layout))
    };
    partitions.iter().map(find).collect()
}

fn decode(partition: Partition, row: &OffsetRow, layout: u16) -> Result<Offset, DurableStoreError> {
    let (_, _, position, nonce, epoch, row_layout, held, waits_at, scheme, is_moved) = row;
    if let Some(row_layout) = row_layout.filter(|written| *written != i32::from(layout)) {
        return Err(DurableStoreError::Configuration(
            format!(
                "queue `{}` was written with {row_layout} partitions, but the settings say \
                 {layout}; set `partitions` to {row_layout}",
                partition.queue
            )
            .into(),
        ));
    }
    let waits_at = waits_at.as_deref().map(str::parse).transpose();
    Ok(Offset {
        partition,
        position: position.parse().map_err(|_| malformed("kv_offsets"))?,
        nonce: nonce.clone(),
        epoch: *epoch,
        held: *held,
        waits_at: waits_at.map_err(|_| malformed("kv_offsets"))?,
        scheme: scheme.parse().map_err(|_| malformed("kv_offsets"))?,
        is_moved: *is_moved,
    })
}

/// Changes the scheme of partitions that have this one; answers how many there were.
pub(super) async fn set_scheme(
    connection: &mut AsyncPgConnection,
    partitions: &[Partition],
    from: StorageScheme,
    to: StorageScheme,
) -> Result<usize, DurableStoreError> {
    let sql = format!(
        "UPDATE kv_offsets AS o SET scheme = u.c3, epoch = o.epoch + 1, nonce = '', \
         updated_at = now() FROM {} \
         WHERE o.queue = u.c0 AND o.partition = u.c1::int AND o.scheme = u.c2",
        unnest(4, "")
    );
    let mut parameters = partition_columns(partitions);
    for scheme in [from, to] {
        parameters.push(ColumnArray::of_texts(partitions.iter().map(|_| scheme.name())));
    }
    Statement { sql, parameters }.execute(connection).await.map_err(classify)
}

/// A layout as PostgreSQL has it.
#[derive(diesel::QueryableByName)]
struct LayoutRow {
    #[diesel(sql_type = Integer)]
    first_partition: i32,
    #[diesel(sql_type = Integer)]
    layout: i32,
}

/// The layouts that a queue has had, the oldest first.
pub(super) async fn layouts(
    connection: &mut AsyncPgConnection,
    queue: &str,
) -> Result<Vec<Layout>, DurableStoreError> {
    let sql = "SELECT DISTINCT first_partition, layout FROM kv_offsets WHERE queue = $1 \
               ORDER BY first_partition";
    let query = diesel::sql_query(sql).bind::<Text, _>(queue);
    let rows: Vec<LayoutRow> = query.load(connection).await.map_err(classify)?;
    let layout = |LayoutRow { first_partition, layout }: LayoutRow| {
        let (first, count) = (u16::try_from(first_partition), u16::try_from(layout));
        Some(Layout { first: first.ok()?, count: count.ok()? })
    };
    let layouts: Option<Vec<Layout>> = rows.into_iter().map(layout).collect();
    layouts.ok_or_else(|| malformed("kv_offsets"))
}

/// Has a queue go on with other partitions than those of these offsets, which are locked.
pub(super) async fn change_layout(
    connection: &mut AsyncPgConnection,
    from: &[Offset],
    to: Layout,
) -> Result<(), DurableStoreError> {
    let Some(first) = from.first() else { return Ok(()) };
    let sql = format!(
        "UPDATE kv_offsets AS o SET is_moved = true, epoch = o.epoch + 1, updated_at = now() \
         FROM {} WHERE o.queue = u.c0 AND o.partition = u.c1::int AND NOT o.is_moved",
        unnest(2, "")
    );
    let old: Vec<Partition> = from.iter().map(|offset| offset.partition).collect();
    let statement = Statement { sql, parameters: partition_columns(&old) };
    if statement.execute(connection).await.map_err(classify)? < old.len() {
        return Err(DurableStoreError::OffsetMoved);
    }
    let sql = format!(
        "INSERT INTO kv_offsets \
         (queue, partition, first_partition, layout, position, scheme, epoch) \
         SELECT u.c0, u.c1::int, u.c2::int, u.c3::int, u.c4, u.c5, 1 FROM {}",
        unnest(6, "")
    );
    let new: Vec<Partition> = to.partitions(first.partition.queue).collect();
    let position = from.iter().map(|offset| offset.position).max().unwrap_or_default();
    let mut parameters = partition_columns(&new);
    let same = [
        to.first.to_string(),
        to.count.to_string(),
        position.to_string(),
        first.scheme.name().to_owned(),
    ];
    for value in &same {
        parameters.push(ColumnArray::of_texts(new.iter().map(|_| value.as_str())));
    }
    Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    Ok(())
}

/// Moves offsets, if all of them are still where this drainer left them.
pub(super) async fn move_all(
    connection: &mut AsyncPgConnection,
    moves: &[OffsetMove],
) -> Result<(), DurableStoreError> {
    let partitions: Vec<Partition> = moves.iter().map(|step| step.to.partition).collect();
    let mut parameters = partition_columns(&partitions);
    let mut add = |text: fn(&OffsetMove) -> Option<String>| {
        parameters.push(ColumnArray::of_nullable_texts(moves.iter().map(text)));
    };
    add(|step| Some(step.to.epoch.to_string()));
    add(|step| Some(step.from.to_string()));
    add(|step| Some(step.from_held.to_string()));
    add(|step| Some(step.to.position.to_string()));
    add(|step| Some(step.to.nonce.clone()));
    add(|step| Some(step.to.held.to_string()));
    add(|step| step.to.waits_at.map(|entry| entry.to_string()));
    let sql = format!(
        "UPDATE kv_offsets AS o SET position = u.c5, nonce = u.c6, held = u.c7::bigint, \
         waits_at = u.c8, updated_at = now() FROM {} \
         WHERE o.queue = u.c0 AND o.partition = u.c1::int AND o.epoch = u.c2::bigint \
         AND o.position = u.c3 AND o.held = u.c4::bigint",
        unnest(9, "")
    );
    let moved = Statement { sql, parameters }.execute(connection).await.map_err(classify)?;
    if moved == moves.len() { Ok(()) } else { Err(DurableStoreError::OffsetMoved) }
}
