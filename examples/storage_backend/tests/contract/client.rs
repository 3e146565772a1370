//! What the client adds to the storage behind it.

use std::sync::Arc;

use kv_storage_backend::storage::{KvStorage, ReadStorage, WriteStorage};
use kv_storage_backend::values::Amount;
use kv_storage_backend::{ClientSettings, DBClient, Page};

use super::backend::Backend;
use super::samples::{new_bsp, new_bucket};
use crate::contract;

contract!(
    an_answer_without_a_limit_has_the_clients,
    what_is_written_is_read_at_once_though_it_was_kept,
    business_code_sees_the_traits_alone,
);

/// A client of its own in front of the same stores.
fn client(backend: &Backend, page_limit: u64) -> DBClient {
    let storage = Arc::new(KvStorage::new(backend.kv.clone()));
    let page_limit = page_limit.try_into().expect("a limit");
    DBClient::new(storage, ClientSettings { page_limit, ..ClientSettings::default() })
}

async fn an_answer_without_a_limit_has_the_clients(backend: Backend) {
    for number in 0..5 {
        let _ = backend.db.create_bsp(new_bsp(number), &[]).await.expect("a new row");
    }
    let limited = client(&backend, 3);
    let count = async |page| limited.list_bsps(page).await.expect("rows").len();
    assert_eq!(count(Page::default()).await, 3);
    assert_eq!(count(Page { limit: None, offset: 3 }).await, 2);
    assert_eq!(count(Page::new(4, 0)).await, 4, "who names one has it");
}

async fn what_is_written_is_read_at_once_though_it_was_kept(backend: Backend) {
    let bsp = backend.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    for round in 1..=20 {
        backend.db.set_bsp_capacity(bsp.id, Amount::from(round)).await.expect("a row");
        for _ in 0..2 {
            let read = backend.db.get_bsp(bsp.id).await.expect("the row");
            assert_eq!(read.capacity, Amount::from(round));
        }
    }
    backend.db.delete_bsp(bsp.id).await.expect("a row");
    assert!(backend.db.get_bsp(bsp.id).await.expect_err("no row").is_not_found());
}

/// Business code, which knows neither the client nor what is behind it.
struct Census {
    storage: Arc<dyn ReadStorage>,
}

impl Census {
    async fn names_of_buckets(&self) -> Vec<(i64, Vec<u8>)> {
        let mut names = Vec::new();
        for id in 0..100 {
            if let Ok(bucket) = self.storage.get_bucket(id).await {
                names.push((id, bucket.name));
            }
        }
        names
    }
}

async fn business_code_sees_the_traits_alone(backend: Backend) {
    let writer: Arc<dyn WriteStorage> = backend.db.clone();
    let bucket = writer.create_bucket(new_bucket(1, None)).await.expect("a new row");
    assert!(bucket.id < 100, "the first of a sequence");
    let cached = Census { storage: backend.db.clone() };
    let plain = Census { storage: Arc::new(KvStorage::new(backend.kv.clone())) };
    let expected = [(bucket.id, bucket.name)];
    assert_eq!(cached.names_of_buckets().await, expected);
    assert_eq!(plain.names_of_buckets().await, expected);
}
