//! A read-only handle has no method that writes, by whatever trait it is looked at.

use std::sync::Arc;

use kv_runtime::{Kv, KvModel, ReadRepository, WriteRepository};

#[derive(Debug, Clone, KvModel)]
struct Booking {
    #[kv(id, fresh)]
    id: i64,
    status: String,
}

async fn run() {
    let booking = Booking { id: 7, status: String::new() };
    let read_only = Kv::memory().repository::<Booking>().read_only();
    let _ = read_only.get_by_id(&7).await;
    let _ = read_only.create(&booking).await;
    let shared: Arc<dyn ReadRepository<Booking>> = Arc::new(read_only.clone());
    let _ = shared.delete(&7).await;
    let _: Arc<dyn WriteRepository<Booking>> = Arc::new(read_only);
}

fn main() {}
