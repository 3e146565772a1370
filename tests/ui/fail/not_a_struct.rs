//! What is no struct with named fields cannot be a model, and one message says so.

use kv_runtime::KvModel;

#[derive(KvModel)]
struct Tuple(i64, String);

#[derive(KvModel)]
struct Unit;

#[derive(KvModel)]
enum Status {
    Active,
}

#[derive(KvModel)]
union Bits {
    integer: u32,
    float: f32,
}

fn is_model<M: KvModel>() {}

fn main() {
    is_model::<Tuple>();
    is_model::<Unit>();
    is_model::<Status>();
    is_model::<Bits>();
}
