//! Streams of payments.

use std::sync::Arc;

use kv_storage_backend::Page;
use kv_storage_backend::models::Terms;
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use kv_storage_backend::values::Amount;
use tokio::task::JoinSet;

use super::backend::Backend;
use super::samples::{amount, most, new_stream};
use crate::contract;

contract!(
    a_stream_has_one_of_two_terms,
    a_user_pays_a_provider_by_one_stream,
    payments_are_added_up_to_the_last_digit,
);

fn fixed(rate: u64) -> Terms {
    Terms::Fixed { rate: rate.into() }
}

async fn a_stream_has_one_of_two_terms(backend: Backend) {
    let dynamic = Terms::Dynamic { amount_provided: most() };
    let first = backend.db.create_payment_stream(new_stream(1, fixed(7))).await.expect("a new row");
    let second = new_stream(2, dynamic.clone());
    let second = backend.db.create_payment_stream(second).await.expect("a new row");
    backend.db.set_payment_terms(first.id, dynamic.clone()).await.expect("a row");
    backend.db.set_payment_terms(second.id, fixed(8)).await.expect("a row");
    // The table refuses a row with both, or with neither.
    backend.drained().await;
    let streams = backend.db.list_payment_streams("user", Page::default()).await.expect("rows");
    let terms: Vec<Terms> = streams.iter().map(|row| row.terms().expect("one of two")).collect();
    assert_eq!(terms, [dynamic, fixed(8)]);
}

async fn a_user_pays_a_provider_by_one_stream(backend: Backend) {
    let stream = backend.db.create_payment_stream(new_stream(1, fixed(7))).await;
    let stream = stream.expect("a new row");
    let again = backend.db.create_payment_stream(new_stream(1, fixed(8))).await;
    assert!(again.expect_err("a second one").is_duplicate());
    backend.drained().await;
    assert_eq!(backend.db.get_payment_stream(stream.id).await.expect("the row"), stream);
    let error = backend.db.charge(99, &Amount::from(1), 1).await.expect_err("no row");
    assert!(error.is_not_found(), "{error}");
}

async fn payments_are_added_up_to_the_last_digit(backend: Backend) {
    let stream = backend.db.create_payment_stream(new_stream(1, fixed(7))).await;
    let id = stream.expect("a new row").id;
    let large = amount("12345678901234567890123456789012345678");
    backend.db.charge(id, &large, 1).await.expect("a row");
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        let db = Arc::clone(&backend.db);
        callers.spawn(async move { db.charge(id, &Amount::from(1), 2).await });
    }
    while let Some(charged) = callers.join_next().await {
        charged.expect("no panic").expect("a row");
    }
    backend.drained().await;
    let paid = backend.db.get_payment_stream(id).await.expect("the row");
    assert_eq!(paid.total_amount_paid, amount("12345678901234567890123456789012345683"));
    assert_eq!(paid.charged_at_tick, Some(2));
    assert!(backend.db.charge(id, &most(), 3).await.is_err(), "39 digits");
    assert_eq!(backend.db.get_payment_stream(id).await.expect("the row"), paid);
}
