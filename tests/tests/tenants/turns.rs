//! Tenants take turns: one that is written to without end keeps no other waiting.

use std::time::{Duration, Instant};

use kv_tests::contract;
use kv_tests::models::Account;
use kv_tests::pair::Pair;

use super::common::{account, create, rows};

/// Entries of the flood, and of a batch.
const FLOOD: i64 = 6_000;
const BATCH: usize = 10;
const ROUNDS: i64 = 5;

contract!(in parallel: a_flood_of_one_tenant_keeps_no_other_waiting);

async fn a_flood_of_one_tenant_keeps_no_other_waiting(pair: Pair) {
    // One worker for all, so that the tenants have to take turns.
    let pair = pair.with(|settings| {
        settings.drain.batch_entries = BATCH;
        settings.drain.workers = 1;
    });
    let pair = pair.await;
    let (loud, quiet) = (pair.tenant("loud").await, pair.tenant("quiet").await);
    let drainer = pair.kv.drainer().model::<Account>().all_tenants().spawn();
    // Both are at work before it begins.
    for tenant in [&loud, &quiet] {
        create(&tenant.kv, -1).await;
    }
    drainer.flush().await.expect("everything can be drained");

    let flood: Vec<Account> = (0..FLOOD).map(account).collect();
    for chunk in flood.chunks(500) {
        for written in loud.kv.repository::<Account>().create_many(chunk).await {
            let _ = written.expect("a new row");
        }
    }
    let accounts = quiet.kv.repository::<Account>();
    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        let (before, started) = (rows(&loud.kv).await, Instant::now());
        let receipt = accounts.create(&account(round)).await.expect("a new row");
        let waited = tokio::time::timeout(Duration::from_secs(60), receipt.await_durable()).await;
        waited.expect("it has its turn").expect("PostgreSQL takes it");
        let batches = (rows(&loud.kv).await - before) / BATCH;
        waits.push((batches, started.elapsed()));
    }
    let left = usize::try_from(FLOOD).expect("some") + 1 - rows(&loud.kv).await;
    println!("the quiet one waited (batches of the loud one, time): {waits:?}; {left} were left");
    assert!(left > 0, "the quiet one waited until the flood was over");
    let _ = drainer.shutdown().await.expect("everything can be drained");
}
