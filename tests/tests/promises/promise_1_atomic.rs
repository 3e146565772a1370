//! A write changes the row and appends its entry together, or does neither: one script, one
//! slot, one round trip for a row that is hot or new by its id.

use kv_runtime::testing::{PostgresServer, RedisServer, servers};
use kv_runtime::{Error, Repository, Settings};
use kv_tests::models::{Account, Booking, Counter};
use kv_tests::outside::{RedisView, stream_beside};
use kv_tests::pair::Pair;

use super::monitor::Monitor;

/// A pair on these servers alone.
async fn pair_on(redis_url: &str, database_url: &str) -> Pair {
    let mut settings = Settings::new(redis_url, database_url);
    settings.tenant = Some("private".to_owned());
    settings.partitions = 8;
    Pair::connect(settings).await
}

#[tokio::test]
async fn a_write_of_a_hot_or_new_row_is_one_round_trip() {
    let server = RedisServer::start().expect("a private server");
    let pair = pair_on(server.url(), &servers().create_database()).await;
    let bookings = pair.kv.repository::<Booking>();
    // The script becomes known to the server.
    let _ = bookings.create(&Booking::sample()).await.expect("a new row");
    let mut monitor = Monitor::of(&server);

    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    assert_eq!(monitor.commands(), ["EVALSHA"], "create");
    let _ = bookings.update(&booking.id, Booking::patch().seats(3)).await.expect("a row");
    assert_eq!(monitor.commands(), ["EVALSHA"], "update");
    let _ = bookings.upsert(&booking).await.expect("a row");
    assert_eq!(monitor.commands(), ["EVALSHA"], "upsert");
    let _ = bookings.increment(&booking.id, |booking| booking.seats, 1).await.expect("a row");
    assert_eq!(monitor.commands(), ["EVALSHA"], "increment");
    let _ = bookings.get_by_id(&booking.id).await.expect("the row");
    assert_eq!(monitor.commands().len(), 1, "get");
    let _ = bookings.delete(&booking.id).await.expect("a row");
    assert_eq!(monitor.commands(), ["EVALSHA"], "delete");

    let many: Vec<Booking> = (0..100).map(|_| Booking::sample()).collect();
    let patch = |booking: &Booking| (booking.id, Booking::patch().seats(3));
    let patches: Vec<_> = many.iter().map(patch).collect();
    let ids: Vec<_> = many.iter().map(|booking| booking.id).collect();
    for verb in ["create_many", "update_many", "delete_many"] {
        let answers = match verb {
            "create_many" => bookings.create_many(&many).await,
            "update_many" => bookings.update_many(&patches).await,
            _ => bookings.delete_many(&ids).await,
        };
        assert!(answers.iter().all(Result::is_ok), "{verb}: {answers:?}");
        let commands = monitor.commands();
        assert!(commands.iter().all(|command| command == "EVALSHA"), "{verb}: {commands:?}");
        let most = usize::from(pair.settings.partitions);
        assert!(commands.len() <= most, "{verb}: one for each partition");
    }
}

#[tokio::test]
async fn a_write_of_a_hot_or_new_row_does_not_need_postgresql() {
    let mut server = PostgresServer::start().expect("a private server");
    let pair = pair_on(servers().redis_url(), server.url()).await;
    let pair = pair.with(|settings| settings.tenant = Some(random_tenant())).await;
    let bookings = pair.kv.repository::<Booking>();
    let counters = pair.kv.repository::<Counter>();
    server.stop_immediate().expect("it stops");

    let (kept, deleted) = (Booking::sample(), Booking::sample());
    for booking in [&kept, &deleted] {
        let _ = bookings.create(booking).await.expect("a new row");
    }
    let _ = bookings.update(&kept.id, Booking::patch().seats(5)).await.expect("a row");
    let _ = bookings.delete(&deleted.id).await.expect("a row");
    let counter = Counter { id: 1, total: 1, r#type: "upserted".to_owned() };
    let _ = counters.upsert(&counter).await.expect("a row");
    let kept = Booking { seats: 5, ..kept };
    assert_eq!(bookings.get_by_id(&kept.id).await.expect("the row"), kept);
    assert!(!bookings.exists(&deleted.id).await.expect("an answer"));
    // Only PostgreSQL can say whether this id is taken.
    let error = counters.create(&Counter { id: 2, ..counter.clone() }).await.expect_err("no probe");
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("PostgreSQL"), "{error}");

    server.restart().expect("it starts again");
    pair.drain().await;
    assert_eq!(pair.kv.durable_rows::<Booking>().await.expect("the rows"), [kept]);
    assert_eq!(pair.kv.durable_rows::<Counter>().await.expect("the rows"), [counter]);
}

fn random_tenant() -> String {
    format!("r{:016x}", fastrand::u64(..))
}

/// What a failed write must leave alone.
#[derive(Debug, PartialEq)]
struct Footprint {
    rows: Vec<String>,
    entries: usize,
    undrained: i64,
}

async fn footprint(redis: &RedisView) -> Footprint {
    Footprint {
        rows: redis.row_keys().await,
        entries: redis.entries().await,
        undrained: redis.undrained().await,
    }
}

/// Tries every write on a row.
async fn try_all(accounts: &Repository<Account>, row: &Account) -> Vec<Error> {
    let raised = Account::patch().revision(row.revision);
    let outcomes = [
        accounts.create(row).await,
        accounts.upsert(row).await,
        accounts.update(&row.id, raised).await,
        accounts.delete(&row.id).await,
        accounts.create_many(std::slice::from_ref(row)).await.remove(0),
    ];
    outcomes.into_iter().map(|outcome| outcome.expect_err("it cannot be written")).collect()
}

