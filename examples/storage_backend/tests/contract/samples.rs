//! Rows that differ by a number.

use bigdecimal::BigDecimal;
use kv_storage_backend::models::{
    Bucket, NewBsp, NewBucket, NewFile, NewMsp, NewPaymentStream, Terms,
};
use kv_storage_backend::storage::WriteStorage;
use kv_storage_backend::values::{Amount, Digest, OnchainId};

/// 32 bytes that begin with the number, and have every kind of byte in them.
fn bytes(number: u8) -> [u8; 32] {
    std::array::from_fn(|at| match at {
        0 => number,
        _ => u8::try_from(at * 37 % 256).expect("below 256"),
    })
}

pub(crate) fn onchain_id(number: u8) -> OnchainId {
    OnchainId(bytes(number))
}

pub(crate) fn digest(number: u8) -> Digest {
    Digest(bytes(number))
}

pub(crate) fn amount(digits: &str) -> Amount {
    let number: BigDecimal = digits.parse().expect("a number");
    number.try_into().expect("an amount")
}

/// The most that `numeric(38, 0)` can hold.
pub(crate) fn most() -> Amount {
    amount(&"9".repeat(38))
}

pub(crate) fn new_bsp(number: u8) -> NewBsp {
    NewBsp {
        onchain_bsp_id: onchain_id(number),
        account: format!("account {number}"),
        capacity: Amount::from(1 << 40),
        stake: most(),
    }
}

pub(crate) fn new_msp(number: u8) -> NewMsp {
    NewMsp {
        onchain_msp_id: onchain_id(number),
        account: format!("account {number}"),
        capacity: Amount::from(1 << 50),
        value_prop: "cheap & é 漢".to_owned(),
    }
}

pub(crate) fn new_bucket(number: u8, msp_id: Option<i64>) -> NewBucket {
    NewBucket {
        onchain_bucket_id: onchain_id(number),
        user_account: "user".to_owned(),
        msp_id,
        name: vec![b'b', number, 0, 0xff],
        collection_id: None,
        private: number % 2 == 1,
    }
}

pub(crate) fn new_file(number: u8, bucket_id: i64) -> NewFile {
    NewFile {
        file_key: digest(number),
        bucket_id,
        location: format!("/files/{number}").into_bytes(),
        fingerprint: digest(number % 2),
        size: 1_000 + i64::from(number),
    }
}

pub(crate) fn new_stream(number: u8, terms: Terms) -> NewPaymentStream {
    NewPaymentStream::new("user", format!("provider {number}"), terms)
}

/// A bucket that nobody keeps.
pub(crate) async fn a_bucket(storage: &dyn WriteStorage) -> Bucket {
    storage.create_bucket(new_bucket(1, None)).await.expect("a new row")
}

/// SQL of the first BSP, as a snapshot of the table has it.
pub(crate) fn snapshot_of_a_bsp() -> String {
    format!(
        "INSERT INTO bsps (onchain_bsp_id, account, capacity, stake, merkle_root, created_at, \
         updated_at) VALUES ('{}', 'a', 1, 2, decode(repeat('00', 32), 'hex'), now(), now());",
        onchain_id(1)
    )
}
