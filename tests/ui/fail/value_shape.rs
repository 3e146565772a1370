//! A value is an enum of unit variants or a struct with one field.

use kv_runtime::KvValue;

#[derive(Debug, KvValue)]
enum WithData {
    Empty,
    Tuple(i64),
    Named { fare: i64 },
}

#[derive(Debug, KvValue)]
enum Empty {}

#[derive(Debug, KvValue)]
struct Two(i64, i64);

#[derive(Debug, KvValue)]
struct None;

#[derive(KvValue)]
union Bits {
    integer: u32,
    float: f32,
}

fn main() {}
