//! Files and the peers that bring them.

use kv_storage_backend::Page;
use kv_storage_backend::models::{Deletion, FileStep};
use kv_storage_backend::storage::{ReadStorage, WriteStorage};

use super::backend::Backend;
use super::samples::{a_bucket, digest, new_file};
use crate::contract;

contract!(
    a_file_comes_with_its_peers_and_is_counted,
    a_file_goes_with_its_peers_and_is_counted_no_longer,
    files_of_a_bucket_are_in_order_and_paged,
    the_oldest_and_the_latest_file_of_a_content_are_found,
    a_file_goes_from_step_to_step,
);

async fn a_file_comes_with_its_peers_and_is_counted(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let peers = [b"peer 1".to_vec(), b"peer 2".to_vec()];
    let file = backend.db.create_file(new_file(1, bucket.id), &peers).await.expect("a new row");
    assert_eq!((file.step, file.deletion), (FileStep::Requested, None));
    let again = backend.db.create_file(new_file(1, bucket.id), &peers).await;
    assert!(again.expect_err("a second one of the key").is_duplicate());
    backend.drained().await;
    let found = backend.db.find_file_by_key(&digest(1)).await.expect("an answer");
    assert_eq!(found, Some(file.clone()));
    let brought: Vec<Vec<u8>> = backend
        .db
        .list_peers_of_file(file.id)
        .await
        .expect("rows")
        .into_iter()
        .map(|row| row.peer)
        .collect();
    assert_eq!(brought, peers);
    let bucket = backend.db.get_bucket(bucket.id).await.expect("the row");
    assert_eq!((bucket.file_count, bucket.total_size), (1, file.size));
}

async fn a_file_goes_with_its_peers_and_is_counted_no_longer(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let peers = [b"peer".to_vec()];
    let file = backend.db.create_file(new_file(1, bucket.id), &peers).await.expect("a new row");
    let other = backend.db.create_file(new_file(2, bucket.id), &peers).await.expect("a new row");
    backend.drained().await;
    backend.db.delete_file(file.id).await.expect("a row");
    backend.drained().await;
    assert!(backend.db.get_file(file.id).await.expect_err("no row").is_not_found());
    assert_eq!(backend.db.find_file_by_key(&digest(1)).await.expect("an answer"), None);
    assert_eq!(backend.db.list_peers_of_file(file.id).await.expect("no rows"), []);
    assert_eq!(backend.db.list_peers_of_file(other.id).await.expect("rows").len(), 1);
    let bucket = backend.db.get_bucket(bucket.id).await.expect("the row");
    assert_eq!((bucket.file_count, bucket.total_size), (1, other.size));
    assert!(backend.db.delete_file(file.id).await.expect_err("no row").is_not_found());
    let uncounted = backend.db.get_bucket(bucket.id).await.expect("the row");
    assert_eq!(uncounted, bucket, "what is not there is not counted off");
}

async fn files_of_a_bucket_are_in_order_and_paged(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let mut files = Vec::new();
    for number in 1..=5 {
        let new = new_file(number, bucket.id);
        files.push(backend.db.create_file(new, &[]).await.expect("a new row"));
        if number == 2 {
            backend.drained().await;
        }
    }
    let listed = async |page| backend.db.list_files_of_bucket(bucket.id, page).await.expect("rows");
    assert_eq!(listed(Page::default()).await, files);
    assert_eq!(listed(Page::new(2, 1)).await, files[1..3]);
    assert_eq!(listed(Page::new(2, 5)).await, []);
    assert_eq!(backend.db.list_files_of_bucket(99, Page::default()).await.expect("none"), []);
    backend.drained().await;
}

async fn the_oldest_and_the_latest_file_of_a_content_are_found(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let mut files = Vec::new();
    for number in 1..=5 {
        let new = new_file(number, bucket.id);
        files.push(backend.db.create_file(new, &[]).await.expect("a new row"));
        if number == 3 {
            backend.drained().await;
        }
    }
    // Files 1, 3 and 5 have the content 1.
    let oldest = backend.db.find_oldest_file(&digest(1)).await.expect("an answer");
    assert_eq!(oldest, Some(files[0].clone()));
    let latest = backend.db.find_latest_file(&digest(1)).await.expect("an answer");
    assert_eq!(latest, Some(files[4].clone()));
    assert_eq!(backend.db.find_latest_file(&digest(9)).await.expect("an answer"), None);
    backend.drained().await;
}

async fn a_file_goes_from_step_to_step(backend: Backend) {
    let bucket = a_bucket(&*backend.db).await;
    let file = backend.db.create_file(new_file(1, bucket.id), &[]).await.expect("a new row");
    backend.db.set_file_step(file.id, FileStep::Stored).await.expect("a row");
    backend.db.set_file_deletion(file.id, Some(Deletion::Unpaid)).await.expect("a row");
    backend.drained().await;
    let marked = backend.db.get_file(file.id).await.expect("the row");
    assert_eq!((marked.step, marked.deletion), (FileStep::Stored, Some(Deletion::Unpaid)));
    backend.db.set_file_deletion(file.id, None).await.expect("a row");
    backend.drained().await;
    let kept = backend.db.get_file(file.id).await.expect("the row");
    assert_eq!((kept.step, kept.deletion), (FileStep::Stored, None));
    assert_eq!((kept.created_at, kept.file_key), (file.created_at, file.file_key));
}
