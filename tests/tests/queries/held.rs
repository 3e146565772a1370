//! Rows with dead letters are answered as Redis has them, as every other read does.

use std::time::Duration;

use kv_runtime::{DeadLetterFilter, Error, OnHeld, Repository, Status, Stored};
use kv_tests::contract;
use kv_tests::models::{Account, Flight, Seat};
use kv_tests::pair::Pair;

contract!(
    a_held_row_is_answered_as_redis_has_it,
    a_held_row_is_answered_so_also_after_a_wait,
    a_row_that_is_let_go_is_answered_as_postgresql_has_it,
);

fn account(id: i64, revision: i64) -> Account {
    Account { id, revision, note: None, active: true }
}

/// Account 1, of which PostgreSQL has revision 1 and refuses revision 2; and account 2.
async fn clash(pair: &Pair) -> Repository<Account> {
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1, 1)).await.expect("a new row");
    let _ = accounts.create(&account(2, 1)).await.expect("a new row");
    pair.drain().await;
    accounts.invalidate(&1).await.expect("a clean row");
    let _ = accounts.create(&account(1, 2)).await.expect("Redis does not know of the first");
    accounts
}

async fn revisions(accounts: &Repository<Account>) -> Vec<(i64, i64)> {
    let rows = accounts.query().load().await.expect("rows");
    rows.iter().map(|row| (row.id, row.revision)).collect()
}

async fn a_held_row_is_answered_as_redis_has_it(pair: Pair) {
    let accounts = clash(&pair).await;
    assert_eq!(revisions(&accounts).await, [(1, 2), (2, 1)], "not refused yet");
    pair.drain().await;
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
    assert_eq!(revisions(&accounts).await, [(1, 2), (2, 1)]);
    let with = |revision| accounts.query().filter(move |a| a.revision.eq(revision));
    assert_eq!(with(2).count().await.expect("a count"), 1);
    assert_eq!(with(1).count().await.expect("a count"), 1);
    assert_eq!(with(1).stored().count().await.expect("a count").value, 2);
}

async fn a_held_row_is_answered_so_also_after_a_wait(pair: Pair) {
    let pair = pair.with(|settings| settings.overlay_max = 0).await;
    let accounts = clash(&pair).await;
    let counting = tokio::spawn({
        let accounts = accounts.clone();
        async move { revisions(&accounts).await }
    });
    tokio::task::yield_now().await;
    let drainer = pair.spawn_drainer();
    let found = tokio::time::timeout(Duration::from_secs(20), counting).await;
    assert_eq!(found.expect("it is drained").expect("no panic"), [(1, 2), (2, 1)]);
    assert_eq!(accounts.status(&1).await.expect("a status"), Status::Held);
    drainer.shutdown().await.expect("everything is drained");
}

async fn a_row_that_is_let_go_is_answered_as_postgresql_has_it(pair: Pair) {
    let accounts = clash(&pair).await;
    pair.drain().await;
    let letters = pair.kv.dead_letters();
    assert_eq!(letters.discard(&DeadLetterFilter::new()).await.expect("one letter"), 1);
    assert_eq!(revisions(&accounts).await, [(1, 1), (2, 1)]);
}

/// A held row with further changes behind: a patch, then its end.
#[tokio::test]
async fn what_queues_behind_a_dead_letter_is_answered_too() {
    let pair = Pair::servers().await.with(|settings| settings.on_held = OnHeld::Queue).await;
    let accounts = clash(&pair).await;
    pair.drain().await;
    let _ = accounts.update(&1, Account::patch().revision(3)).await.expect("it queues behind");
    assert_eq!(revisions(&accounts).await, [(1, 3), (2, 1)]);
    pair.drain().await;
    assert_eq!(revisions(&accounts).await, [(1, 3), (2, 1)]);
    let _ = accounts.delete(&1).await.expect("it queues behind");
    assert_eq!(revisions(&accounts).await, [(2, 1)]);
    pair.drain().await;
    assert_eq!(revisions(&accounts).await, [(2, 1)], "a tombstone that is held");
    pair.sql("DELETE FROM accounts WHERE id = 1").await;
    let replayed = pair.kv.dead_letters().replay(&DeadLetterFilter::new()).await;
    assert_eq!(replayed.expect("they are taken").applied, 3);
    assert_eq!(revisions(&accounts).await, [(2, 1)]);
}

/// Every row of a unit of work is laid over, though it has one entry, and one dead letter.
#[tokio::test]
async fn all_rows_of_a_unit_of_work_are_answered() {
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE seats ADD CHECK (number <> 1)").await;
    let (seats, flights) = (pair.kv.repository::<Seat>(), pair.kv.repository::<Flight>());
    let unit = pair.kv.transaction(async |unit| {
        unit.repository::<Flight>().create(&Flight { flight: "AA".into(), taken: 2 }).await?;
        for number in 1..=2 {
            let seat = Seat { flight: "AA".into(), number, passenger: None };
            unit.repository::<Seat>().create(&seat).await?;
        }
        Ok::<_, Error>(())
    });
    unit.await.expect("a unit");
    for is_drained in [false, true] {
        assert_eq!(seats.query().count().await.expect("a count"), 2, "{is_drained}");
        assert_eq!(flights.query().sum(|f| f.taken).await.expect("a sum"), Some(2), "{is_drained}");
        let Stored { value, behind } = seats.query().stored().count().await.expect("a count");
        // A dead letter is not behind: it is not on its way.
        let entries = u64::from(!is_drained);
        assert_eq!((value, behind.map(|behind| behind.entries)), (0, Some(entries)));
        if !is_drained {
            assert_eq!(pair.drain().await.dead_letters, 1);
        }
    }
}
