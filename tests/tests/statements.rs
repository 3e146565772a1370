//! What an entry holds, and what PostgreSQL is asked for it.

use kv_runtime::{CheckMode, Settings};
use kv_tests::models::Account;
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
