//! What each operation answers, whether the rows are dirty, drained, or in PostgreSQL alone.

use std::time::Duration;

use fastrand::Rng;
use kv_runtime::{Condition, Error, KvModel, Repository, count};
use kv_tests::contract;
use kv_tests::models::{Booking, Counter, Place, Seat, Status};
use kv_tests::pair::{After, Pair};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::samples::{Mood, Sample, drain, with_samples};

contract!(
    rows_are_filtered_sorted_and_cut,
    filters_are_joined,
    rows_that_no_longer_match_or_are_gone_are_not_answered,
    aggregates_are_those_of_the_rows,
    groups_are_told_apart,
    aggregates_of_no_rows,
    an_aggregate_is_about_the_rows_that_would_be_answered,
    composite_ids_and_renamed_columns_are_laid_over,
    models_that_share_a_queue_do_not_meet,
    any_text_is_a_literal,
    a_value_that_cannot_be_stored_is_told,
    a_pattern_that_escapes_nothing_is_told,
    a_sum_that_its_type_cannot_hold_is_refused,
    a_sum_of_floats_is_rounded_once,
    many_literals_make_one_statement,
    conditions_can_be_nested,
    tenants_do_not_meet,
);

/// Five bookings with the seats 1 to 5, of which 2 and 4 have no driver.
async fn bookings(pair: &Pair, after: After) -> (Repository<Booking>, Vec<Booking>) {
    let bookings = pair.kv.repository::<Booking>();
    let rows: Vec<Booking> = (1..=5)
        .map(|seats| Booking {
            seats,
            reference: format!("R{seats}"),
            driver_id: (seats % 2 == 1).then(|| Uuid::from_u128(7)),
            status: if seats < 4 { Status::New } else { Status::Completed },
            fare: Decimal::new(i64::from(seats) * 150, 2),
            ..Booking::sample()
        })
        .collect();
    for result in bookings.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    if after != After::Write {
        pair.drain().await;
    }
    if after == After::Eviction {
        for row in &rows {
            bookings.invalidate(&row.id).await.expect("a clean row");
        }
    }
    (bookings, rows)
}

async fn clear(bookings: &Repository<Booking>, rows: &[Booking]) {
    for row in rows {
        let _ = bookings.delete(&row.id).await.expect("a row");
    }
}

fn seats(rows: &[Booking]) -> Vec<i32> {
    rows.iter().map(|row| row.seats).collect()
}

async fn rows_are_filtered_sorted_and_cut(pair: Pair) {
    for after in After::ALL {
        let (bookings, rows) = bookings(&pair, after).await;
        let found = bookings
            .query()
            .filter(|b| b.status.eq(Status::New).or(b.fare.between(6.into(), 7.into())))
            .order_by(|b| b.status.desc())
            .order_by(|b| b.seats.desc())
            .limit(2)
            .offset(1)
            .load()
            .await
            .expect("rows");
        assert_eq!(found, [rows[1].clone(), rows[0].clone()], "{after:?}");
        let first = bookings.query().order_by(|b| b.seats.desc()).first().await.expect("a row");
        assert_eq!(first.as_ref(), Some(&rows[4]), "{after:?}");
        let is_there = |seats| bookings.query().filter(move |b| b.seats.gt(seats)).exists();
        assert!(is_there(4).await.expect("an answer"), "{after:?}");
        assert!(!is_there(5).await.expect("an answer"), "{after:?}");
        // Without an order, by the id.
        let all = bookings.query().load().await.expect("rows");
        assert_eq!(seats(&all), [1, 2, 3, 4, 5], "{after:?}");
        clear(&bookings, &rows).await;
    }
}

async fn filters_are_joined(pair: Pair) {
    let (bookings, _) = bookings(&pair, After::Write).await;
    let query = bookings.query().filter(|b| b.seats.gt(1)).filter(|b| b.seats.lt(4));
    assert_eq!(seats(&query.clone().load().await.expect("rows")), [2, 3]);
    let driven = query.clone().filter(|b| !b.driver_id.is_null());
    assert_eq!(seats(&driven.load().await.expect("rows")), [3]);
    let of_nobody = query.filter(|b| !b.driver_id.eq(Uuid::nil()));
    assert_eq!(seats(&of_nobody.load().await.expect("rows")), [3], "NULL is not unequal either");
}

