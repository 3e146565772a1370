//! A table's name is one that SQL can have, with or without its schema.

use kv_runtime::KvModel;

#[derive(KvModel)]
#[kv(table = "schema::bookings")]
struct Path {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(table = ".bookings")]
struct WithoutSchema {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(table = "app. bookings")]
struct Spaced {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(table = "rides.app.bookings")]
struct WithDatabase {
    #[kv(id)]
    id: i64,
}

mod schema {
    diesel::table! {
        bookings (id) {
            id -> BigInt,
        }
    }
}

#[derive(KvModel)]
#[kv(table = schema::bookings, table_name = "bookings ")]
struct Given {
    #[kv(id)]
    id: i64,
}

fn main() {}
