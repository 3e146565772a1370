//! What an entry holds, and what PostgreSQL is asked for it.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::{CheckMode, Repository, Settings, StorageScheme};
use kv_tests::models::{Account, Counter};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

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