async fn rows_that_no_longer_match_or_are_gone_are_not_answered(pair: Pair) {
    let (bookings, rows) = bookings(&pair, After::Eviction).await;
    let new = || bookings.query().filter(|b| b.status.eq(Status::New)).load();
    let completed = Booking::patch().status(Status::Completed);
    let _ = bookings.update(&rows[0].id, completed).await.expect("a row");
    let _ = bookings.delete(&rows[1].id).await.expect("a row");
    let _ = bookings.update(&rows[4].id, Booking::patch().status(Status::New)).await.expect("it");
    assert_eq!(seats(&new().await.expect("rows")), [3, 5]);
    // The same, once it is created again and once it is drained.
    let again = Booking { seats: 9, ..rows[1].clone() };
    let _ = bookings.create(&again).await.expect("it was deleted");
    assert_eq!(seats(&new().await.expect("rows")), [9, 3, 5]);
    pair.drain().await;
    assert_eq!(seats(&new().await.expect("rows")), [9, 3, 5]);
}

async fn aggregates_are_those_of_the_rows(pair: Pair) {
    for after in After::ALL {
        let (bookings, rows) = bookings(&pair, after).await;
        let query = || bookings.query().filter(|b| b.seats.ge(2));
        assert_eq!(query().count().await.expect("a count"), 4);
        assert_eq!(query().sum(|b| b.seats).await.expect("a sum"), Some(14));
        assert_eq!(query().sum(|b| b.fare).await.expect("a sum"), Some(Decimal::new(2_100, 2)));
        assert_eq!(query().avg(|b| b.seats).await.expect("an average"), Some(3.5));
        let average = query().avg(|b| b.fare).await.expect("an average");
        assert_eq!(average, Some(Decimal::new(525, 2)));
        let several = query().aggregate(|b| (count(), b.fare.sum(), b.seats.avg(), b.seats.min()));
        let expected = (4, Some(Decimal::new(2_100, 2)), Some(3.5), Some(2));
        assert_eq!(several.await.expect("one row of them"), expected);
        assert_eq!(query().min(|b| b.reference).await.expect("one").as_deref(), Some("R2"));
        assert_eq!(query().max(|b| b.seats).await.expect("one"), Some(5));
        let last = rows.iter().map(|row| row.id).max();
        assert_eq!(query().max(|b| b.id).await.expect("one"), last);
        clear(&bookings, &rows).await;
    }
}

async fn groups_are_told_apart(pair: Pair) {
    for after in After::ALL {
        let (bookings, rows) = bookings(&pair, after).await;
        let driver = Some(Uuid::from_u128(7));
        let counts = bookings.query().group_by(|b| b.status).count().await.expect("groups");
        assert_eq!(counts, [(Status::Completed, 2), (Status::New, 3)], "{after:?}");
        let sums = bookings.query().group_by(|b| (b.status, b.driver_id)).sum(|b| b.seats).await;
        let expected = [
            ((Status::Completed, driver), Some(5)),
            ((Status::Completed, None), Some(4)),
            ((Status::New, driver), Some(4)),
            ((Status::New, None), Some(2)),
        ];
        assert_eq!(sums.expect("groups"), expected, "{after:?}");
        let least = bookings.query().group_by(|b| b.driver_id).min(|b| b.seats).await;
        assert_eq!(least.expect("groups"), [(driver, Some(1)), (None, Some(2))], "{after:?}");
        let greatest = bookings.query().group_by(|b| b.status).max(|b| b.driver_id).await;
        let expected = [(Status::Completed, driver), (Status::New, driver)];
        assert_eq!(greatest.expect("groups"), expected, "{after:?}");
        let average = bookings.query().group_by(|b| b.status).avg(|b| b.seats).await;
        let expected = [(Status::Completed, Some(4.5)), (Status::New, Some(2.0))];
        assert_eq!(average.expect("groups"), expected, "{after:?}");
        let several = bookings.query().group_by(|b| (b.status, b.driver_id));
        let several = several.aggregate(|b| (b.seats.max(), count())).await.expect("groups");
        assert_eq!(several[0], ((Status::Completed, driver), (Some(5), 1)), "{after:?}");
        assert_eq!(several.iter().map(|(_, (_, count))| count).sum::<u64>(), 5, "{after:?}");
        clear(&bookings, &rows).await;
    }
}

