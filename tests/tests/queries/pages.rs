//! Pages by cursor: every row once, whatever the orders, also while rows change.

use std::collections::BTreeSet;

use fastrand::Rng;
use futures_util::TryStreamExt;
use kv_runtime::{Cursor, Error, Query};
use kv_tests::contract;
use kv_tests::models::{Booking, Seat};
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

use super::samples::{Sample, drain, with_samples};

contract!(
    pages_are_the_whole_in_any_order,
    a_page_says_whether_there_is_another,
    rows_that_come_and_go_neither_repeat_nor_skip_others,
    a_cursor_goes_through_text,
    a_cursor_of_another_query_is_refused,
    composite_ids_break_ties,
    a_stream_is_the_whole_in_pages,
);

/// Rows of which two thirds are drained, then a third is changed again.
async fn rows(pair: &Pair, rng: &mut Rng) -> kv_runtime::Repository<Sample> {
    let samples = with_samples(pair).await;
    for id in 1..=40 {
        let _ = samples.create(&Sample::random(rng, id)).await.expect("a new row");
    }
    drain(pair).await;
    for id in (1..=60).step_by(3) {
        let _ = samples.upsert(&Sample::random(rng, id)).await.expect("a row");
    }
    samples
}

async fn pages_are_the_whole_in_any_order(pair: Pair) {
    let mut rng = Rng::with_seed(7);
    let samples = rows(&pair, &mut rng).await;
    type Sorted = fn(Query<Sample>) -> Query<Sample>;
    let orders: [Sorted; 7] = [
        |query| query,
        |query| query.order_by(|b| b.id.desc()),
        |query| query.order_by(|b| b.text.asc()),
        |query| query.order_by(|b| b.double.desc()).order_by(|b| b.real.asc()),
        |query| query.order_by(|b| b.large.asc()).order_by(|b| b.id.desc()),
        |query| {
            let query = query.order_by(|b| b.flag.desc()).order_by(|b| b.timestamptz.asc());
            query.order_by(|b| b.uuid.desc())
        },
        |query| query.order_by(|b| b.mood.asc()).order_by(|b| b.bytes.desc()),
    ];
    for (at, sorted) in orders.into_iter().enumerate() {
        for limit in [1, 7, 100] {
            let whole = sorted(samples.query()).load().await.expect("rows");
            let mut paged = Vec::new();
            let mut after: Option<Cursor> = None;
            loop {
                let mut query = sorted(samples.query()).limit(limit);
                if let Some(cursor) = after {
                    query = query.after(cursor);
                }
                let page = query.page().await.expect("a page");
                assert!(page.rows.len() <= limit as usize);
                paged.extend(page.rows);
                assert!(paged.len() <= whole.len(), "order {at}, pages of {limit} come again");
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let ids = |rows: &[Sample]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
            assert_eq!(ids(&paged), ids(&whole), "order {at}, pages of {limit}");
        }
    }
}

async fn a_page_says_whether_there_is_another(pair: Pair) {
    let bookings = pair.kv.repository::<Booking>();
    for _ in 0..4 {
        let _ = bookings.create(&Booking::sample()).await.expect("a new row");
    }
    for (limit, rows, has_more) in [(3, 3, true), (4, 4, false), (5, 4, false), (0, 0, false)] {
        let page = bookings.query().limit(limit).page().await.expect("a page");
        assert_eq!((page.rows.len(), page.next.is_some()), (rows, has_more), "{limit}");
    }
    let all = bookings.query().page().await.expect("a page");
    assert_eq!((all.rows.len(), all.next), (4, None), "without a limit it is all of them");
    let first = bookings.query().limit(1).page().await.expect("a page");
    let cursor = first.next.expect("another page");
    let behind = || bookings.query().after(cursor.clone());
    assert_eq!(behind().count().await.expect("a count"), 3);
    assert_eq!(behind().stored().load().await.expect("rows").value, [], "nothing is drained");
}

async fn rows_that_come_and_go_neither_repeat_nor_skip_others(pair: Pair) {
    let samples = with_samples(&pair).await;
    let row = |id: i64, number: i32| Sample { number: Some(number), ..Sample::empty(id) };
    for id in 1..=20 {
        let _ = samples.create(&row(id, 0)).await.expect("a new row");
    }
    let mut seen = BTreeSet::new();
    let mut after: Option<Cursor> = None;
    for step in 0.. {
        let mut query = samples.query().order_by(|b| b.number.desc()).limit(4);
        if let Some(cursor) = after {
            query = query.after(cursor);
        }
        let page = query.page().await.expect("a page");
        for row in &page.rows {
            assert!(seen.insert(row.id), "{} comes twice", row.id);
        }
        // In front of what comes next: one that is new, one that is gone, and a drain.
        let _ = samples.create(&row(100 + step, 1)).await.expect("a new row");
        let _ = samples.delete(&page.rows[0].id).await.expect("a row");
        drain(&pair).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=20).collect());
}

