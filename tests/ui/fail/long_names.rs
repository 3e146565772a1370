//! PostgreSQL cuts off names that are longer than 63 bytes.

use kv_runtime::{KvModel, KvValue};

#[derive(KvModel)]
#[kv(table = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(column = "éééééééééééééééééééééééééééééééé")]
    note: String,
    #[kv(column = "note")]
    a_field_of_which_the_name_alone_would_be_too_long_for_any_column: String,
    a_field_of_which_the_name_itself_is_to_be_that_of_a_column_here_x: State,
}

#[derive(KvModel)]
struct BookingsOfRidersWhoHaveAskedForDriversOfTheirOwnTownOrItsSuburbs {
    #[kv(id)]
    id: i64,
}

#[derive(Debug, Clone, Copy, KvValue)]
#[kv(pg_type = "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss")]
enum State {
    Active,
}

fn main() {}