fn account(id: i64) -> Account {
    Account { id, revision: 1, note: Some("x".to_owned()), active: true }
}

#[tokio::test]
async fn a_row_in_the_place_of_a_foreign_value_is_not_written() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let accounts = pair.kv.repository::<Account>();
    let key = accounts.key(&1).expect("a key");
    let () = redis.ask(&["SET", &key, "of someone else"]).await;
    let before = footprint(&redis).await;
    for error in try_all(&accounts, &account(1)).await {
        assert!(matches!(error, Error::Configuration { .. }), "{error}");
    }
    assert_eq!(footprint(&redis).await, before);
    assert_eq!(redis.ask::<String>(&["GET", &key]).await, "of someone else");
}

#[tokio::test]
async fn a_row_whose_queue_is_a_foreign_value_is_not_written() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let accounts = pair.kv.repository::<Account>();
    // A row that is there already, so that each kind of write gets as far as it can.
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    let key = accounts.key(&1).expect("a key");
    let beside = (2..).find(|id| stream_of(&accounts, *id) == stream_of(&accounts, 1));
    let beside = beside.expect("one of the next is in the same partition");
    let stream = stream_of(&accounts, 1);
    let aside = random_tenant();
    let () = redis.ask(&["RENAME", &stream, &aside]).await;
    let () = redis.ask(&["SET", &stream, "of someone else"]).await;
    let before = footprint(&redis).await;
    let ttl_ms = redis.ttl_ms(&key).await;

    let errors = [
        accounts.update(&1, Account::patch().active(false)).await,
        accounts.increment(&1, |account| account.revision, 1).await.map(|done| done.receipt),
        accounts.delete(&1).await,
        accounts.upsert(&Account { revision: 9, ..account(1) }).await,
        accounts.create(&account(beside)).await,
        accounts.create_many(&[account(beside)]).await.remove(0),
    ];
    for outcome in errors {
        let error = outcome.expect_err("there is no queue");
        assert!(matches!(error, Error::Configuration { .. }), "{error}");
    }
    assert_eq!(footprint(&redis).await, before);
    assert_eq!(accounts.get_by_id(&1).await.expect("the row"), account(1));
    assert!((1..=ttl_ms).contains(&redis.ttl_ms(&key).await), "clean as before");

    let () = redis.ask(&["RENAME", &aside, &stream]).await;
    assert_eq!(redis.undrained().await, 0);
    let _ = accounts.update(&1, Account::patch().active(false)).await.expect("a row");
    assert_eq!(pair.drain().await.entries_drained, 1);
}

fn stream_of(accounts: &Repository<Account>, id: i64) -> String {
    stream_beside(&accounts.key(&id).expect("a key"), "account_queue")
}

#[tokio::test]
async fn each_row_of_many_is_written_or_refused_by_itself() {
    let pair = Pair::servers().await;
    let redis = RedisView::of(&pair).await;
    let accounts = pair.kv.repository::<Account>();
    for foreign in [7, 31] {
        let () = redis.ask(&["SET", &accounts.key(&foreign).expect("a key"), "x"]).await;
    }
    let rows: Vec<Account> = (0..40).map(account).collect();
    let results = accounts.create_many(&rows).await;
    let mut written = 0;
    for (row, result) in rows.iter().zip(results) {
        if [7, 31].contains(&row.id) {
            assert!(matches!(result, Err(Error::Configuration { .. })), "{result:?}");
            continue;
        }
        let is_there = accounts.exists(&row.id).await.expect("an answer");
        assert_eq!(is_there, result.is_ok(), "account {}: {result:?}", row.id);
        written += usize::from(result.is_ok());
    }
    assert_eq!(redis.entries().await, written);
    assert_eq!(redis.undrained().await, written as i64);
}

#[tokio::test]
async fn a_full_redis_refuses_a_write_as_a_whole() {
    let server = RedisServer::start().expect("a private server");
    let pair = pair_on(server.url(), &servers().create_database()).await;
    let redis = RedisView::of(&pair).await;
    let accounts = pair.kv.repository::<Account>();
    for id in [1, 2] {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    pair.drain().await;
    let _ = accounts.update(&2, Account::patch().note(None)).await.expect("a row");
    let dirty = accounts.get_by_id(&2).await.expect("the row");
    let before = footprint(&redis).await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;

    // A new one, a clean one, a dirty one.
    for id in [3, 1, 2] {
        let row = Account { revision: 99, ..account(id) };
        let patch = Account::patch().revision(99);
        let mut errors = vec![accounts.upsert(&row).await.expect_err("no memory")];
        if id == 3 {
            errors.push(accounts.create(&row).await.expect_err("no memory"));
        } else {
            errors.push(accounts.update(&id, patch).await.expect_err("no memory"));
            let counted = accounts.increment(&id, |account| account.revision, 1).await;
            errors.push(counted.expect_err("no memory"));
            errors.push(accounts.delete(&id).await.expect_err("no memory"));
        }
        for error in errors {
            assert!(error.is_transient(), "{error}");
        }
    }
    assert_eq!(footprint(&redis).await, before);
    assert_eq!(accounts.get_by_id(&1).await.expect("the row"), account(1));
    assert_eq!(accounts.get_by_id(&2).await.expect("the row"), dirty);
    assert!(redis.ttl_ms(&accounts.key(&1).expect("a key")).await > 0, "clean as before");
    assert_eq!(redis.ttl_ms(&accounts.key(&2).expect("a key")).await, -1, "dirty as before");

    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let _ = accounts.create(&account(3)).await.expect("a new row");
    assert_eq!(pair.drain().await.entries_drained, 2);
}
