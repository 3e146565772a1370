//! The connections to PostgreSQL: how many there are, how they come up, who answers over them, and
//! what a test has in their place.

mod pool {
    use diesel::QueryableByName;
    use diesel::sql_types::Text;
    use diesel_async::{AsyncPgConnection, RunQueryDsl};

    mod checkouts;
    mod isolation;
    mod replicas;
    mod start_up;
    mod tls;

    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Text)]
        value: String,
    }

    /// What a query answers, which is to have one text named `value`.
    async fn ask(connection: &mut AsyncPgConnection, sql: &str) -> String {
        let answer: Answer =
            diesel::sql_query(sql).get_result(connection).await.expect("valid SQL");
        answer.value
    }
}
