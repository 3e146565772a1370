//! A row has one type: neither type parameters nor lifetimes.

use kv_runtime::{KvModel, KvValue};

#[derive(KvModel)]
struct Booking<T> {
    #[kv(id)]
    id: T,
}

#[derive(KvModel)]
struct Borrowed<'a> {
    #[kv(id)]
    id: &'a str,
}

#[derive(Debug, KvValue)]
struct Wrapper<T>(T);

fn main() {}
