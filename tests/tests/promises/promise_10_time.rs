//! A Redis that lost its newest writes, or all of them, and a PostgreSQL that was restored from a
//! backup are noticed, repaired as far as entries and rows allow, and told of. What was written
//! after that is drained like anything else.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_runtime::testing::{RedisOptions, RedisServer, servers};
use kv_runtime::{Settings, Status};
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

fn account(id: i64, revision: i64) -> Account {
    Account { id, revision, note: None, active: true }
}

async fn create(pair: &Pair, ids: std::ops::Range<i64>) {
    let rows: Vec<Account> = ids.map(|id| account(id, 1)).collect();
    let created = pair.kv.repository::<Account>().create_many(&rows).await;
    assert!(created.iter().all(Result::is_ok));
}

async fn raise(pair: &Pair, ids: std::ops::Range<i64>, revision: i64) {
    let accounts = pair.kv.repository::<Account>();
    for id in ids {
        let _ = accounts.update(&id, Account::patch().revision(revision)).await.expect("a row");
    }
}

async fn revisions(pair: &Pair) -> BTreeMap<i64, i64> {
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    rows.into_iter().map(|row| (row.id, row.revision)).collect()
}

/// Reads say what PostgreSQL has, all is drained, and nothing is left without a time to live.
async fn all_is_well(pair: &Pair, redis: &RedisView) {
    let accounts = pair.kv.repository::<Account>();
    for (id, revision) in revisions(pair).await {
        assert_eq!(accounts.get_by_id(&id).await.expect("a row").revision, revision, "{id}");
        assert_eq!(accounts.status(&id).await.expect("a status"), Status::Clean, "{id}");
    }
    assert_eq!(redis.undrained().await, 0);
    for key in redis.row_keys().await {
        assert!(redis.ttl_ms(&key).await > 0, "{key} is pinned");
    }
}

/// With a drainer at work all the time, and with one that comes later.
#[tokio::test]
async fn a_redis_that_was_emptied_is_told_of_and_gone_on_with() {
    for is_running in [true, false] {
        let pair = Pair::servers().await;
        let redis = RedisView::of(&pair).await;
        create(&pair, 0..50).await;
        let drainer = pair.spawn_drainer();
        drainer.flush().await.expect("it drains");
        let drainer = if is_running {
            Some(drainer)
        } else {
            drainer.stop().await;
            None
        };
        redis.empty().await;
        raise(&pair, 0..10, 2).await;
        create(&pair, 50..60).await;
        let drainer = drainer.unwrap_or_else(|| pair.spawn_drainer());
        drainer.flush().await.expect("it drains");
        let status = drainer.shutdown().await.expect("everything is drained");
        assert!(status.setbacks > 0, "{status:?}");
        assert_eq!((status.dead_letters, status.undrained), (0, 0));
        let expected = (0..60).map(|id| (id, if id < 10 { 2 } else { 1 }));
        assert_eq!(revisions(&pair).await, expected.collect());
        all_is_well(&pair, &redis).await;
    }
}

#[tokio::test]
async fn what_redis_has_lost_is_not_waited_for() {
    let pair = Pair::servers().await;
    create(&pair, 0..10).await;
    let queues = pair.kv.queues().model::<Account>();
    let waiting = tokio::spawn(async move { queues.wait_until_drained().await });
    RedisView::of(&pair).await.empty().await;
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("nobody will ever drain them").expect("no panic").expect("Redis answers");
    assert!(revisions(&pair).await.is_empty());
}

/// As a replica has them that took over without the newest writes: PostgreSQL, which has some of
/// those, does not go back with it.
#[tokio::test]
async fn a_redis_that_went_back_does_not_take_postgresql_along() {
    for is_running in [true, false] {
        let pair = Pair::servers().await;
        let redis = RedisView::of(&pair).await;
        create(&pair, 0..50).await;
        pair.drain().await;
        // Not drained yet when the replica gets them.
        raise(&pair, 0..20, 2).await;
        let replica = redis.snapshot().await;
        // What the replica does not get: drained by then, and not.
        raise(&pair, 10..30, 3).await;
        create(&pair, 50..60).await;
        let drainer = pair.spawn_drainer();
        drainer.flush().await.expect("it drains");
        let drainer = if is_running {
            Some(drainer)
        } else {
            drainer.stop().await;
            raise(&pair, 30..35, 4).await;
            None
        };
        redis.restore(&replica).await;
        // New writes, also of rows that are older there than in PostgreSQL.
        raise(&pair, 25..40, 5).await;
        create(&pair, 60..70).await;
        let drainer = drainer.unwrap_or_else(|| pair.spawn_drainer());
        drainer.flush().await.expect("it drains");
        let status = drainer.shutdown().await.expect("everything is drained");
        assert!(status.setbacks > 0, "{status:?}");
        assert_eq!((status.dead_letters, status.undrained), (0, 0));
        let expected = |id| match id {
            0..10 => 2,
            10..25 => 3,
            25..40 => 5,
            _ => 1,
        };
        assert_eq!(revisions(&pair).await, (0..70).map(|id| (id, expected(id))).collect());
        all_is_well(&pair, &redis).await;
    }
}

const BACKUP: &str = "CREATE TABLE old_offsets AS SELECT * FROM kv_offsets; \
                      CREATE TABLE old_accounts AS SELECT * FROM accounts";
const RESTORE: &str = "BEGIN; DELETE FROM kv_offsets; INSERT INTO kv_offsets SELECT * FROM old_offsets; \
                       DELETE FROM accounts; INSERT INTO accounts SELECT * FROM old_accounts; COMMIT";

