//! What an entry holds, and what PostgreSQL is asked for it.

use std::ops::Range;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::{CheckMode, Kv, Repository, Settings, StorageScheme};
use kv_tests::models::{Account, Counter, Member};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::waiting::until;

/// Counts the statements on a table by their kind.
const COUNTED: &str = "CREATE TABLE seen (kind text);
     CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO seen VALUES (TG_OP); RETURN NULL; END $$;
     CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON accounts
         FOR EACH STATEMENT EXECUTE FUNCTION see()";

fn account(id: i64) -> Account {
    Account { id, revision: 0, note: Some("first".to_owned()), active: true }
}

/// One partition; and the trigger is not refused, which changes nothing.
async fn pair() -> Pair {
    let change = |settings: &mut Settings| {
        settings.partitions = 1;
        settings.checks.schema = CheckMode::Warn;
    };
    Pair::servers().await.with(change).await
}

async fn drain_500(pair: &Pair) {
    let rows: Vec<Account> = (0..500).map(account).collect();
    for created in pair.kv.repository::<Account>().create_many(&rows).await {
        let _ = created.expect("a new row");
    }
    pair.drain().await;
}

#[tokio::test]
async fn many_rows_are_one_statement() {
    let pair = pair().await;
    pair.sql(COUNTED).await;
    drain_500(&pair).await;
    assert_eq!(pair.texts("SELECT kind AS value FROM seen").await, [Some("INSERT".to_owned())]);
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("rows").len(), 500);
}

#[tokio::test]
async fn a_batch_has_no_more_entries_than_are_set() {
    let pair = pair().await.with(|settings| settings.drain.batch_entries = 100).await;
    pair.sql(COUNTED).await;
    drain_500(&pair).await;
    let inserts = pair.texts("SELECT kind AS value FROM seen").await;
    assert!(inserts.iter().all(|kind| kind.as_deref() == Some("INSERT")), "{inserts:?}");
    // A batch begins with the entry that the one before has ended with.
    assert!((5..=6).contains(&inserts.len()), "{} batches", inserts.len());
}

#[tokio::test]
async fn a_patch_is_of_the_fields_that_were_set() {
    let pair = pair().await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    pair.drain().await;
    pair.sql(COUNTED).await;
    // Others have changed what the patch is not about.
    pair.sql("ALTER TABLE accounts DISABLE TRIGGER see; UPDATE accounts SET revision = 7").await;
    pair.sql("ALTER TABLE accounts ENABLE TRIGGER see").await;
    let _ = accounts.update(&1, Account::patch().active(false)).await.expect("a row");
    let view = RedisView::of(&pair).await;
    let stream = view.streams().await.pop().expect("a queue");
    let newest: Vec<(String, Vec<String>)> =
        view.ask(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]).await;
    assert_eq!(newest[0].1[3], r#"{"active":"false"}"#);
    let expected = Account { active: false, ..account(1) };
    assert_eq!(accounts.get_by_id(&1).await.expect("the row"), expected);
    pair.drain().await;
    assert_eq!(pair.texts("SELECT kind AS value FROM seen").await, [Some("UPDATE".to_owned())]);
    let rows = pair.kv.durable_rows::<Account>().await.expect("rows");
    assert_eq!(rows, [Account { revision: 7, ..expected }]);
}

const PATIENCE: Duration = Duration::from_secs(60);

/// How often a counter is changed before it is looked at.
const CHANGES: i64 = 3_000;

/// Creates a counter, and changes it that often.
async fn change(counters: &Repository<Counter>) {
    let counter = Counter { id: 1, total: 0, r#type: "hot".to_owned() };
    let _ = counters.create(&counter).await.expect("a new row");
    let changes: Vec<_> = (1..=CHANGES).map(|total| (1, Counter::patch().total(total))).collect();
    for changed in counters.update_many(&changes).await {
        let _ = changed.expect("a row");
    }
}

/// A drainer waits for five milliseconds, and after all those changes for as many times as long.
fn waits(settings: &mut Settings) {
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.interval_max = Duration::from_secs(60);
}

#[tokio::test]
async fn changes_of_a_hot_row_are_written_together() {
    let pair = pair().await.with(waits).await;
    let counters = pair.kv.repository::<Counter>();
    change(&counters).await;
    let drainer = pair.kv.drainer().model::<Counter>().spawn();
    pair.kv.queues().model::<Counter>().wait_until_drained().await.expect("Redis is up");
    for total in 1..=200 {
        let patch = Counter::patch().total(total);
        let _ = counters.update(&1, patch).await.expect("a row");
    }
    // A shutdown does not wait for as long.
    let status = drainer.shutdown().await.expect("nothing is in the way");
    assert_eq!(status.entries_drained, 1 + CHANGES as u64 + 200);
    assert_eq!((status.batches, status.rows_written), (2, 2));
    let rows = pair.kv.durable_rows::<Counter>().await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.total).collect::<Vec<_>>(), [200]);
}

