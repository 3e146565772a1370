//! The table with a single row.

use kv_storage_backend::models::ServiceState;
use kv_storage_backend::storage::{ReadStorage, WriteStorage};

use super::backend::Backend;
use crate::contract;

contract!(the_service_has_one_state);

async fn the_service_has_one_state(backend: Backend) {
    assert_eq!(backend.db.find_service_state().await.expect("an answer"), None);
    backend.db.set_last_indexed_block(7).await.expect("a row");
    let first = backend.db.find_service_state().await.expect("an answer").expect("the row");
    backend.drained().await;
    backend.db.set_last_indexed_block(8).await.expect("a row");
    backend.drained().await;
    let second = backend.db.find_service_state().await.expect("an answer").expect("the row");
    assert_eq!((first.last_indexed_block, second.last_indexed_block), (7, 8));
    assert_eq!(second.created_at, first.created_at);
    assert!(second.updated_at > first.updated_at);
    let rows = backend.kv.durable_rows::<ServiceState>().await.expect("the rows");
    assert_eq!(rows, [second]);
}
