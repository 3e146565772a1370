//! What business code sees of the repositories, and the way past them.

// The modules of `table!`.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use kv_runtime::{Error, KvModel, PoolError, ReadRepository, WriteRepository, count};
use kv_tests::contract;
use kv_tests::models::{Booking, Counter, Seat};
use kv_tests::pair::Pair;

contract!(
    business_code_sees_traits_alone,
    traits_count_and_ask_and_write_many,
    a_read_only_handle_reads_what_is_written,
    business_code_numbers_new_rows,
    only_the_real_pair_has_a_connection,
);

/// A service that knows neither Redis nor PostgreSQL, nor whether there are any.
struct Service {
    bookings: Arc<dyn WriteRepository<Booking>>,
    counters: Arc<dyn ReadRepository<Counter>>,
}

impl Service {
    async fn book(&self, booking: &Booking, counter: i64) -> Result<bool, Error> {
        let seats = self.counters.find_by_id(&counter).await?.map_or(0, |counter| counter.total);
        if seats < i64::from(booking.seats) {
            return Ok(false);
        }
        self.bookings.create(booking).await.map(|_| true)
    }
}

async fn business_code_sees_traits_alone(pair: Pair) {
    let counters = pair.kv.repository::<Counter>();
    let service = Service {
        bookings: Arc::new(pair.kv.repository::<Booking>()),
        counters: Arc::new(counters.clone()),
    };
    let booking = Booking::sample();
    assert!(!service.book(&booking, 1).await.expect("an answer"));
    let counter = Counter { id: 1, total: 2, r#type: String::new() };
    let _ = counters.create(&counter).await.expect("a new row");
    assert!(service.book(&booking, 1).await.expect("an answer"));
    let again = service.book(&booking, 1).await.expect_err("a second row");
    assert!(again.is_duplicate(), "{again}");

    let rows = &service.bookings;
    assert!(rows.exists(&booking.id).await.expect("an answer"));
    let _ = rows.update(&booking.id, Booking::patch().seats(1)).await.expect("a row");
    assert_eq!(rows.get_by_id(&booking.id).await.expect("the row").seats, 1);
    let other = Booking::sample();
    let written = rows.create_many(std::slice::from_ref(&other)).await;
    assert!(written[0].is_ok(), "{written:?}");
    let _ = rows.upsert(&Booking { seats: 7, ..other.clone() }).await.expect("a row");
    let _ = rows.delete(&booking.id).await.expect("a row");
    let found = rows.get_many(&[booking.id, other.id]).await.expect("the rows");
    assert_eq!(found, [None, Some(Booking { seats: 7, ..other })]);
}

async fn traits_count_and_ask_and_write_many(pair: Pair) {
    let counters: Arc<dyn WriteRepository<Counter>> = Arc::new(pair.kv.repository::<Counter>());
    for id in 1..=3 {
        let counter = Counter { id, total: id, r#type: String::new() };
        let _ = counters.create(&counter).await.expect("a new row");
    }
    let counted = counters.increment(&1, |c| c.total.counter(), 10).await.expect("a row");
    assert_eq!(counted.value, 11);
    let patches = [(2, Counter::patch().total(20)), (4, Counter::patch().total(40))];
    let updated = counters.update_many(&patches).await;
    assert!(updated[0].is_ok(), "{updated:?}");
    assert!(updated[1].as_ref().is_err_and(Error::is_not_found), "{updated:?}");
    let deleted = counters.delete_many(&[3]).await;
    assert!(deleted[0].is_ok(), "{deleted:?}");
    let made = counters.query().aggregate(|c| (count(), c.total.sum(), c.total.max())).await;
    assert_eq!(made.expect("an answer"), (2, Some(31.into()), Some(20)));
    let found = pair.kv.repository::<Counter>().read_only();
    let dear: Arc<dyn ReadRepository<Counter>> = Arc::new(found);
    let dear = dear.query().filter(|c| c.total.gt(11)).load().await.expect("rows");
    assert_eq!(dear.iter().map(|row| row.id).collect::<Vec<_>>(), [2]);
}

async fn a_read_only_handle_reads_what_is_written(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    let read_only = seats.read_only();
    let seat = Seat { flight: "AA 1".to_owned(), number: 3, passenger: None };
    let id = (seat.flight.clone(), seat.number);
    assert_eq!(read_only.find_by_id(&id).await.expect("an answer"), None);
    let _ = seats.create(&seat).await.expect("a new row");
    assert_eq!(read_only.get_by_id(&id).await.expect("the row"), seat);
    assert!(read_only.exists(&id).await.expect("an answer"));
    assert_eq!(read_only.get_many(std::slice::from_ref(&id)).await.expect("the row"), [Some(seat)]);
    let status = read_only.clone().status(&id).await.expect("an answer");
    assert_eq!(status, kv_runtime::Status::Dirty);
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Parcel {
    #[kv(id, serial)]
    id: i64,
    label: String,
}

async fn business_code_numbers_new_rows(pair: Pair) {
    pair.sql(&Parcel::ddl()).await;
    let parcels: Arc<dyn WriteRepository<Parcel>> = Arc::new(pair.kv.repository::<Parcel>());
    let mut ids = Vec::new();
    for label in ["a", "b"] {
        let id = parcels.next_id().await.expect("PostgreSQL has the sequence");
        let parcel = Parcel { id, label: label.to_owned() };
        let _ = parcels.create(&parcel).await.expect("a new row");
        assert_eq!(parcels.get_by_id(&id).await.expect("the row"), parcel);
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

async fn only_the_real_pair_has_a_connection(pair: Pair) {
    match pair.kv.connection().await {
        Ok(_) => assert!(pair.has_servers()),
        Err(error) => {
            assert!(!pair.has_servers() && matches!(error, PoolError::InMemory), "{error}");
        }
    }
}

diesel::table! { counters (id) { id -> BigInt, total_count -> BigInt } }
diesel::table! { accounts (id) { id -> BigInt, note -> Nullable<Text> } }
diesel::joinable!(accounts -> counters (id));
diesel::allow_tables_to_appear_in_same_query!(counters, accounts);

#[tokio::test]
async fn models_are_joined_over_the_pooled_connection() {
    let pair = Pair::servers().await;
    let rows = pair.kv.repository::<Counter>();
    for id in 1..=3 {
        let counter = Counter { id, total: id * 10, r#type: String::new() };
        let _ = rows.create(&counter).await.expect("a new row");
    }
    pair.drain().await;
    pair.sql("INSERT INTO accounts VALUES (2, 1, 'two', true), (4, 1, 'four', true)").await;
    let mut connection = pair.kv.connection().await.expect("a connection");
    let joined: Vec<(i64, i64, Option<String>)> = accounts::table
        .inner_join(counters::table)
        .select((counters::id, counters::total_count, accounts::note))
        .load(&mut *connection)
        .await
        .expect("an answer");
    assert_eq!(joined, [(2, 20, Some("two".to_owned()))]);
}

/// The connection that somebody has is the one that both repositories would need.
#[tokio::test]
async fn all_repositories_share_one_pool() {
    let one = |settings: &mut kv_runtime::Settings| {
        settings.postgres.max_connections = 1;
        settings.postgres.checkout_timeout = Duration::from_secs(1);
    };
    let pair = Pair::servers().await.with(one).await;
    let (counters, seats) = (pair.kv.repository::<Counter>(), pair.kv.repository::<Seat>());
    let seat = ("AA 1".to_owned(), 1);
    let connection = pair.kv.connection().await.expect("the only one");
    let error = pair.kv.connection().await.expect_err("no second one");
    assert!(matches!(error, PoolError::Timeout(_)), "{error}");
    let error = counters.find_by_id(&1).await.expect_err("no connection");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    let error = seats.find_by_id(&seat).await.expect_err("no connection");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    drop(connection);
    assert_eq!(counters.find_by_id(&1).await.expect("an answer"), None);
    assert_eq!(seats.find_by_id(&seat).await.expect("an answer"), None);
}