#[tokio::test]
async fn who_writes_through_does_not_wait_for_more_changes() {
    let pair = pair().await.with(waits).await;
    let pair = pair.with(|settings| settings.scheme = StorageScheme::WriteThrough).await;
    let counters = pair.kv.repository::<Counter>();
    let drainer = pair.kv.drainer().model::<Counter>().spawn();
    change(&counters).await;
    for total in 1..=20 {
        let patch = Counter::patch().total(total);
        let _ = counters.update(&1, patch).await.expect("it is drained in time");
    }
    drainer.shutdown().await.expect("nothing is in the way");
}

/// What is written while a batch is refused was not waited for to be replicated.
#[tokio::test]
async fn a_refused_batch_is_attempted_without_what_came_later() {
    let pair = pair().await;
    pair.sql("ALTER TABLE accounts ADD CHECK (id <> 1)").await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(0)).await.expect("a new row");
    let drainer = pair.kv.drainer().model::<Account>().spawn();
    // Its start-up checks are behind it then.
    pair.kv.queues().model::<Account>().wait_until_drained().await.expect("Redis is up");
    let url = pair.database_url.as_deref().expect("a database");
    let mut other = AsyncPgConnection::establish(url).await.expect("the server is up");
    let lock = "BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE";
    other.batch_execute(lock).await.expect("nobody else has it");
    for created in accounts.create_many(&[account(1), account(2)]).await {
        let _ = created.expect("a new row");
    }
    let waiting = "SELECT count(*)::text AS value FROM pg_stat_activity \
        WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let held_up = async {
        while pair.texts(waiting).await == [Some("0".to_owned())] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, held_up).await.expect("the drainer comes to the table");
    for id in [3, 4] {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    other.batch_execute("COMMIT").await.expect("it was held");
    let status = drainer.shutdown().await.expect("nothing is in the way");
    assert_eq!((status.entries_drained, status.dead_letters), (5, 1));
    assert_eq!((status.batches, status.rows_written), (3, 4));
}

/// How many members are looked up and changed at once.
const TOGETHER: i64 = 20;

/// Looks members up that only PostgreSQL can have, and changes and deletes some that it has.
async fn look_up_and_change(kv: &Kv, rounds: Range<i64>) {
    let members = kv.repository::<Member>();
    let queues = kv.queues().model::<Member>();
    for first in rounds.map(|round| round * TOGETHER) {
        let ids: Vec<i64> = (first..first + TOGETHER).collect();
        let stored: Vec<i64> = ids.iter().map(|id| 10_000 + id).collect();
        members.get_many(&stored).await.expect("the servers are up");
        let badge = format!("badge {}", 20_000 + first);
        members.find_by_badge(&badge).await.expect("the servers are up");
        let rows: Vec<Member> = ids.iter().map(|&id| Member::sample(id)).collect();
        members.create_many(&rows).await.into_iter().for_each(|it| drop(it.expect("a new row")));
        queues.wait_until_drained().await.expect("Redis is up");
        let patch = |&id: &i64| (id, Member::patch().team(Some("a".to_owned())));
        let patches: Vec<_> = ids.iter().map(patch).collect();
        members.update_many(&patches).await.into_iter().for_each(|it| drop(it.expect("a row")));
        queues.wait_until_drained().await.expect("Redis is up");
        members.delete_many(&ids).await.into_iter().for_each(|it| drop(it.expect("a row")));
        queues.wait_until_drained().await.expect("Redis is up");
    }
}

/// A statement is prepared for as long as its connection lives, and its plan with it, until PostgreSQL
/// analyses the table.
#[tokio::test]
async fn a_table_that_was_empty_is_not_scanned_when_it_has_grown() {
    let change = |settings: &mut Settings| {
        settings.postgres.max_connections = 1;
        settings.drain.workers = 1;
        settings.drain.interval = Duration::from_millis(5);
    };
    let pair = pair().await.with(change).await;
    pair.sql("ALTER TABLE members SET (autovacuum_enabled = off)").await;
    let kv = pair.other_process().await;
    let drainer = kv.drainer().model::<Member>().spawn();
    look_up_and_change(&kv, 0..10).await;
    pair.sql(
        "INSERT INTO members SELECT id, 1, id || '@c.d', 'badge ' || id, NULL, NULL \
         FROM generate_series(10000, 29999) AS id",
    )
    .await;
    look_up_and_change(&kv, 10..20).await;
    drainer.shutdown().await.expect("nothing is in the way");
    // Its connections tell what they have done when they end.
    drop(kv);
    let is_counted = "SELECT (n_tup_del = 400 AND seq_tup_read + idx_tup_fetch >= 600)::text AS value \
        FROM pg_stat_user_tables WHERE relname = 'members'";
    let counted = async || pair.texts(is_counted).await == [Some("true".to_owned())];
    until("PostgreSQL has counted", counted).await;
    let scanned = "SELECT (seq_tup_read >= 20000)::text AS value FROM pg_stat_user_tables \
        WHERE relname = 'members'";
    assert_eq!(pair.texts(scanned).await, [Some("false".to_owned())]);
}