/// From a backup of before its first batch, and from a later one.
#[tokio::test]
async fn a_postgresql_from_an_old_backup_gets_back_what_redis_has() {
    for is_first in [true, false] {
        let pair = Pair::servers().await;
        // What is drained is trimmed with the next batch.
        let pair = pair.with(|settings| settings.drain.retention = Duration::ZERO).await;
        let accounts = pair.kv.repository::<Account>();
        if !is_first {
            create(&pair, 0..20).await;
            pair.drain().await;
        }
        pair.sql(BACKUP).await;
        create(&pair, 20..100).await;
        pair.drain().await;
        raise(&pair, 20..50, 2).await;
        for id in 90..95 {
            let _ = accounts.delete(&id).await.expect("a row");
        }
        pair.drain().await;
        // Not drained when it goes back: a change, a new row, a row that is gone, one that is back.
        raise(&pair, 40..60, 3).await;
        create(&pair, 100..110).await;
        for id in 80..85 {
            let _ = accounts.delete(&id).await.expect("a row");
        }
        create(&pair, 80..82).await;
        pair.sql(RESTORE).await;
        let drainer = pair.spawn_drainer();
        drainer.flush().await.expect("it drains");
        let status = drainer.shutdown().await.expect("everything is drained");
        assert!(status.setbacks > 0, "{status:?}");
        assert_eq!((status.dead_letters, status.undrained), (0, 0), "{status:?}");
        let expected = |id| match id {
            20..40 => 2,
            40..60 => 3,
            _ => 1,
        };
        let first = if is_first { 20 } else { 0 };
        // The deleted rows that nobody remembers were not in the backup either.
        let is_there = |id: &i64| !(82..85).contains(id) && !(90..95).contains(id);
        let rows = (first..110).filter(is_there).map(|id| (id, expected(id)));
        assert_eq!(revisions(&pair).await, rows.collect());
        all_is_well(&pair, &RedisView::of(&pair).await).await;
    }
}

/// What is written while the rows are looked through has entries that say the same once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_a_postgresql_from_an_old_backup_gets_its_rows_back() {
    let pair = Pair::servers().await;
    let pair = pair
        .with(|settings| {
            settings.drain.retention = Duration::ZERO;
            settings.partitions = 1;
        })
        .await;
    create(&pair, 0..10).await;
    pair.drain().await;
    pair.sql(BACKUP).await;
    create(&pair, 10..3_000).await;
    pair.drain().await;
    pair.sql(RESTORE).await;
    let drainer = pair.spawn_drainer();
    let accounts = pair.kv.repository::<Account>();
    let mut next_id = 3_000;
    while drainer.status().await.expect("Redis is up").setbacks == 0 || next_id < 3_500 {
        let created = next_id..next_id + 10;
        create(&pair, created.clone()).await;
        raise(&pair, created, 2).await;
        // One that was there, one that was not, and one that comes again.
        for id in [next_id - 2_900, next_id + 1, next_id + 2] {
            let _ = accounts.delete(&id).await.expect("a row");
        }
        create(&pair, next_id + 2..next_id + 3).await;
        next_id += 10;
    }
    drainer.flush().await.expect("it drains");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert_eq!((status.dead_letters, status.undrained), (0, 0), "{status:?}");
    let is_gone = |id: i64| {
        id >= 3_000 && id % 10 == 1 || id % 10 == 0 && (100..next_id - 2_900).contains(&id)
    };
    let revision = |id: i64| if id >= 3_000 && id % 10 != 2 { 2 } else { 1 };
    let rows = (0..next_id).filter(|id| !is_gone(*id)).map(|id| (id, revision(id)));
    assert_eq!(revisions(&pair).await, rows.collect());
}

fn replication_offset(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// A real one: a replica takes over that had not received the newest writes.
#[tokio::test]
async fn a_replica_that_takes_over_without_the_newest_writes_is_gone_on_with() {
    let primary = RedisServer::start().expect("a private server");
    let of = format!("127.0.0.1 {}", primary.port());
    let options = RedisOptions::new().setting("replicaof", of);
    let replica = RedisServer::start_with(options).expect("a private replica");
    let mut settings = Settings::new(primary.url(), servers().create_database());
    settings.tenant = Some("failover".to_owned());
    settings.partitions = 8;
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.lease = Duration::from_millis(600);
    let pair = Pair::connect(settings).await;
    create(&pair, 0..50).await;
    pair.drain().await;
    let (ahead, behind) = (
        RedisView::of_url(&pair, primary.url()).await,
        RedisView::of_url(&pair, replica.url()).await,
    );
    let caught_up = async {
        loop {
            let ahead: String = ahead.ask(&["INFO", "replication"]).await;
            let behind: String = behind.ask(&["INFO", "replication"]).await;
            let has = replication_offset(&behind, "slave_repl_offset:");
            if has.is_some() && has == replication_offset(&ahead, "master_repl_offset:") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), caught_up).await.expect("the replica catches up");
    behind.ask::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    // What it does not get: drained by then, and not.
    raise(&pair, 0..20, 2).await;
    create(&pair, 50..60).await;
    pair.drain().await;
    raise(&pair, 20..30, 3).await;
    drop(primary);

    let pair = pair.with(|settings| settings.redis.url = replica.url().into()).await;
    raise(&pair, 10..40, 4).await;
    create(&pair, 60..70).await;
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("it drains");
    let status = drainer.shutdown().await.expect("everything is drained");
    assert!(status.setbacks > 0, "{status:?}");
    assert_eq!((status.dead_letters, status.undrained), (0, 0));
    let expected = |id| match id {
        0..10 => 2,
        10..40 => 4,
        _ => 1,
    };
    assert_eq!(revisions(&pair).await, (0..70).map(|id| (id, expected(id))).collect());
    all_is_well(&pair, &behind).await;
}
