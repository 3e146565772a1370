//! Buckets, who keeps them, and what is counted of them.

use std::sync::Arc;

use kv_storage_backend::Page;
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::samples::{a_bucket, new_bucket, new_file, new_msp, onchain_id};
use crate::contract;

contract!(
    buckets_of_a_user_and_an_msp_are_paged_with_their_total,
    a_bucket_leaves_its_msp,
    what_the_chain_calls_a_bucket_is_one_buckets,
    files_are_counted_exactly_by_many_at_once,
    a_bucket_with_files_is_not_deleted,
);

async fn buckets_of_a_user_and_an_msp_are_paged_with_their_total(backend: Backend) {
    let msp = backend.db.create_msp(new_msp(1), &[]).await.expect("a new row");
    let mut buckets = Vec::new();
    for number in 1..=7 {
        let new = new_bucket(number, (number != 4).then_some(msp.id));
        buckets.push(backend.db.create_bucket(new).await.expect("a new row"));
        if number == 3 {
            backend.drained().await;
        }
    }
    buckets.remove(3);
    let listed = async |page| {
        let listed = backend.db.list_buckets_of_user("user", msp.id, page).await.expect("rows");
        assert_eq!(listed.total, 6);
        listed.rows
    };
    assert_eq!(listed(Page::new(2, 1)).await, buckets[1..3]);
    assert_eq!(listed(Page::default()).await, buckets);
    assert_eq!(listed(Page::new(2, 9)).await, []);
    let nobodys = backend.db.list_buckets_of_user("nobody", msp.id, Page::default()).await;
    assert_eq!(nobodys.expect("no rows").total, 0);
    backend.drained().await;
}

async fn a_bucket_leaves_its_msp(backend: Backend) {
    let msp = backend.db.create_msp(new_msp(1), &[]).await.expect("a new row");
    let bucket = backend.db.create_bucket(new_bucket(1, Some(msp.id))).await.expect("a new row");
    backend.db.set_bucket_msp(bucket.id, None).await.expect("a row");
    let left = backend.db.get_bucket(bucket.id).await.expect("the row");
    assert_eq!((left.msp_id, &left.name), (None, &bucket.name));
    let listed = backend.db.list_buckets_of_user("user", msp.id, Page::default()).await;
    assert_eq!(listed.expect("no rows").total, 0);
    backend.drained().await;
    backend.db.set_bucket_msp(bucket.id, Some(msp.id)).await.expect("a row");
    backend.drained().await;
    assert_eq!(backend.db.get_bucket(bucket.id).await.expect("the row").msp_id, Some(msp.id));
}

async fn what_the_chain_calls_a_bucket_is_one_buckets(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let again = backend.db.create_bucket(new_bucket(1, None)).await.expect_err("a second one");
    assert!(again.is_duplicate() && again.is_constraint_violation(), "{again}");
    let found = backend.db.find_bucket_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    assert_eq!(found, Some(bucket.clone()));
    backend.db.delete_bucket(bucket.id).await.expect("a row");
    let found = backend.db.find_bucket_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    assert_eq!(found, None);
    assert_ne!(a_bucket(&*backend.db).await.id, bucket.id);
    backend.drained().await;
}

async fn files_are_counted_exactly_by_many_at_once(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let mut callers = JoinSet::new();
    for number in 0..100 {
        let (db, id) = (Arc::clone(&backend.db), bucket.id);
        callers.spawn(async move { db.create_file(new_file(number, id), &[]).await });
    }
    let mut bytes = 0;
    while let Some(created) = callers.join_next().await {
        bytes += created.expect("no panic").expect("a new row").size;
    }
    backend.drained().await;
    let counted = backend.db.get_bucket(bucket.id).await.expect("the row");
    assert_eq!((counted.file_count, counted.total_size), (100, bytes));
}

async fn a_bucket_with_files_is_not_deleted(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let _ = backend.db.create_file(new_file(1, bucket.id), &[]).await.expect("a new row");
    backend.drained().await;
    let deleted = backend.db.delete_bucket(bucket.id).await;
    assert!(backend.is_refused(deleted).await);
}
