//! `replicated`: a write is acknowledged when the replicas have it; if they are too few it is
//! done all the same, and its caller is told.

use std::process::Command;
use std::time::{Duration, Instant};

use kv_runtime::testing::{RedisOptions, RedisServer, servers};
use kv_runtime::{Durability, Error, Kv, KvModel, Settings};
use kv_tests::models::{Account, Booking};
use kv_tests::outside::{RedisView, connect};
use kv_tests::pair::Pair;

/// A model that chooses for itself.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "accounts", key_prefix = "careful", durability = "replicated(1, 100ms)")]
struct Careful {
    #[kv(id, fresh)]
    id: i64,
    revision: i64,
    active: bool,
}

/// One that chooses what nobody has to wait for.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "accounts", key_prefix = "hasty", durability = "fast")]
struct Hasty {
    #[kv(id, fresh)]
    id: i64,
    revision: i64,
    active: bool,
}

/// A server, its replica, and a database.
struct Replicated {
    pair: Pair,
    /// Kept, because it ends when it is dropped.
    _primary: RedisServer,
    replica: RedisServer,
}

impl Replicated {
    async fn start() -> Self {
        let primary = RedisServer::start().expect("a private server");
        let of = format!("127.0.0.1 {}", primary.port());
        let options = RedisOptions::new().setting("replicaof", of);
        let replica = RedisServer::start_with(options).expect("a private replica");
        let mut settings = Settings::new(primary.url(), servers().create_database());
        settings.tenant = Some("replicated".to_owned());
        settings.drain.interval = Duration::from_millis(5);
        let started = Self { pair: Pair::connect(settings).await, _primary: primary, replica };
        started.wait_for_link().await;
        started
    }

    /// Until the replica has the primary's data and follows it.
    async fn wait_for_link(&self) {
        let view = RedisView::of(&self.pair).await;
        let linked = async {
            while !view.ask::<String>(&["INFO", "replication"]).await.contains("state=online") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), linked).await.expect("it follows");
    }

    /// Holds the replica's process where it stands, until it is let go.
    async fn hold_replica(&self) -> Held {
        let mut connection = connect(self.replica.url()).await;
        let info: String =
            redis::cmd("INFO").arg("server").query_async(&mut connection).await.expect("it runs");
        let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
        let process_id = line.expect("a process id").to_owned();
        signal("-STOP", &process_id);
        Held { process_id }
    }
}

/// A process that was stopped; it goes on when this is dropped.
struct Held {
    process_id: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        signal("-CONT", &self.process_id);
    }
}

fn signal(signal: &str, process_id: &str) {
    let sent = Command::new("kill").args([signal, process_id]).status();
    assert!(sent.expect("a program that sends signals").success());
}

fn one_within(milliseconds: u64) -> Durability {
    Durability::Replicated { replicas: 1, timeout: Duration::from_millis(milliseconds) }
}

#[tokio::test]
async fn a_write_is_acknowledged_when_the_replica_has_it_and_holds_up_no_other() {
    let servers = Replicated::start().await;
    let bookings = servers.pair.kv.repository::<Booking>();
    let held = servers.hold_replica().await;
    let careful = bookings.with_durability(one_within(60_000));
    let booking = Booking::sample();
    let row = booking.clone();
    let writing = tokio::spawn(async move { careful.create(&row).await });
    let written = async {
        while bookings.find_by_id(&booking.id).await.expect("an answer").is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            let _ = bookings.create(&Booking::sample()).await.expect("nobody waits for it");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.expect("writes go on");
    assert!(!writing.is_finished(), "the replica cannot have said anything");
    drop(held);
    let receipt = writing.await.expect("no panic").expect("the replica has it");
    let mut replica = connect(servers.replica.url()).await;
    let key = bookings.key(&booking.id).expect("a key");
    let meta: String =
        redis::cmd("HGET").arg(key).arg("@").query_async(&mut replica).await.expect("it runs");
    assert!(meta.starts_with(&receipt.entry.to_string()), "{meta}");
}

#[tokio::test]
async fn a_write_that_too_few_replicas_have_is_done_and_told() {
    let mut servers = Replicated::start().await;
    let bookings = servers.pair.kv.repository::<Booking>();
    let careful = bookings.with_durability(one_within(200));
    let patient = bookings.with_durability(one_within(20_000));
    let _ = patient.create(&Booking::sample()).await.expect("the replica is there");
    // One replica has it, and two are asked for.
    let timeout = Duration::from_millis(200);
    let too_careful = bookings.with_durability(Durability::Replicated { replicas: 2, timeout });
    let error = too_careful.create(&Booking::sample()).await.expect_err("there is one");
    let Error::NotReplicated { acknowledged, .. } = error else { panic!("{error}") };
    assert_eq!(acknowledged, 1);

    servers.replica.kill().expect("it runs");
    let booking = Booking::sample();
    let started = Instant::now();
    let error = careful.create(&booking).await.expect_err("no replica");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(5), "{took:?}");
    assert!(!error.is_transient(), "again would be a second time");
    let message = error.to_string();
    assert!(message.contains("is written") && message.contains("0 of 1 replicas"), "{message}");
    let Error::NotReplicated { id, receipt, durability, .. } = error else { panic!("{message}") };
    assert_eq!((id, durability), (booking.id.to_string(), one_within(200)));
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
    servers.pair.drain().await;
    receipt.await_durable().await.expect("it is as good as any other write");

    servers.replica.restart().expect("it starts");
    servers.wait_for_link().await;
    let _ = patient.create(&Booking::sample()).await.expect("the replica is back");
}

