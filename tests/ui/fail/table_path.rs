//! The path is that of the module that `table!` makes.

use kv_runtime::KvModel;

mod schema {
    diesel::table! {
        bookings (id) {
            id -> BigInt,
        }
    }
}

#[derive(KvModel)]
#[kv(table = schema::booking)]
struct Missing {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(table = schema::bookings::table)]
struct TooLong {
    #[kv(id)]
    id: i64,
}

#[derive(KvModel)]
#[kv(table = "bookings", table_name = "bookings")]
struct Twice {
    #[kv(id)]
    id: i64,
}

fn main() {}
