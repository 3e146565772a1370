//! Reads and notices in an order that real ones seldom come in.

use super::*;
use crate::cache::Cached;
use crate::row;
use crate::{Kv, KvModel};

const STALE_FOR: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Fare {
    #[kv(id, fresh)]
    zone: i64,
    cents: i64,
}

/// A cache that holds nothing yet, of a model with one row, and the row's key.
async fn fares() -> (Cached<Fare>, RowKey) {
    let settings = CacheSettings::new(STALE_FOR, 1 << 20);
    let fares = Kv::memory().cached::<Fare>(settings).expect("valid settings");
    fares.repository().create(&Fare { zone: 1, cents: 250 }).await.expect("a new row");
    let key = fares.repository().encode_id(at(), &1).expect("an id");
    (fares, key)
}

fn at() -> Operation {
    Operation::new(Fare::DESCRIPTOR, "get_by_id")
}

fn encoded(cents: i64) -> Option<EncodedRow> {
    Some(row::encode(&Fare { zone: 1, cents }).expect("a row"))
}

/// Begins a read, which nobody else may have begun.
fn begin(tier: &Arc<Tier>, key: &RowKey, is_last: bool) -> (Loading, Waiting) {
    let Found::Missing(loading, answer) = tier.find(key.clone()) else {
        panic!("the row is held or being read");
    };
    let mut loading = *loading;
    loading.begin(is_last);
    (loading, answer)
}

fn cents(row: Option<AnyRow>) -> Option<i64> {
    row.map(|row| row.downcast_ref::<Fare>().expect("a fare").cents)
}

/// With time that stands still, and goes on when it is told to.
#[tokio::test(start_paused = true)]
async fn a_row_is_as_old_as_the_moment_before_it_was_asked_for() {
    let (fares, _) = fares().await;
    let just_before = STALE_FOR - Duration::from_millis(1);
    for (passed, hits, loads) in [
        (Duration::ZERO, 0, 1),
        (just_before, 1, 1),
        (STALE_FOR - just_before, 1, 2),
        (just_before, 2, 2),
    ] {
        tokio::time::advance(passed).await;
        assert_eq!(fares.get_by_id(&1).await.expect("a row").cents, 250);
        let stats = fares.stats();
        assert_eq!((stats.hits, stats.loads), (hits, loads), "{passed:?} later");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_read_counts() {
    let (fares, key) = fares().await;
    let (loading, _) = begin(&fares.tier, &key, false);
    tokio::time::advance(STALE_FOR).await;
    assert!(loading.end(at(), encoded(1)).is_none());
    assert!(fares.tier.hit(&key).is_none(), "it is too old already");
}

#[tokio::test]
async fn the_last_read_is_joined_by_nobody_after_a_notice() {
    let (fares, key) = fares().await;
    let tier = &fares.tier;
    let (loading, first) = begin(tier, &key, true);
    tier.changed(&key.key);
    let (later, second) = begin(tier, &key, false);
    assert!(loading.end(at(), encoded(1)).is_none(), "it is not done again");
    assert!(tier.hit(&key).is_none(), "and not held");
    assert!(later.end(at(), encoded(2)).is_none());
    assert_eq!(tier.hit(&key).and_then(|row| cents(Some(row))), Some(2));
    for (answer, expected) in [(first, 1), (second, 2)] {
        let row = answer.await.expect("an answer").expect("no error");
        assert_eq!(cents(row), Some(expected));
    }
}

/// Who waits for it may have come after the notice, and before another read was begun.
#[tokio::test(start_paused = true)]
async fn a_read_that_takes_too_long_heeds_its_notices() {
    let (fares, key) = fares().await;
    let tier = &fares.tier;
    let (loading, _) = begin(tier, &key, false);
    tier.changed(&key.key);
    assert!(matches!(tier.find(key.clone()), Found::Waiting(_)));
    tokio::time::advance(STALE_FOR).await;
    let (later, _) = begin(tier, &key, false);
    let mut again = loading.end(at(), encoded(1)).expect("it is done again");
    again.begin(false);
    assert!(again.end(at(), encoded(2)).is_none());
    assert!(tier.hit(&key).is_none(), "the later one says what is held");
    assert!(later.end(at(), encoded(3)).is_none());
    assert_eq!(tier.hit(&key).and_then(|row| cents(Some(row))), Some(3));
}

#[tokio::test]
async fn all_may_have_changed() {
    let (fares, key) = fares().await;
    let tier = &fares.tier;
    let (loading, _) = begin(tier, &key, false);
    tier.all_changed();
    let mut again = loading.end(at(), encoded(1)).expect("it is done again");
    again.begin(true);
    tier.all_changed();
    assert!(again.end(at(), encoded(1)).is_none(), "it was the last time");
    assert!(tier.hit(&key).is_none());

    let (loading, _) = begin(tier, &key, false);
    assert!(loading.end(at(), encoded(2)).is_none());
    assert!(tier.hit(&key).is_some());
    tier.all_changed();
    assert!(tier.hit(&key).is_none());
}

#[tokio::test]
async fn a_read_whose_task_has_ended_is_an_error_and_begun_anew() {
    let (fares, key) = fares().await;
    let (loading, answer) = begin(&fares.tier, &key, false);
    drop(loading);
    assert!(answer.await.is_err());
    assert_eq!(fares.get_by_id(&1).await.expect("a row").cents, 250);
}
