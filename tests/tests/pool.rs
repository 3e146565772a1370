//! The connections to PostgreSQL: how many there are, how they come up, and what they are like.

#[path = "pool/checkouts.rs"]
mod checkouts;
#[path = "pool/isolation.rs"]
mod isolation;
#[path = "pool/replicas.rs"]
mod replicas;
#[path = "pool/start_up.rs"]
mod start_up;
#[path = "pool/tls.rs"]
mod tls;

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    value: String,
}

/// What a query answers, which is to have one text named `value`.
async fn ask(connection: &mut AsyncPgConnection, sql: &str) -> String {
    let answer: Answer = diesel::sql_query(sql).get_result(connection).await.expect("valid SQL");
    answer.value
}
