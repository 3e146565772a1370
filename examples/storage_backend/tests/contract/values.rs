//! What is written is read again, from wherever it is.

use std::fmt::Debug;

use kv_runtime::KvModel;
use kv_storage_backend::models::{
    Bsp, Bucket, File, Msp, Multiaddress, PaymentStream, PeerId, ServiceState, Terms,
};
use kv_storage_backend::storage::WriteStorage;

use super::backend::Backend;
use super::samples::{
    digest, most, new_bsp, new_bucket, new_file, new_msp, new_stream, onchain_id,
};
use crate::contract;

contract!(values_of_every_kind_come_back_bit_by_bit);

/// Reads a row as it is, once it is drained, and from the table alone.
async fn comes_back<M: KvModel + Debug + PartialEq>(backend: &Backend, row: M) {
    let (rows, id) = (backend.kv.repository::<M>(), row.row_id());
    assert_eq!(rows.get_by_id(&id).await.expect("the row"), row);
    backend.drained().await;
    assert_eq!(rows.get_by_id(&id).await.expect("the row"), row);
    rows.invalidate(&id).await.expect("a clean row");
    assert_eq!(rows.get_by_id(&id).await.expect("the row"), row);
    assert!(backend.kv.durable_rows::<M>().await.expect("the rows").contains(&row));
}

async fn values_of_every_kind_come_back_bit_by_bit(backend: Backend) {
    let db = &backend.db;
    let addresses = [vec![], (0..=255).collect()];
    let bsp = db.create_bsp(new_bsp(1), &addresses).await.expect("a new row");
    let msp = db.create_msp(new_msp(2), &[]).await.expect("a new row");
    let bucket = db.create_bucket(new_bucket(3, Some(msp.id))).await.expect("a new row");
    let unkept = db.create_bucket(new_bucket(4, None)).await.expect("a new row");
    let file = db.create_file(new_file(5, unkept.id), &addresses).await.expect("a new row");
    let terms = Terms::Dynamic { amount_provided: most() };
    let stream = new_stream(6, terms.clone());
    let stream = db.create_payment_stream(stream).await.expect("a new row");
    db.set_last_indexed_block(i64::MAX).await.expect("a row");

    assert_eq!((bsp.onchain_bsp_id, &bsp.stake), (onchain_id(1), &most()));
    assert_eq!(msp.value_prop, new_msp(2).value_prop);
    assert_eq!((bucket.name[2..].to_vec(), bucket.msp_id), (vec![0, 0xff], Some(msp.id)));
    assert_eq!((file.file_key, file.fingerprint), (digest(5), digest(1)));
    assert_eq!(stream.terms(), Ok(terms));
    comes_back::<Bsp>(&backend, bsp).await;
    comes_back::<Msp>(&backend, msp).await;
    comes_back::<Bucket>(&backend, bucket).await;
    comes_back::<File>(&backend, file).await;
    comes_back::<PaymentStream>(&backend, stream).await;
    for row in backend.kv.durable_rows::<Multiaddress>().await.expect("the rows") {
        assert!(addresses.contains(&row.address));
        comes_back(&backend, row).await;
    }
    for row in backend.kv.durable_rows::<PeerId>().await.expect("the rows") {
        assert!(addresses.contains(&row.peer));
        comes_back(&backend, row).await;
    }
    for row in backend.kv.durable_rows::<ServiceState>().await.expect("the rows") {
        assert_eq!(row.last_indexed_block, i64::MAX);
        comes_back(&backend, row).await;
    }
}
