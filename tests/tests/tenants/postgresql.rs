//! What PostgreSQL does to one tenant, and to that one alone: it goes back, or a replica answers.

use std::time::Duration;

use kv_runtime::Kv;
use kv_tests::models::Account;
use kv_tests::pair::Pair;

use super::common::account;

/// Often enough that each session is used for each tenant.
const ROUNDS: usize = 6;

async fn create(kv: &Kv, ids: std::ops::Range<i64>) {
    let rows: Vec<Account> = ids.map(account).collect();
    for created in kv.repository::<Account>().create_many(&rows).await {
        let _ = created.expect("a new row");
    }
}

#[tokio::test]
async fn a_replica_reads_with_the_tenants_search_path() {
    // Another database stands for a replica, so that one sees who has answered.
    let replica = Pair::servers().await;
    let pair = Pair::servers().await;
    for (number, name) in [(1, "acme"), (2, "globex")] {
        let _ = (replica.tenant(name).await, pair.tenant(name).await);
        let row = format!("INSERT INTO tenant_{name}.accounts VALUES ({number}, 1, NULL, true)");
        replica.sql(&row).await;
    }
    replica.sql("INSERT INTO accounts VALUES (3, 1, NULL, true)").await;
    let url = replica.database_url.clone().expect("a database");
    let pair = pair.with(|settings| {
        settings.postgres.replicas = vec![url.into()];
        settings.postgres.replica_max_lag = None;
        settings.postgres.max_connections = 1;
    });
    let pair = pair.await;
    let ids = async |kv: &Kv| -> Vec<i64> {
        let stored = kv.repository::<Account>().query().stored().load().await;
        stored.expect("an answer").value.iter().map(|row| row.id).collect()
    };
    let (acme, globex) = (pair.kv.tenant("acme"), pair.kv.tenant("globex"));
    let (acme, globex) = (acme.expect("a tenant"), globex.expect("a tenant"));
    for _ in 0..ROUNDS {
        assert_eq!(ids(&acme).await, [1]);
        assert_eq!(ids(&globex).await, [2]);
        assert_eq!(ids(&pair.kv).await, [3]);
    }
}

const BACKUP: &str = "
    SET search_path TO tenant_back;
    CREATE TABLE old_offsets AS TABLE kv_offsets;
    CREATE TABLE old_accounts AS TABLE accounts;
";
const RESTORE: &str = "
    BEGIN;
    SET LOCAL search_path TO tenant_back;
    DELETE FROM kv_offsets;
    INSERT INTO kv_offsets TABLE old_offsets;
    DELETE FROM accounts;
    INSERT INTO accounts TABLE old_accounts;
    COMMIT;
";
/// Where each row of the other one stands, which a write of the same would change as well.
const UNTOUCHED: &str = "
    SELECT concat_ws(' ', ctid, xmin, id, revision) AS value FROM tenant_other.accounts
    UNION ALL
    SELECT concat_ws(' ', ctid, xmin, queue, position) FROM tenant_other.kv_offsets
    ORDER BY 1
";

/// Its entries are trimmed, so that it is brought back from the rows in Redis.
#[tokio::test]
async fn a_tenant_that_went_back_is_rebuilt_alone() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.retention = Duration::ZERO).await;
    let (back, other) = (pair.tenant("back").await, pair.tenant("other").await);
    create(&back.kv, 0..20).await;
    create(&other.kv, 0..60).await;
    back.drain().await;
    pair.sql(BACKUP).await;
    create(&back.kv, 20..60).await;
    // What is drained is trimmed with the next batch.
    back.drain().await;
    create(&back.kv, 60..100).await;
    back.drain().await;
    other.drain().await;
    let before = pair.texts(UNTOUCHED).await;
    assert!(before.len() > 60, "rows and offsets");
    pair.sql(RESTORE).await;

    // Both are at work, the other one with nothing to do.
    let drainer = pair.kv.drainer().model::<Account>().all_tenants().spawn();
    create(&back.kv, 100..110).await;
    drainer.flush().await.expect("everything can be drained");
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert!(status.setbacks > 0, "{status:?}");
    assert_eq!((status.dead_letters, status.undrained), (0, 0), "{status:?}");
    let rows = back.kv.durable_rows::<Account>().await.expect("the rows");
    let mut ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..110), "{ids:?}");
    assert_eq!(pair.texts(UNTOUCHED).await, before);
}
