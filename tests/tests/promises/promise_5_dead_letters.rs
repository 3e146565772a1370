//! What PostgreSQL refuses for its content becomes a dead letter, with every later entry of its row
//! behind it; the rest moves on.

use kv_runtime::{CheckMode, DeadLetterFilter, Error, OnHeld, Replayed, Settings, Status};
use kv_tests::contract;
use kv_tests::models::{Account, Booking};
use kv_tests::outside::{RedisView, stream_beside};
use kv_tests::pair::Pair;

contract!(
    a_refused_entry_leaves_with_what_is_behind_it,
    discarding_lets_the_row_go,
    writes_queue_behind_where_the_user_chose_so,
);

fn account(id: i64) -> Account {
    Account { id, revision: 1, note: None, active: true }
}

/// An account that is in PostgreSQL, and a new one of the same id, which its caller vouched for.
async fn clash(pair: &Pair, id: i64) {
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(id)).await.expect("a new row");
    pair.drain().await;
    accounts.invalidate(&id).await.expect("a clean row");
    let second = Account { revision: 2, ..account(id) };
    let _ = accounts.create(&second).await.expect("Redis does not know of the first");
}

async fn a_refused_entry_leaves_with_what_is_behind_it(pair: Pair) {
    clash(&pair, 1).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.update(&1, Account::patch().note("b")).await.expect("a row");
    for id in 2..100 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters, status.undrained), (100, 2, 0));
    assert_eq!((status.rows_written, status.entries_folded), (98, 0));
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), 99);

    // The row can be read as it was written, and not be written.
    let row = accounts.get_by_id(&1).await.expect("it is held, and there");
    assert_eq!((row.revision, row.note.as_deref()), (2, Some("b")));
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
    assert_eq!(accounts.status(&2).await.expect("a status"), Status::Clean);
    let error = accounts.delete(&1).await.expect_err("it is held");
    assert!(matches!(error, Error::Held { .. }), "{error}");

    let letters = pair.kv.dead_letters();
    let all = letters.list(&DeadLetterFilter::new()).await.expect("the letters");
    let [first, second] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(first.sqlstate.as_deref(), Some("23505"));
    assert_eq!((first.behind, second.behind), (None, Some(first.entry)));
    assert!(first.entry < second.entry);
    assert!(
        first.change.starts_with("create accounts 1 ")
            || first.change.starts_with("create account 1 ")
    );
    assert!(second.values.contains("\"b\""), "{}", second.values);
    assert_eq!(letters.show(second.id).await.expect("a letter").as_ref(), Some(second));
    let found =
        async |filter: DeadLetterFilter| letters.list(&filter).await.expect("letters").len();
    let by_row = |id: i64| DeadLetterFilter::new().row::<Account>(&id).expect("an id");
    assert_eq!(found(by_row(1)).await, 2);
    assert_eq!(found(by_row(2)).await, 0);
    assert_eq!(found(DeadLetterFilter::new().model::<Account>().limit(1)).await, 1);
    assert_eq!(found(DeadLetterFilter::new().model::<Booking>()).await, 0);
    assert_eq!(found(DeadLetterFilter::new().error("23505")).await, 1);

    // Nothing has changed that would let it be taken now.
    let replayed = letters.replay(&by_row(1)).await.expect("it is tried");
    assert_eq!((replayed.applied, replayed.still_held), (0, 2));
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
}

async fn discarding_lets_the_row_go(pair: Pair) {
    clash(&pair, 1).await;
    pair.drain().await;
    let accounts = pair.kv.repository::<Account>();
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
    let letters = pair.kv.dead_letters();
    assert_eq!(letters.discard(&DeadLetterFilter::new()).await.expect("one letter"), 1);
    assert_eq!(letters.discard(&DeadLetterFilter::new()).await.expect("none"), 0);
    assert_eq!(accounts.get_by_id(&1).await.expect("the first"), account(1));
    let _ = accounts.update(&1, Account::patch().revision(3)).await.expect("it is let go");
    assert_eq!(pair.drain().await.dead_letters, 0);
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    assert_eq!(rows, [Account { revision: 3, ..account(1) }]);
}

async fn writes_queue_behind_where_the_user_chose_so(pair: Pair) {
    if !pair.has_servers() {
        // In memory, other settings are another pair.
        return;
    }
    let pair = pair.with(|settings| settings.on_held = OnHeld::Queue).await;
    clash(&pair, 1).await;
    pair.drain().await;
    let accounts = pair.kv.repository::<Account>();
    for revision in 3..6 {
        let patch = Account::patch().revision(revision);
        let _ = accounts.update(&1, patch).await.expect("it queues behind");
    }
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
    assert_eq!(pair.drain().await.dead_letters, 3);
    assert_eq!(accounts.get_by_id(&1).await.expect("a row").revision, 5);
    let letters = pair.kv.dead_letters();
    // With an entry that is not drained yet, the row stays until it is.
    let _ = accounts.update(&1, Account::patch().revision(6)).await.expect("it queues behind");
    pair.sql("DELETE FROM accounts").await;
    let replayed = letters.replay(&DeadLetterFilter::new()).await.expect("they are taken");
    assert_eq!((replayed.applied, replayed.still_held), (4, 0));
    assert_eq!(accounts.get_by_id(&1).await.expect("a row").revision, 6);
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Dirty);
    assert_eq!(pair.drain().await.dead_letters, 0);
    let rows = pair.kv.durable_rows::<Account>().await.expect("the rows");
    assert_eq!(rows, [Account { revision: 6, ..account(1) }]);
    assert_eq!(accounts.get_by_id(&1).await.expect("a row").revision, 6);
}

