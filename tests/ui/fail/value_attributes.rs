//! The mistakes in a value's attributes.

use kv_runtime::KvValue;

#[derive(Debug, KvValue)]
enum Duplicate {
    OnTrip,
    #[kv(rename = "on_trip")]
    Riding,
}

struct SqlStatus;

#[derive(Debug, KvValue)]
#[kv(sql_type = SqlStatus)]
enum WithoutPgType {
    Active,
}

#[derive(Debug, KvValue)]
#[kv(pg_type = status)]
enum Unquoted {
    #[kv(rename = active)]
    Active,
}

#[derive(Debug, KvValue)]
#[kv(pg_type = "reference")]
struct Reference(#[kv(rename = "r")] String);

fn main() {}