async fn a_cursor_goes_through_text(pair: Pair) {
    let mut rng = Rng::with_seed(8);
    let samples = rows(&pair, &mut rng).await;
    let query = samples.query().order_by(|b| b.label.desc()).limit(10);
    let page = query.clone().page().await.expect("a page");
    let cursor = page.next.expect("another page");
    let text = cursor.to_string();
    let parsed: Cursor = text.parse().expect("a cursor");
    assert_eq!(parsed, cursor);
    let error = text[1..].parse::<Cursor>().expect_err("not all of it");
    assert!(error.to_string().contains("not a cursor"), "{error}");
    let rest = query.limit(100).after(parsed).load().await.expect("rows");
    let all = samples.query().order_by(|b| b.label.desc()).load().await.expect("rows");
    assert_eq!(rest.len() + 10, all.len());
    assert_eq!(rest.last().map(|row| row.id), all.last().map(|row| row.id));
}

async fn a_cursor_of_another_query_is_refused(pair: Pair) {
    let mut rng = Rng::with_seed(9);
    let samples = rows(&pair, &mut rng).await;
    let page = samples.query().order_by(|b| b.number.asc()).limit(1).page().await;
    let cursor = page.expect("a page").next.expect("another page");
    let others = [
        samples.query(),
        samples.query().order_by(|b| b.number.desc()),
        samples.query().order_by(|b| b.number.asc()).order_by(|b| b.text.asc()),
    ];
    for query in others {
        let error = query.after(cursor.clone()).load().await.expect_err("other orders");
        assert!(matches!(error, Error::Cursor { .. }), "{error}");
        assert!(error.to_string().starts_with("Sample.query.load: the cursor"), "{error}");
    }
    let seats = pair.kv.repository::<Seat>();
    let error = seats.query().after(cursor).load().await.expect_err("another model");
    assert!(matches!(error, Error::Cursor { .. }), "{error}");
}

async fn composite_ids_break_ties(pair: Pair) {
    let seats = pair.kv.repository::<Seat>();
    for number in 1..=3 {
        for flight in ["AA", "BB"] {
            let seat = Seat { flight: flight.to_owned(), number, passenger: None };
            let _ = seats.create(&seat).await.expect("a new row");
        }
    }
    let page = seats.query().order_by(|s| s.passenger.asc()).limit(4).page().await.expect("a page");
    let rest = seats.query().order_by(|s| s.passenger.asc()).after(page.next.expect("another"));
    let rest = rest.load().await.expect("rows");
    let ids = |rows: &[Seat]| -> Vec<(String, i16)> {
        rows.iter().map(|seat| (seat.flight.clone(), seat.number)).collect()
    };
    let expected = [("AA", 1), ("AA", 2), ("AA", 3), ("BB", 1), ("BB", 2), ("BB", 3)];
    let expected = expected.map(|(flight, number)| (flight.to_owned(), number));
    assert_eq!([ids(&page.rows), ids(&rest)].concat(), expected);
}

async fn a_stream_is_the_whole_in_pages(pair: Pair) {
    let mut rng = Rng::with_seed(11);
    let samples = rows(&pair, &mut rng).await;
    let all = samples.query().order_by(|b| b.text.desc()).load().await.expect("the rows");
    let ids = |rows: &[Sample]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    for page_rows in [0, 1, 7, 1_000] {
        let query = samples.query().order_by(|b| b.text.desc());
        let streamed: Vec<Sample> = query.stream(page_rows).try_collect().await.expect("rows");
        assert_eq!(ids(&streamed), ids(&all), "{page_rows} at a time");
    }
    let query = samples.query().order_by(|b| b.text.desc()).offset(5).limit(20);
    let streamed: Vec<Sample> = query.stream(7).try_collect().await.expect("rows");
    assert_eq!(ids(&streamed), ids(&all[5..25]));
}

/// A field can have fewer digits than its column: then rows that are equal in it are not equal.
#[tokio::test]
async fn digits_that_a_field_cannot_hold_neither_repeat_nor_skip_rows() {
    let pair = Pair::servers().await;
    let samples = with_samples(&pair).await;
    pair.sql(
        "INSERT INTO samples (id, name, decimal) SELECT id, '', \
         ('0.' || repeat('3', 39) || (id * 7 % 10))::numeric FROM generate_series(1, 9) AS id",
    )
    .await;
    let sorted = |limit| samples.query().order_by(|b| b.decimal.asc()).limit(limit);
    let ids = |rows: &[Sample]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let whole = ids(&sorted(100).load().await.expect("rows"));
    let mut paged = Vec::new();
    let mut page = sorted(2).page().await.expect("a page");
    while let Some(next) = page.next.take() {
        paged.extend(ids(&page.rows));
        assert!(paged.len() <= whole.len(), "rows come again: {paged:?}");
        page = sorted(2).after(next).page().await.expect("a page");
    }
    paged.extend(ids(&page.rows));
    assert_eq!(paged, whole);
}

/// What the first page has waited for may be gone from Redis by the next.
#[tokio::test]
async fn a_stream_waits_for_a_write_once() {
    let pair = Pair::servers().await;
    let samples = with_samples(&pair).await;
    let mut receipt = samples.create(&Sample::empty(1)).await.expect("a new row");
    for id in 2..=4 {
        receipt = samples.create(&Sample::empty(id)).await.expect("a new row");
    }
    drain(&pair).await;
    let mut rows = std::pin::pin!(samples.query().after_write(&receipt).stream(1));
    let first = rows.try_next().await.expect("a page").expect("a row");
    RedisView::of(&pair).await.empty().await;
    let rest: Vec<Sample> = rows.try_collect().await.expect("rows");
    assert_eq!((first.id, rest.len()), (1, 3));
}