/// One bad row among thousands: all others are there, after a few attempts.
#[tokio::test]
async fn one_bad_row_among_thousands_costs_a_bisection() {
    let pair = Pair::servers().await;
    let change = |settings: &mut Settings| {
        settings.drain.workers = 1;
        // Of the trigger that counts.
        settings.checks.schema = CheckMode::Warn;
    };
    let pair = pair.with(change).await;
    pair.sql(
        "ALTER TABLE accounts ADD CONSTRAINT no_poison CHECK (note <> 'poison'); \
         CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$ \
         BEGIN PERFORM nextval('statements'); RETURN NULL; END $$; \
         CREATE SEQUENCE statements; \
         CREATE TRIGGER counted BEFORE INSERT ON accounts \
         FOR EACH STATEMENT EXECUTE FUNCTION count_statement()",
    )
    .await;
    let accounts = pair.kv.repository::<Account>();
    let row = |id| {
        let note = (id == 3_210).then(|| "poison".to_owned());
        Account { note, ..account(id) }
    };
    let rows: Vec<Account> = (0..5_000).map(row).collect();
    assert!(accounts.create_many(&rows).await.iter().all(Result::is_ok));
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters), (5_000, 1));
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), 4_999);
    let statements = pair.texts("SELECT last_value::text AS value FROM statements").await;
    let count: i64 = statements[0].as_deref().expect("a number").parse().expect("a number");
    assert!(count < 100, "{count} statements for one bad row");
    let letters = pair.kv.dead_letters();
    let all = letters.list(&DeadLetterFilter::new().error("no_poison")).await.expect("letters");
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].constraint.as_deref(), Some("no_poison"));
    assert_eq!(all[0].row_id.as_deref(), Some("3210"));

    // After the table was mended it is taken; and once only.
    pair.sql("ALTER TABLE accounts DROP CONSTRAINT no_poison").await;
    let replayed = letters.replay(&DeadLetterFilter::new()).await.expect("it is taken");
    assert_eq!((replayed.applied, replayed.still_held), (1, 0));
    let again = letters.replay(&DeadLetterFilter::new()).await.expect("none is left");
    assert_eq!(again, Replayed::default());
    assert_eq!(accounts.status(&3_210).await.expect("a status"), Status::Clean);
    assert_eq!(accounts.get_by_id(&3_210).await.expect("a row").note.as_deref(), Some("poison"));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_a_dead_letter() {
    let pair = Pair::servers().await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    let redis = RedisView::of(&pair).await;
    let stream = stream_beside(&accounts.key(&1).expect("an id"), "account_queue");
    for change in ["patch account 1 00000000000000ff 0", "no header", "\u{fffd}"] {
        redis.ask::<String>(&["XADD", &stream, "*", "change", change, "values", "no JSON"]).await;
    }
    let _ = accounts.update(&1, Account::patch().revision(2)).await.expect("a row");
    let status = pair.drain().await;
    assert_eq!((status.entries_drained, status.dead_letters, status.undrained), (5, 4, 0));
    assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows"), [account(1)]);

    let letters = pair.kv.dead_letters();
    let all = letters.list(&DeadLetterFilter::new()).await.expect("the letters");
    let rows: Vec<Option<&str>> = all.iter().map(|letter| letter.row_id.as_deref()).collect();
    assert_eq!(rows, [Some("1"), None, None, Some("1")]);
    assert!(all[0].message.contains("not understood"), "{}", all[0].message);
    assert_eq!((all[0].values.as_str(), all[3].behind), ("no JSON", Some(all[0].entry)));
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);

    // What names no row cannot be replayed, and is still there afterwards.
    let replayed = letters.replay(&DeadLetterFilter::new()).await.expect("it is tried");
    assert_eq!((replayed.applied, replayed.still_held), (0, 4));
    assert_eq!(letters.discard(&DeadLetterFilter::new()).await.expect("four letters"), 4);
    assert_eq!(accounts.get_by_id(&1).await.expect("a row"), account(1));
    let held = pair.texts("SELECT sum(held)::text AS value FROM kv_offsets").await;
    assert_eq!(held, [Some("0".to_owned())]);
}
