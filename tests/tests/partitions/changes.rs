//! What a change of the number of partitions keeps, over each pair.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_runtime::{Error, Status, StorageScheme, SwitchError};
use kv_tests::contract;
use kv_tests::counting::{self, Counting};
use kv_tests::models::{Account, Counter, Flight, Member, Seat};
use kv_tests::pair::Pair;

contract!(in parallel:
    a_queue_gets_other_partitions_while_it_is_used,
    who_has_slept_sees_what_was_written_since,
    versions_and_receipts_go_on,
    unique_values_are_found_and_stay_unique,
    a_unit_of_work_is_one_across_a_change,
    rows_under_each_scheme_are_taken_along,
    what_is_not_drained_stays_where_it_is,
    numbers_that_no_queue_can_have_are_refused,
);

/// The ways that the tests go.
const COUNTS: [u16; 5] = [32, 3, 1, 8, 64];
/// Longer than a change waits for anything on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn account(id: i64) -> Account {
    Account { id, revision: 0, note: None, active: true }
}

async fn a_queue_gets_other_partitions_while_it_is_used(pair: Pair) {
    let other = pair.other_process().await;
    let drainer = pair.spawn_drainer();
    let counting = Counting::start(&pair, 0..6).await;
    for count in COUNTS {
        pair.kv.change_partitions::<Counter>(count).await.expect("a drainer is at work");
        assert_eq!(other.partitions::<Counter>().await.expect("an answer"), count);
        counting.go_on().await;
    }
    let totals = counting.stop().await;
    drainer.shutdown().await.expect("everything is drained");
    let counters = pair.kv.repository::<Counter>();
    for (id, total) in &totals {
        assert_eq!(counters.get_by_id(id).await.expect("a row").total, *total);
    }
    counting::check_rows(&pair, &totals).await;
}

/// What was written since is in Redis alone, so that an old partition and PostgreSQL both know less.
async fn who_has_slept_sees_what_was_written_since(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    for id in 0..3 {
        let _ = accounts.create(&account(id)).await.expect("a new row");
    }
    for count in COUNTS {
        let revision = i64::from(count);
        let mut slept = Vec::new();
        for _ in 0..5 {
            let kv = pair.other_process().await;
            assert!(kv.repository::<Account>().exists(&0).await.expect("an answer"));
            slept.push(kv.repository::<Account>());
        }
        let drainer = pair.spawn_drainer();
        pair.kv.change_partitions::<Account>(count).await.expect("a drainer is at work");
        drainer.shutdown().await.expect("everything is drained");
        let _ = accounts.update(&0, Account::patch().revision(revision)).await.expect("a row");
        let _ = accounts.delete(&1).await.expect("a row");
        assert_eq!(slept[0].get_by_id(&0).await.expect("a row").revision, revision);
        assert_eq!(slept[1].find_by_id(&1).await.expect("an answer"), None);
        assert_eq!(slept[2].status(&0).await.expect("an answer"), Status::Dirty);
        let found = slept[3].query().filter(move |a| a.revision.eq(revision)).load().await;
        assert_eq!(found.expect("an answer").len(), 1, "of {count}");
        let removed = slept[4].invalidate(&0).await;
        assert!(matches!(removed, Err(Error::Conflict { .. })), "{removed:?} of {count}");
        let _ = slept[1].create(&account(1)).await.expect("its id is free");
    }
}

async fn versions_and_receipts_go_on(pair: Pair) {
    let accounts = pair.kv.repository::<Account>();
    let drainer = pair.spawn_drainer();
    let mut receipts = Vec::new();
    for id in 0..20 {
        receipts.push(accounts.create(&account(id)).await.expect("a new row"));
    }
    let mut versions: Vec<i64> = receipts.iter().map(|receipt| receipt.version).collect();
    for count in COUNTS {
        pair.kv.change_partitions::<Account>(count).await.expect("a drainer is at work");
        for receipt in receipts.drain(..) {
            let durable = tokio::time::timeout(WAIT_MAX, receipt.await_durable()).await;
            durable.expect("it is known").expect("it was drained before the change");
        }
        for (id, version) in (0..).zip(&mut versions) {
            let receipt = match id % 2 {
                0 => accounts.update(&id, Account::patch().revision(i64::from(count))).await,
                // Deleted and opened again it goes on, too.
                _ => {
                    let _ = accounts.delete(&id).await.expect("a row");
                    let revision = i64::from(count);
                    accounts.create(&Account { revision, ..account(id) }).await
                }
            };
            let receipt = receipt.expect("a row");
            assert!(receipt.version > *version, "account {id} of {count}");
            *version = receipt.version;
            receipts.push(receipt);
        }
    }
    drainer.shutdown().await.expect("everything is drained");
    let durable = pair.kv.durable_rows::<Account>().await.expect("PostgreSQL is up");
    assert!(durable.len() == 20 && durable.iter().all(|row| row.revision == 64), "{durable:?}");
}

async fn unique_values_are_found_and_stay_unique(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    let other = pair.other_process().await.repository::<Member>();
    let drainer = pair.spawn_drainer();
    for id in 0..10 {
        let _ = members.create(&Member::with_badge(id, &format!("b{id}"))).await.expect("new");
    }
    for (place, count) in (0..).zip(COUNTS) {
        assert_eq!(other.find_by_badge("b9").await.expect("an answer").map(|row| row.id), Some(9));
        pair.kv.change_partitions::<Member>(count).await.expect("a drainer is at work");
        // Not drained yet: only Redis knows whose they are.
        let (old, new) = (format!("b{place}"), format!("c{place}"));
        let patch = Member::patch().badge(Some(new.clone()));
        let _ = members.update(&place, patch).await.expect("a free value");
        let found = other.find_by_badge(&new).await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(place), "of {count}");
        assert_eq!(other.find_by_badge(&old).await.expect("an answer"), None, "of {count}");
        let taken = other.create(&Member::with_badge(100 + place, &new)).await;
        assert!(matches!(taken, Err(Error::NotUnique { .. })), "{taken:?} of {count}");
        let _ = other.create(&Member::with_badge(200 + place, &old)).await.expect("a free value");
    }
    drainer.shutdown().await.expect("everything is drained");
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("PostgreSQL is up").len(), 15);
}

