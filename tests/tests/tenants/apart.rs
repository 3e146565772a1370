//! Equal ids, values and queues of two tenants, and of the pair that has none, do not meet.

use kv_runtime::{DeadLetterFilter, Error, Kv, StorageScheme};
use kv_tests::contract;
use kv_tests::models::{Account, Counter, Flight, Member, Seat};
use kv_tests::pair::{After, Pair};

contract!(
    equal_ids_are_different_rows,
    unique_values_are_a_tenants_own,
    queries_and_counters_are_a_tenants_own,
    units_of_work_are_a_tenants_own,
    dead_letters_are_a_tenants_own,
    a_tenant_chooses_its_storage_schemes,
    a_tenant_is_the_same_for_all_who_ask,
);

/// The pair that was opened, and two tenants of it.
async fn all_of(pair: Pair) -> [Pair; 3] {
    let (acme, globex) = (pair.tenant("acme").await, pair.tenant("globex").await);
    [pair, acme, globex]
}

fn account(id: i64, note: &str) -> Account {
    Account { id, revision: 1, note: Some(note.to_owned()), active: true }
}

async fn note(kv: &Kv, id: i64) -> Option<String> {
    let row = kv.repository::<Account>().find_by_id(&id).await.expect("an answer");
    row.and_then(|row| row.note)
}

async fn equal_ids_are_different_rows(pair: Pair) {
    let all = all_of(pair).await;
    let [_, acme, globex] = &all;
    let _ =
        acme.kv.repository::<Account>().create(&account(1, "of acme")).await.expect("a new row");
    assert_eq!(note(&globex.kv, 1).await, None, "the row of another one");
    let other = globex.kv.repository::<Account>();
    let missing = other.update(&1, Account::patch().active(false)).await.expect_err("no row");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");

    for (pair, text) in all.iter().zip(["of nobody", "of acme", "of globex"]) {
        if text != "of acme" {
            let _ =
                pair.kv.repository::<Account>().create(&account(1, text)).await.expect("a new row");
        }
    }
    for after in After::ALL {
        for (pair, text) in all.iter().zip(["of nobody", "of acme", "of globex"]) {
            pair.bring(&pair.kv.repository::<Account>(), &[1], after).await;
            assert_eq!(note(&pair.kv, 1).await.as_deref(), Some(text), "{after:?}");
        }
    }
    let _ = acme.kv.repository::<Account>().delete(&1).await.expect("a row");
    assert_eq!(acme.drain().await.rows_written, 1);
    assert_eq!(note(&acme.kv, 1).await, None);
    assert_eq!(note(&globex.kv, 1).await.as_deref(), Some("of globex"));
    for (pair, rows) in all.iter().zip([1, 0, 1]) {
        assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), rows);
    }
}

async fn unique_values_are_a_tenants_own(pair: Pair) {
    let all = all_of(pair).await;
    for pair in &all {
        let members = pair.kv.repository::<Member>();
        assert_eq!(members.find_by_badge("A").await.expect("an answer"), None);
        let _ = members.create(&Member::with_badge(1, "A")).await.expect("nobody of theirs has it");
        let taken = members.create(&Member::with_badge(2, "A")).await.expect_err("it is taken");
        assert!(matches!(taken, Error::NotUnique { .. }), "{taken}");
    }
    for pair in &all {
        assert_eq!(pair.drain().await.dead_letters, 0);
        let members = pair.kv.repository::<Member>();
        let found = members.find_by_badge("A").await.expect("an answer");
        assert_eq!(found.map(|row| row.id), Some(1));
    }
}

