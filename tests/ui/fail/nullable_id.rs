//! An id cannot be NULL, whatever hides the `Option`.

use kv_runtime::{KvModel, KvValue};

#[derive(Debug, Clone, PartialEq, KvValue)]
struct MerchantId(Option<i64>);

#[derive(KvModel)]
struct Booking {
    #[kv(id)]
    id: Option<i64>,
    #[kv(id)]
    merchant_id: MerchantId,
}

fn main() {}
