//! A column's type is that of a decimal number, with its digits.

use kv_runtime::KvModel;
use rust_decimal::Decimal;

#[derive(KvModel)]
struct Stream {
    #[kv(id)]
    id: i64,
    #[kv(column_type = "text")]
    rate: Decimal,
    #[kv(column_type = "numeric(2, 3)")]
    fee: Decimal,
    #[kv(column_type = numeric)]
    paid: Decimal,
}

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: i64,
    #[kv(column_type = "numeric(38, 0)")]
    fare: Option<i64>,
}

fn main() {}
