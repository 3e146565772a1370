//! Which rows are laid over: all that are dirty, whatever Redis has counted, and the model's alone.

use kv_runtime::{KvModel, Repository};
use kv_tests::models::{Account, Seat};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

fn account(id: i64, revision: i64) -> Account {
    Account { id, revision, note: None, active: true }
}

/// As after a failover to a replica that had more of one key than of the other.
#[tokio::test]
async fn entries_that_are_not_counted_are_laid_over() {
    let pair = Pair::servers().await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1, 1)).await.expect("a new row");
    pair.drain().await;
    for revision in 2..=4 {
        let patch = Account::patch().revision(revision);
        let _ = accounts.update(&1, patch).await.expect("a row");
    }
    let redis = RedisView::of(&pair).await;
    for key in redis.keys("hash").await.iter().filter(|key| key.contains(".state")) {
        let _: i64 = redis.ask(&["HINCRBY", key, "retained", "100"]).await;
    }
    let found = accounts.query().load().await.expect("rows");
    assert_eq!(found, [account(1, 4)]);
}

/// What seats were, before their number was made a part of the id.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "old_seats", key_prefix = "seat", queue = "flights")]
struct OldSeat {
    #[kv(id)]
    flight: String,
    number: i16,
    passenger: Option<String>,
}

#[tokio::test]
async fn held_rows_of_an_earlier_form_of_the_model_are_left_out() {
    let pair = Pair::servers().await;
    pair.sql(
        "CREATE TABLE old_seats (flight text PRIMARY KEY, number smallint CHECK (number <> 1), \
         passenger text)",
    )
    .await;
    let old_seats: Repository<OldSeat> = pair.kv.repository();
    let old = OldSeat { flight: "AA".into(), number: 1, passenger: None };
    let _ = old_seats.create(&old).await.expect("a new row");
    let drainer = pair.kv.drainer().model::<OldSeat>().spawn();
    assert_eq!(drainer.shutdown().await.expect("it is refused").dead_letters, 1);
    let pair = pair.with(|_| {}).await;
    let seats = pair.kv.repository::<Seat>();
    assert_eq!(seats.query().load().await.expect("rows"), []);
}
