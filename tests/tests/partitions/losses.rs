//! What becomes of changed partitions when Redis loses everything, when processes start with other
//! settings, and of what is left in Redis.

use kv_runtime::{DeadLetterFilter, Kv, SwitchError};
use kv_tests::models::{Account, Member};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

fn account(id: i64, revision: i64) -> Account {
    Account { id, revision, note: None, active: true }
}

async fn with_accounts(pair: &Pair, count: u16) {
    let accounts = pair.kv.repository::<Account>();
    let drainer = pair.spawn_drainer();
    for id in 0..30 {
        let _ = accounts.create(&account(id, 0)).await.expect("a new row");
    }
    pair.kv.change_partitions::<Account>(count).await.expect("a drainer is at work");
    drainer.shutdown().await.expect("everything is drained");
}

#[tokio::test]
async fn after_redis_lost_everything_the_number_is_found_in_postgresql() {
    let pair = Pair::servers().await;
    let slept = pair.other_process().await;
    let of_sleeper = slept.repository::<Account>();
    assert_eq!(of_sleeper.find_by_id(&1).await.expect("an answer"), None);
    with_accounts(&pair, 32).await;
    RedisView::of(&pair).await.empty().await;
    // One that starts now knows nothing but the settings, which say another number.
    let started = pair.other_process().await;
    let accounts = started.repository::<Account>();
    for id in 0..30 {
        let _ = accounts.update(&id, Account::patch().revision(1)).await.expect("a row");
    }
    assert_eq!(started.partitions::<Account>().await.expect("an answer"), 32);
    // The drainer of a process with the right number tells Redis again, and so who has slept.
    let drainer = pair.spawn_drainer();
    drainer.flush().await.expect("everything is drained");
    for id in 0..30 {
        let row = of_sleeper.get_by_id(&id).await.expect("a row");
        assert_eq!(row, account(id, 1));
        let _ = of_sleeper.update(&id, Account::patch().revision(2)).await.expect("a row");
        assert_eq!(accounts.get_by_id(&id).await.expect("a row").revision, 2);
    }
    drainer.shutdown().await.expect("everything is drained");
    let durable = pair.kv.durable_rows::<Account>().await.expect("PostgreSQL is up");
    assert!(durable.len() == 30 && durable.iter().all(|row| row.revision == 2), "{durable:?}");
}

#[tokio::test]
async fn processes_go_by_the_number_that_is_remembered() {
    let pair = Pair::servers().await;
    with_accounts(&pair, 32).await;
    for partitions in [8, 32, 64] {
        let mut settings = pair.settings.clone();
        settings.partitions = partitions;
        let kv = Kv::connect(settings).await.expect("the servers are up");
        kv.checks().model::<Account>().run().await.expect("nothing is wrong with that");
        let accounts = kv.repository::<Account>();
        let revision = i64::from(partitions);
        let _ = accounts.update(&1, Account::patch().revision(revision)).await.expect("a row");
        let drainer = kv.drainer().model::<Account>().spawn();
        drainer.shutdown().await.expect("everything is drained");
        let row = pair.kv.repository::<Account>().get_by_id(&1).await.expect("a row");
        assert_eq!(row.revision, revision);
    }
}

/// Whether a stream is that of a partition with this number.
fn is_of(stream: &str, number: u16) -> bool {
    let tag = stream.split_once('{').map(|(_, tag)| tag.trim_end_matches('}'));
    let digits = tag.map(|tag| tag.trim_end_matches(char::is_alphabetic));
    digits.is_some_and(|digits| digits == number.to_string())
}

#[tokio::test]
async fn a_change_leaves_no_row_and_no_entry_behind() {
    let pair = Pair::servers().await;
    let members = pair.kv.repository::<Member>();
    let drainer = pair.spawn_drainer();
    for id in 0..30 {
        let _ = members.create(&Member::with_badge(id, &format!("b{id}"))).await.expect("new");
    }
    pair.kv.change_partitions::<Member>(32).await.expect("a drainer is at work");
    let view = RedisView::of(&pair).await;
    assert_eq!(view.row_keys().await, Vec::<String>::new());
    assert_eq!(view.keys("string").await.iter().filter(|key| key.contains("badge")).count(), 0);
    let streams = view.streams().await;
    let old = |stream: &&String| (0..8).any(|number| is_of(stream, number));
    assert!(streams.iter().filter(old).count() > 0, "{streams:?}");
    for stream in streams.iter().filter(old) {
        assert!(view.ttl_ms(stream).await > 0, "{stream} is left for good");
    }
    drainer.shutdown().await.expect("everything is drained");
}

#[tokio::test]
async fn a_queue_with_dead_letters_keeps_its_partitions() {
    let pair = Pair::servers().await;
    let accounts = pair.kv.repository::<Account>();
    pair.sql("ALTER TABLE accounts ADD CHECK (revision < 100)").await;
    let drainer = pair.spawn_drainer();
    let refused = accounts.create(&account(1, 100)).await.expect("Redis takes it");
    let _ = refused.await_durable().await.expect_err("PostgreSQL does not");
    let changed = pair.kv.change_partitions::<Account>(32).await;
    assert!(matches!(changed, Err(SwitchError::Held { letters: 1, .. })), "{changed:?}");
    let _ = accounts.create(&account(2, 0)).await.expect("it goes on as it was");
    let discarded = pair.kv.dead_letters().discard(&DeadLetterFilter::default()).await;
    assert_eq!(discarded.expect("PostgreSQL is up"), 1);
    pair.kv.change_partitions::<Account>(32).await.expect("nothing is held");
    assert_eq!(accounts.find_by_id(&1).await.expect("an answer"), None);
    drainer.shutdown().await.expect("everything is drained");
}
