//! Equal ids have one text, because a row is found by it.

use kv_runtime::{KvModel, KvValue};
use rust_decimal::Decimal;

#[derive(Debug, Clone, PartialEq, KvValue)]
struct Amount(Decimal);

/// This one can be, though its column is that of an amount.
#[derive(Debug, Clone, PartialEq, KvValue)]
struct Number(u64);

#[derive(KvModel)]
struct Price {
    #[kv(id)]
    amount: Amount,
    #[kv(id)]
    weight: f64,
    #[kv(id)]
    sizes: Vec<f32>,
    #[kv(id)]
    terms: serde_json::Value,
    #[kv(id)]
    names: Vec<String>,
    #[kv(id)]
    number: Number,
}

fn main() {}
