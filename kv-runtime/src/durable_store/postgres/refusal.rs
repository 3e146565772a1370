//! Looking for the dead letter of an entry.

use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::durable_store::Refusal;
use crate::entry::EntryId;
use crate::key::Partition;

/// A letter that was released is applied: it is left for whoever tidies up.
const FIND: &str = "SELECT message, sqlstate FROM kv_dead_letters \
     WHERE queue = $1 AND partition = $2 AND entry = $3 AND NOT released";

#[derive(QueryableByName)]
struct Letter {
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Nullable<Text>)]
    sqlstate: Option<String>,
}

/// Why an entry was refused, if it was.
pub(super) async fn find(
    connection: &mut AsyncPgConnection,
    partition: Partition,
    entry: EntryId,
) -> QueryResult<Option<Refusal>> {
    let letter: Option<Letter> = diesel::sql_query(FIND)
        .bind::<Text, _>(partition.queue)
        .bind::<Integer, _>(i32::from(partition.number))
        .bind::<Text, _>(entry.to_string())
        .get_result(connection)
        .await
        .optional()?;
    Ok(letter.map(|Letter { message, sqlstate }| Refusal { message, sqlstate }))
}