#[tokio::test]
async fn many_rows_are_told_one_by_one() {
    let pair = Pair::servers().await;
    let bookings = pair.kv.repository::<Booking>();
    let taken = Booking::sample();
    let _ = bookings.create(&taken).await.expect("a new row");
    let mut rows: Vec<Booking> = (0..20).map(|_| Booking::sample()).collect();
    rows[7] = taken;
    let results = bookings.with_durability(one_within(50)).create_many(&rows).await;
    for (index, (row, result)) in rows.iter().zip(results).enumerate() {
        match result.expect_err("there is no replica") {
            Error::NotReplicated { id, .. } => assert_eq!(id, row.id.to_string()),
            error => assert!(index == 7 && error.is_duplicate(), "{error}"),
        }
        assert!(bookings.exists(&row.id).await.expect("an answer"));
    }
}

#[tokio::test]
async fn the_call_comes_before_the_model_and_the_model_before_the_settings() {
    let pair = Pair::servers().await;
    let is_replicated = |outcome: Result<kv_runtime::Receipt, Error>| match outcome {
        Ok(_) => false,
        // There is no replica.
        Err(Error::NotReplicated { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    let careful = |id| Careful { id, revision: 1, active: true };
    let hasty = |id| Hasty { id, revision: 1, active: true };
    let account = |id| Account { id, revision: 1, note: None, active: true };
    let strict = pair.kv.clone();
    let pair = pair.with(|settings| settings.durability = one_within(100)).await;
    for (kv, is_default) in [(&strict, false), (&pair.kv, true)] {
        let id = i64::from(is_default) * 10;
        let accounts = kv.repository::<Account>();
        assert_eq!(is_replicated(accounts.create(&account(id)).await), is_default);
        let rows = kv.repository::<Careful>();
        assert!(is_replicated(rows.create(&careful(id)).await));
        assert!(is_replicated(rows.update(&id, Careful::patch().revision(2)).await));
        assert!(is_replicated(rows.upsert(&careful(id)).await));
        let fast = rows.with_durability(Durability::Fast);
        assert!(!is_replicated(fast.create(&careful(id + 1)).await));
        assert!(is_replicated(rows.delete(&id).await));
        let rows = kv.repository::<Hasty>();
        assert!(!is_replicated(rows.create(&hasty(id)).await));
        let slow = rows.with_durability(one_within(50));
        assert!(is_replicated(slow.create(&hasty(id + 1)).await));
    }
}

#[tokio::test]
async fn in_memory_there_is_nothing_to_wait_for() {
    let kv = Kv::memory();
    let rows = kv.repository::<Careful>();
    let _ = rows.create(&Careful { id: 1, revision: 1, active: true }).await.expect("a new row");
    let timeout = Duration::from_secs(60);
    let rows = rows.with_durability(Durability::Fsynced { timeout });
    let _ = rows.update(&1, Careful::patch().revision(2)).await.expect("a row");
}

#[tokio::test]
async fn those_who_wait_share_their_calls() {
    let servers = Replicated::start().await;
    let bookings = servers.pair.kv.repository::<Booking>().with_durability(one_within(20_000));
    let held = servers.hold_replica().await;
    let writing: Vec<_> = (0..200)
        .map(|_| {
            let bookings = bookings.clone();
            tokio::spawn(async move { bookings.create(&Booking::sample()).await })
        })
        .collect();
    let view = RedisView::of(&servers.pair).await;
    let all_written = async {
        while view.row_keys().await.len() < writing.len() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_written).await.expect("writes go on");
    drop(held);
    for write in writing {
        let _ = write.await.expect("no panic").expect("the replica has it");
    }
    let stats: String = view.ask(&["INFO", "commandstats"]).await;
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    let calls: usize =
        calls.and_then(|line| line.split(',').next()?.parse().ok()).expect("a number of calls");
    assert!((1..50).contains(&calls), "{calls} calls for 200 writes");
}

#[tokio::test]
async fn a_mode_that_asks_for_nothing_is_a_mistake_in_the_settings() {
    let mut settings = Settings::in_memory();
    settings.durability = Durability::Replicated { replicas: 0, timeout: Duration::from_secs(1) };
    let error = settings.check().expect_err("no replica");
    assert_eq!(error.setting, "durability");
}