async fn queries_and_counters_are_a_tenants_own(pair: Pair) {
    let all = all_of(pair).await;
    for (pair, rows) in all.iter().zip([1, 2, 3]) {
        let accounts = pair.kv.repository::<Account>();
        for id in 0..rows {
            let _ = accounts.create(&account(id, "a")).await.expect("a new row");
        }
        let counter = Counter { id: 1, total: 0, r#type: "rides".to_owned() };
        let _ = pair.kv.repository::<Counter>().create(&counter).await.expect("a new row");
    }
    for drained in [false, true] {
        for (pair, rows) in all.iter().zip([1, 2, 3]) {
            let counted = pair.kv.repository::<Account>().query().count().await;
            assert_eq!(counted.expect("a count"), rows, "drained: {drained}");
            let counters = pair.kv.repository::<Counter>();
            let step = i64::try_from(rows).expect("a few");
            let total = counters.increment(&1, |c| c.total, step).await.expect("a row");
            assert_eq!(total.value, if drained { 2 * step } else { step });
            pair.drain().await;
        }
    }
}

async fn units_of_work_are_a_tenants_own(pair: Pair) {
    let all = all_of(pair).await;
    for (pair, taken) in all.iter().zip([1, 2, 3]) {
        let made = pair.kv.transaction(async |unit| {
            let flight = Flight { flight: "AA".into(), taken };
            unit.repository::<Flight>().create(&flight).await?;
            let seat = Seat { flight: "AA".into(), number: 1, passenger: None };
            unit.repository::<Seat>().create(&seat).await
        });
        let _ = made.await.expect("new rows");
    }
    for (pair, taken) in all.iter().zip([1, 2, 3]) {
        pair.drain().await;
        let flights = pair.kv.durable_rows::<Flight>().await.expect("the rows");
        assert_eq!(flights, [Flight { flight: "AA".into(), taken }]);
    }
}

async fn dead_letters_are_a_tenants_own(pair: Pair) {
    let all = all_of(pair).await;
    let [_, acme, globex] = &all;
    for pair in [acme, globex] {
        let _ =
            pair.kv.repository::<Account>().create(&account(1, "first")).await.expect("a new row");
        pair.drain().await;
        pair.kv.repository::<Account>().invalidate(&1).await.expect("a clean row");
    }
    let second = account(1, "second");
    let _ = acme
        .kv
        .repository::<Account>()
        .create(&second)
        .await
        .expect("Redis does not know of the first");
    assert_eq!(acme.drain().await.dead_letters, 1);
    for (pair, count) in all.iter().zip([0, 1, 0]) {
        let letters = pair.kv.dead_letters();
        pair.kv.repository::<Account>();
        assert_eq!(letters.list(&DeadLetterFilter::new()).await.expect("a list").len(), count);
    }
    let patch = || Account::patch().active(false);
    let held = acme.kv.repository::<Account>().update(&1, patch()).await.expect_err("it is held");
    assert!(matches!(held, Error::Held { .. }), "{held}");
    let _ = globex.kv.repository::<Account>().update(&1, patch()).await.expect("theirs is not");
    let discarded = globex.kv.dead_letters().discard(&DeadLetterFilter::new()).await;
    assert_eq!(discarded.expect("nothing is there"), 0);
    let discarded = acme.kv.dead_letters().discard(&DeadLetterFilter::new()).await;
    assert_eq!(discarded.expect("one is there"), 1);
    assert_eq!(note(&acme.kv, 1).await.as_deref(), Some("first"));
}

async fn a_tenant_chooses_its_storage_schemes(pair: Pair) {
    let all = all_of(pair).await;
    let [_, acme, globex] = &all;
    for pair in [acme, globex] {
        let _ = pair.kv.repository::<Account>().create(&account(1, "a")).await.expect("a new row");
    }
    let drainer = acme.spawn_drainer();
    let switched = acme.kv.switch_scheme::<Account>(StorageScheme::PostgresOnly).await;
    switched.expect("everything is drained");
    drainer.stop().await;
    for pair in [acme, globex] {
        let _ = pair.kv.repository::<Account>().create(&account(2, "b")).await.expect("a new row");
    }
    // What is written past the queue is there at once.
    for (pair, rows) in [(acme, 2), (globex, 0)] {
        assert_eq!(pair.kv.durable_rows::<Account>().await.expect("the rows").len(), rows);
    }
    let scheme = globex.kv.scheme::<Account>().await.expect("a scheme");
    assert_eq!(scheme, StorageScheme::WriteBehind);
}

async fn a_tenant_is_the_same_for_all_who_ask(pair: Pair) {
    let [pair, acme, _] = all_of(pair).await;
    let _ =
        acme.kv.repository::<Account>().create(&account(1, "of acme")).await.expect("a new row");
    let again = pair.kv.clone().tenant("acme").expect("a tenant");
    assert_eq!(note(&again, 1).await.as_deref(), Some("of acme"));
    let sister = acme.kv.tenant("globex").expect("another tenant");
    assert_eq!(note(&sister, 1).await, None);
    let _ =
        sister.repository::<Account>().create(&account(1, "of globex")).await.expect("a new row");
    let globex = pair.kv.tenant("globex").expect("a tenant");
    assert_eq!(note(&globex, 1).await.as_deref(), Some("of globex"));
}