async fn aggregates_of_no_rows(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let query = || bookings.query().filter(|b| b.seats.is_in([]));
    assert_eq!(query().count().await.expect("a count"), 0);
    assert_eq!(query().sum(|b| b.seats).await.expect("no sum"), None);
    assert_eq!(query().avg(|b| b.fare).await.expect("no average"), None);
    assert_eq!(query().min(|b| b.id).await.expect("none"), None);
    let several = query().aggregate(|b| (b.seats.sum(), count())).await;
    assert_eq!(several.expect("an answer"), (None, 0));
    assert_eq!(query().first().await.expect("none"), None);
    assert!(query().load().await.expect("none").is_empty());
    assert!(query().group_by(|b| b.status).count().await.expect("no groups").is_empty());
}

async fn an_aggregate_is_about_the_rows_that_would_be_answered(pair: Pair) {
    let (bookings, _) = bookings(&pair, After::Write).await;
    let last_two = || bookings.query().order_by(|b| b.seats.desc()).limit(2);
    assert_eq!(last_two().count().await.expect("a count"), 2);
    assert_eq!(last_two().sum(|b| b.seats).await.expect("a sum"), Some(9));
    assert_eq!(last_two().offset(4).sum(|b| b.seats).await.expect("a sum"), Some(1));
    assert!(!last_two().offset(5).exists().await.expect("an answer"));
    let counts = last_two().group_by(|b| b.status).count().await.expect("a group");
    assert_eq!(counts, [(Status::Completed, 2)]);
}