async fn a_unit_of_work_is_one_across_a_change(pair: Pair) {
    let other = pair.other_process().await;
    let drainer = pair.spawn_drainer();
    let id = "LH1".to_owned();
    let flight = Flight { flight: id.clone(), taken: 0 };
    let _ = other.repository::<Flight>().upsert(&flight).await.expect("Redis is up");
    for (place, count) in (0..).zip(COUNTS) {
        let (kv, tries) = (pair.kv.clone(), AtomicU64::new(0));
        let (id, tries) = (&id, &tries);
        let work = async |unit: kv_runtime::Transaction| {
            let is_first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            let flights = unit.repository::<Flight>();
            let taken = flights.get_by_id(id).await?.taken;
            if is_first {
                // Between its reading and its writing.
                kv.change_partitions::<Seat>(count).await.expect("a drainer is at work");
            }
            flights.update(id, Flight::patch().taken(taken + 1)).await?;
            let seat = Seat { flight: id.clone(), number: place, passenger: None };
            unit.repository::<Seat>().create(&seat).await?;
            Ok::<_, Error>(())
        };
        let committed = other.transaction(work).await.expect("it is done anew");
        assert!(committed.receipt.is_some());
        let flights = other.repository::<Flight>();
        let taken = flights.get_by_id(id).await.expect("a row").taken;
        assert_eq!(taken, i32::from(place) + 1, "of {count}");
    }
    drainer.shutdown().await.expect("everything is drained");
    assert_eq!(pair.kv.durable_rows::<Seat>().await.expect("PostgreSQL is up").len(), 5);
}

async fn rows_under_each_scheme_are_taken_along(pair: Pair) {
    let members = pair.kv.repository::<Member>();
    let other = pair.other_process().await.repository::<Member>();
    let drainer = pair.spawn_drainer();
    for id in 0..40 {
        let _ = members.create(&Member::with_badge(id, &format!("b{id}"))).await.expect("new");
    }
    for (place, (scheme, count)) in (0..).zip(StorageScheme::ALL.into_iter().rev().zip(COUNTS)) {
        pair.kv.switch_scheme::<Member>(scheme).await.expect("a drainer is at work");
        // A tombstone, where Redis has the rows alone.
        let _ = members.delete(&(30 + place)).await.expect("a row");
        pair.kv.change_partitions::<Member>(count).await.expect("a drainer is at work");
        for id in 0..30 {
            let row = other.get_by_id(&id).await.expect("a row");
            assert_eq!(row, Member::with_badge(id, &format!("b{id}")), "{scheme}, {count}");
        }
        for id in 30..=30 + place {
            assert_eq!(other.find_by_id(&id).await.expect("an answer"), None, "{scheme}, {count}");
        }
        let found = other.find_by_badge("b7").await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(7), "{scheme}, {count}");
        let taken = other.create(&Member::with_badge(100, "b8")).await;
        let is_refused = matches!(taken, Err(Error::NotUnique { .. } | Error::Refused { .. }));
        assert!(is_refused, "{taken:?} under {scheme}, {count}");
        let patch = Member::patch().team(Some(format!("t{place}")));
        let _ = other.update(&20, patch).await.expect("a row");
        let team = members.get_by_id(&20).await.expect("a row").team;
        assert_eq!(team, Some(format!("t{place}")), "{scheme}, {count}");
        let patch = Member::patch().team(None);
        let _ = other.update(&20, patch).await.expect("a row");
    }
    pair.kv.switch_scheme::<Member>(StorageScheme::WriteBehind).await.expect("it was drained");
    drainer.shutdown().await.expect("everything is drained");
    assert_eq!(pair.kv.durable_rows::<Member>().await.expect("PostgreSQL is up").len(), 35);
}

async fn what_is_not_drained_stays_where_it_is(pair: Pair) {
    let pair = pair.with(|settings| settings.switch_timeout = Duration::from_millis(200)).await;
    let accounts = pair.kv.repository::<Account>();
    let _ = accounts.create(&account(1)).await.expect("a new row");
    let changed = pair.kv.change_partitions::<Account>(32).await;
    assert!(matches!(changed, Err(SwitchError::NotDrained { undrained: 1, .. })), "{changed:?}");
    assert_eq!(pair.kv.partitions::<Account>().await.expect("an answer"), 8);
    let _ = accounts.create(&account(2)).await.expect("it goes on as it was");
    assert_eq!(pair.drain().await.entries_drained, 2);
    let drainer = pair.spawn_drainer();
    pair.kv.change_partitions::<Account>(3).await.expect("a drainer is at work");
    assert!(accounts.get_by_id(&1).await.expect("a row").active);
    drainer.shutdown().await.expect("everything is drained");
}

async fn numbers_that_no_queue_can_have_are_refused(pair: Pair) {
    for count in [0, 1_025] {
        let changed = pair.kv.change_partitions::<Account>(count).await;
        let changed = changed.expect_err("no queue has so many").to_string();
        let expected =
            format!("queue `account_queue` cannot have {count} partitions; it can have 1 to 1024");
        assert_eq!(changed, expected);
    }
}
