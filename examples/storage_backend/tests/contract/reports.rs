//! The queries that are written by hand, and their answers in memory.

use std::collections::BTreeSet;

use bigdecimal::BigDecimal;
use kv_storage_backend::Page;
use kv_storage_backend::models::{Bucket, File, NewBucket};
use kv_storage_backend::reports::{FileOfUser, Usage};
use kv_storage_backend::storage::WriteStorage;
use kv_storage_backend::values::Amount;

use super::backend::Backend;
use super::samples::{new_bsp, new_bucket, new_file, new_msp};
use crate::contract;

contract!(
    files_are_joined_with_their_buckets,
    what_an_msp_keeps_is_added_up,
    bsps_are_picked_at_random,
);

/// Two buckets of a user and one of another, with a file, two and four.
async fn three_buckets(backend: &Backend, msp_id: Option<i64>) -> Vec<(Bucket, Vec<File>)> {
    let mut buckets = Vec::new();
    for (number, files) in [(1, 1), (2, 2), (3, 4)] {
        let user_account = if number == 3 { "other" } else { "user" }.to_owned();
        let new = NewBucket { user_account, ..new_bucket(number, msp_id) };
        let bucket = backend.db.create_bucket(new).await.expect("a new row");
        let mut of_bucket = Vec::new();
        for file in 0..files {
            let new = new_file(number * 10 + file, bucket.id);
            of_bucket.push(backend.db.create_file(new, &[]).await.expect("a new row"));
        }
        buckets.push((bucket, of_bucket));
    }
    backend.drained().await;
    buckets
}

async fn files_are_joined_with_their_buckets(backend: Backend) {
    let buckets = three_buckets(&backend, None).await;
    let of_user = buckets[..2].iter().flat_map(|(bucket, files)| {
        files.iter().map(|file| FileOfUser {
            file_id: file.id,
            location: file.location.clone(),
            bucket_name: bucket.name.clone(),
        })
    });
    let expected: Vec<FileOfUser> = of_user.collect();
    let listed =
        async |page| backend.reports.list_files_of_user("user", page).await.expect("an answer");
    assert_eq!(listed(Page::default()).await, expected);
    assert_eq!(listed(Page::new(1, 1)).await, expected[1..2]);
    assert_eq!(listed(Page::new(1, 3)).await, []);
}

async fn what_an_msp_keeps_is_added_up(backend: Backend) {
    let msp = backend.db.create_msp(new_msp(1), &[]).await.expect("a new row");
    assert_eq!(backend.reports.usage_by_msp().await.expect("an answer"), []);
    let buckets = three_buckets(&backend, Some(msp.id)).await;
    backend.db.set_bucket_msp(buckets[1].0.id, None).await.expect("a row");
    backend.drained().await;
    let files = [&*buckets[0].1, &*buckets[2].1].concat();
    let bytes = BigDecimal::from(files.iter().map(|file| file.size).sum::<i64>());
    let usage = backend.reports.usage_by_msp().await.expect("an answer");
    assert_eq!(usage, [Usage { msp_id: msp.id, files: 5, bytes }]);
}

async fn bsps_are_picked_at_random(backend: Backend) {
    let mut all = BTreeSet::new();
    for number in 0..5 {
        all.insert(backend.db.create_bsp(new_bsp(number), &[]).await.expect("a new row").id);
    }
    backend.drained().await;
    // One of five is not the same one again and again, but once in 5^59.
    let mut picked = BTreeSet::new();
    for _ in 0..60 {
        let one = backend.reports.pick_bsps(1).await.expect("an answer");
        assert_eq!(one.len(), 1);
        picked.insert(one[0].id);
    }
    assert!(picked.len() > 1 && picked.is_subset(&all), "{picked:?} of {all:?}");
    let id = *picked.first().expect("one of them");
    backend.db.set_bsp_capacity(id, Amount::from(1)).await.expect("a row");
    let everyone = backend.reports.pick_bsps(9).await.expect("an answer");
    assert_eq!(everyone.iter().map(|bsp| bsp.id).collect::<BTreeSet<_>>(), all);
    let changed = everyone.iter().find(|bsp| bsp.id == id).expect("one of them");
    assert_eq!(changed.capacity, Amount::from(1), "the row as it is by now");
}