async fn composite_ids_and_renamed_columns_are_laid_over(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    let counters = pair.kv.repository::<Counter>();
    let seat = |number| Seat { flight: "AA".to_owned(), number, passenger: None };
    for number in 1..=3 {
        let _ = seats.create(&seat(number)).await.expect("a new row");
        let counter = Counter { id: number.into(), total: 10, r#type: "a".to_owned() };
        let _ = counters.create(&counter).await.expect("a new row");
    }
    pair.drain().await;
    let named = Seat::patch().passenger("Zoe");
    let _ = seats.update(&("AA".to_owned(), 2), named).await.expect("a row");
    let _ = seats.delete(&("AA".to_owned(), 3)).await.expect("a row");
    let free = seats.query().filter(|s| s.passenger.is_null()).load().await.expect("rows");
    assert_eq!(free, [seat(1)]);
    let _ = counters.update(&2, Counter::patch().total(20).r#type("b".to_owned())).await;
    let sum = counters.query().filter(|c| c.total.ge(10)).sum(|c| c.total).await.expect("a sum");
    assert_eq!(sum, Some(40));
    let other = counters.query().filter(|c| c.r#type.eq("b".to_owned())).load().await;
    assert_eq!(other.expect("rows")[0].id, 2);
}

async fn models_that_share_a_queue_do_not_meet(pair: Pair) {
    /// On the queue of the seats, with an id that can look like theirs.
    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "places", key_prefix = "gate", queue = "flights")]
    struct Gate {
        #[kv(id)]
        region: String,
        #[kv(id)]
        name: String,
        note: Option<String>,
    }

    let (seats, gates) = (pair.kv.repository::<Seat>(), pair.kv.repository::<Gate>());
    let seat = Seat { flight: "AA".to_owned(), number: 1, passenger: None };
    let gate = Gate { region: "AA".to_owned(), name: "1".to_owned(), note: None };
    let _ = seats.create(&seat).await.expect("a new row");
    let _ = gates.create(&gate).await.expect("a new row");
    assert_eq!(seats.query().load().await.expect("rows"), [seat]);
    assert_eq!(gates.query().load().await.expect("rows"), [gate]);
}

async fn any_text_is_a_literal(pair: Pair) {
    let places = pair.kv.repository::<Place>();
    let texts = ["'; DROP TABLE places; --", "\u{1}", "$1", "\"", "\\", "NULL", "{a,b}", "é漢🚕"];
    for (at, text) in texts.into_iter().enumerate() {
        let (region, name) = (text.to_owned(), at.to_string());
        let place = Place { region, name, note: Some(text.to_owned()) };
        let _ = places.create(&place).await.expect("a new row");
        if at == 3 {
            pair.drain().await;
        }
    }
    for text in texts {
        let found = places.query().filter(|p| p.note.eq(text.to_owned())).load().await;
        assert_eq!(found.expect("rows").len(), 1, "{text}");
        let found = places.query().filter(|p| p.region.is_in([text.to_owned()])).load().await;
        assert_eq!(found.expect("rows").len(), 1, "{text}");
    }
}

async fn a_value_that_cannot_be_stored_is_told(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    let query = bookings.query().filter(|b| b.seats.eq(1).and(b.reference.eq("a\0b".to_owned())));
    let error = query.load().await.expect_err("a NUL character");
    let Error::Encoding { at, source } = &error else { panic!("{error}") };
    assert_eq!((at.to_string().as_str(), source.field), ("Booking.query.load", "reference"));
}

async fn a_pattern_that_escapes_nothing_is_told(pair: Pair) {
    let (bookings, _) = bookings(&pair, After::Write).await;
    let error = bookings.query().filter(|b| b.reference.like("R\\")).count().await;
    let error = error.expect_err("an escape at the end");
    assert!(matches!(error, Error::Encoding { .. }), "{error}");
    let count = bookings.query().filter(|b| b.reference.like("r_").or(b.reference.like("_5")));
    assert_eq!(count.count().await.expect("a count"), 1);
    let count = bookings.query().filter(|b| b.reference.ilike("r%"));
    assert_eq!(count.count().await.expect("a count"), 5);
}

async fn a_sum_that_its_type_cannot_hold_is_refused(pair: Pair) {
    let samples = with_samples(&pair).await;
    for id in 1..=2 {
        let row = Sample { double: Some(f64::MAX), real: Some(f32::MAX), ..Sample::empty(id) };
        let _ = samples.create(&row).await.expect("a new row");
        let is_refused = |error| matches!(error, Err(Error::QueryRefused { .. }));
        assert_eq!(is_refused(samples.query().sum(|s| s.double).await.map(drop)), id == 2);
        assert_eq!(is_refused(samples.query().sum(|s| s.real).await.map(drop)), id == 2);
    }
    let row = Sample { double: Some(f64::INFINITY), ..Sample::empty(3) };
    let _ = samples.create(&row).await.expect("a new row");
    let rest = samples.query().filter(|s| s.id.gt(1));
    assert_eq!(rest.sum(|s| s.double).await.expect("a sum"), Some(f64::INFINITY));
}

/// So that it does not depend on where rows lie: no `f32` is one more than 16,777,216.
async fn a_sum_of_floats_is_rounded_once(pair: Pair) {
    let samples = with_samples(&pair).await;
    for (id, real) in [(1, 16_777_216.0), (2, 1.0), (3, 1.0), (4, 0.1)] {
        let row = Sample { real: Some(real), ..Sample::empty(id) };
        let _ = samples.create(&row).await.expect("a new row");
    }
    for rows in ["dirty", "drained"] {
        let query = || samples.query();
        assert_eq!(query().sum(|s| s.real).await.expect("a sum"), Some(16_777_218.0), "{rows}");
        let of_one = query().filter(|s| s.id.eq(4)).avg(|s| s.real).await.expect("an average");
        assert_eq!(of_one, Some(f64::from(0.1_f32)), "{rows}");
        drain(&pair).await;
    }
}

/// Whatever the types of the other literals, and for whichever of them it is.
#[tokio::test]
async fn a_literal_that_postgresql_does_not_know_is_refused() {
    let pair = Pair::servers().await;
    let samples = with_samples(&pair).await;
    let mut rng = Rng::with_seed(12);
    for id in 1..=5 {
        let _ = samples.create(&Sample::random(&mut rng, id)).await.expect("a new row");
    }
    drain(&pair).await;
    pair.sql("ALTER TYPE sample_mood RENAME VALUE 'so-so' TO 'so_so'").await;
    let row = Sample::random(&mut rng, 6);
    let query = samples.query().stored().filter(|s| {
        let any = s.bytes.eq(vec![0, 1]).or(s.double.eq(f64::NAN)).or(s.flag.eq(true));
        let any = any.or(s.uuid.is_in(row.uuid)).or(s.timestamptz.is_in(row.timestamptz));
        any.or(s.name.eq("'\\".into())).or(s.tiny.is_in([1, 2])).or(s.mood.eq(Mood::SoSo))
    });
    let error = query.load().await.expect_err("a label that is not there");
    assert!(matches!(error, Error::QueryRefused { .. }) && !error.is_transient(), "{error:?}");
    assert!(format!("{error:?}").contains("so-so"), "{error:?}");
}

/// It is not its fault, and another time it may be faster.
#[tokio::test]
async fn a_query_that_takes_too_long_is_not_refused() {
    let pair = Pair::servers().await;
    let _ = with_samples(&pair).await;
    pair.sql(
        "ALTER TABLE samples RENAME TO slow; \
         CREATE VIEW samples AS SELECT slow.* FROM pg_sleep(5), slow",
    )
    .await;
    let timeout = Duration::from_millis(300);
    let pair = pair.with(|settings| settings.postgres.statement_timeout = timeout).await;
    let samples = pair.kv.repository::<Sample>();
    let error = samples.query().load().await.expect_err("it is cancelled");
    assert!(matches!(error, Error::Unavailable { .. }) && error.is_transient(), "{error:?}");
}

async fn many_literals_make_one_statement(pair: Pair) {
    let (bookings, rows) = bookings(&pair, After::Drain).await;
    let ids: Vec<Uuid> = (0..70_000).map(Uuid::from_u128).chain([rows[3].id]).collect();
    let found = bookings.query().filter(|b| b.id.is_in(ids)).load().await.expect("rows");
    assert_eq!(seats(&found), [4]);
    let chain = bookings.query().filter(|b| {
        (6..2_000).fold(b.seats.eq(5), |condition, seats| condition.or(b.seats.eq(seats)))
    });
    assert_eq!(chain.count().await.expect("a count"), 1);
}

async fn conditions_can_be_nested(pair: Pair) {
    let (bookings, _) = bookings(&pair, After::Write).await;
    let count = |condition: Condition<Booking>| bookings.query().filter(|_| condition).count();
    let b = Booking::FIELDS;
    // Chains that grow at their front, of which PostgreSQL takes long to plan, and negations that
    // take each other back.
    let length = if pair.has_servers() { 2_000 } else { 10_000 };
    let any = (0..length).fold(b.seats.eq(3), |rest, seats| b.seats.eq(-seats).or(rest));
    assert_eq!(count(any).await.expect("a count"), 1);
    let all = (0..length).fold(b.seats.gt(1), |rest, seats| b.seats.ne(-seats).and(rest));
    assert_eq!(count(all).await.expect("a count"), 4);
    let not = (0..10_001).fold(b.seats.eq(3), |rest, _| !rest);
    assert_eq!(count(not).await.expect("a count"), 4);
    assert_eq!(count(nested(100)).await.expect("a count"), 2);
    for depth in [101, 10_000] {
        let error = count(nested(depth)).await.expect_err("it is too deep");
        let Error::QueryRefused { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().contains("200 deep"), "{source}");
    }
}

/// A condition with twice as many lists in each other, which cannot be made one.
fn nested(depth: i32) -> Condition<Booking> {
    let b = Booking::FIELDS;
    let both =
        |rest: Condition<Booking>, seats: i32| b.seats.gt(-seats).and(b.seats.eq(1).or(rest));
    (0..depth).fold(b.seats.eq(2), both)
}

async fn tenants_do_not_meet(pair: Pair) {
    if !pair.has_servers() {
        // In memory, another tenant is another pair.
        return;
    }
    let (bookings, _) = bookings(&pair, After::Write).await;
    assert_eq!(bookings.query().count().await.expect("a count"), 5);
    let other = pair.with(|settings| settings.tenant = Some("other".to_owned())).await;
    let bookings = other.kv.repository::<Booking>();
    assert_eq!(bookings.query().count().await.expect("a count"), 0, "nothing is drained");
}
