//! What a payments service asks of its storage: one payment for a correlation id, found by either of
//! its ids wherever it is, and sums that miss none.

use chrono::{DateTime, Duration, Utc};
use kv_runtime::{Error, Kv, KvModel, KvValue, Repository, count};
use kv_tests::contract;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use rust_decimal::Decimal;
use tokio::task::JoinSet;
use uuid::Uuid;

contract!(
    the_second_payment_of_a_correlation_id_is_the_first,
    the_summary_is_of_what_lies_between,
    the_summary_goes_by_either_time,
);

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "payments", ttl = "1h", index(processed_at))]
struct Payment {
    #[kv(id)]
    id: Uuid,
    #[kv(unique)]
    correlation_id: String,
    amount: Decimal,
    #[kv(index)]
    processor: Processor,
    requested_at: DateTime<Utc>,
    processed_at: DateTime<Utc>,
    #[kv(read_only)]
    created_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, KvValue)]
enum Processor {
    Default,
    Fallback,
    Failed,
}

/// Noon of some day, and so many milliseconds.
fn time(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_750_000_000_000 + milliseconds).expect("a time")
}

fn payment(number: i64, processor: Processor) -> Payment {
    Payment {
        id: Uuid::now_v7(),
        correlation_id: format!("c{number}"),
        amount: Decimal::new(1_990 + number, 2),
        processor,
        requested_at: time(number),
        processed_at: time(number * 10),
        created_at: None,
    }
}

/// The pair with the table of payments, as the model says it.
async fn payments(pair: &Pair) -> Repository<Payment> {
    let filled = "ALTER TABLE payments ALTER created_at SET DEFAULT now()";
    pair.sql(&format!("{}; {filled}", Payment::ddl())).await;
    pair.kv.repository()
}

async fn drain(kv: &Kv) {
    let drainer = kv.drainer().model::<Payment>().spawn();
    drainer.shutdown().await.expect("everything can be drained");
}

/// How many payments each processor has made, and their sum; none of those that have failed.
async fn summary(
    payments: &Repository<Payment>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
) -> [(u64, Decimal); 2] {
    let mut query = payments.query().filter(|p| p.processor.ne(Processor::Failed));
    if let Some(from) = from {
        query = query.filter(|p| p.processed_at.ge(from));
    }
    if let Some(to) = to {
        query = query.filter(|p| p.processed_at.le(to));
    }
    let groups = query.group_by(|p| p.processor).aggregate(|p| (count(), p.amount.sum())).await;
    let groups = groups.expect("an answer");
    [Processor::Default, Processor::Fallback].map(|processor| {
        let of_processor = groups.iter().find(|(key, _)| *key == processor);
        of_processor
            .map_or_else(Default::default, |(_, (count, sum))| (*count, sum.unwrap_or_default()))
    })
}

async fn the_second_payment_of_a_correlation_id_is_the_first(pair: Pair) {
    let payments = payments(&pair).await;
    let first = payment(1, Processor::Default);
    let stored = payments.get_or_create_by_correlation_id(&first).await.expect("a payment");
    assert!(stored.created.is_some(), "it is new");
    for drained in [false, true] {
        if drained {
            drain(&pair.kv).await;
        }
        let second = Payment { amount: Decimal::ONE, ..payment(1, Processor::Fallback) };
        let found = payments.get_or_create_by_correlation_id(&second).await.expect("a payment");
        assert!(found.created.is_none(), "nothing was written");
        assert_eq!(Payment { created_at: None, ..found.row }, first);
        assert_eq!(payments.find_by_id(&second.id).await.expect("an answer"), None);
        let error = payments.create(&second).await.expect_err("the id is taken");
        assert!(error.is_duplicate() && error.is_constraint_violation(), "{error}");
    }
    let rows = pair.kv.durable_rows::<Payment>().await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.amount).collect::<Vec<_>>(), [first.amount]);
}

async fn the_summary_is_of_what_lies_between(pair: Pair) {
    let payments = payments(&pair).await;
    let nothing = [(0, Decimal::ZERO); 2];
    assert_eq!(summary(&payments, None, None).await, nothing, "zero, and not absent");
    for number in 0..6 {
        let processor = match number {
            0..3 => Processor::Default,
            3..5 => Processor::Fallback,
            _ => Processor::Failed,
        };
        let _ = payments.create(&payment(number, processor)).await.expect("a new row");
        if number == 1 {
            drain(&pair.kv).await;
        }
    }
    let sum = |numbers: std::ops::Range<i64>| {
        let amounts = numbers.clone().map(|number| Decimal::new(1_990 + number, 2));
        (u64::try_from(numbers.count()).expect("few"), amounts.sum::<Decimal>())
    };
    let none = (0, Decimal::ZERO);
    for drained in [false, true] {
        if drained {
            drain(&pair.kv).await;
        }
        // Both ends belong to it, to the millisecond.
        let cases = [
            (None, None, [sum(0..3), sum(3..5)]),
            (Some(10), None, [sum(1..3), sum(3..5)]),
            (Some(11), None, [sum(2..3), sum(3..5)]),
            (None, Some(30), [sum(0..3), sum(3..4)]),
            (None, Some(29), [sum(0..3), none]),
            (Some(20), Some(40), [sum(2..3), sum(3..5)]),
        ];
        for (from, to, expected) in cases {
            let found = summary(&payments, from.map(time), to.map(time)).await;
            assert_eq!(found, expected, "{from:?} to {to:?}, drained: {drained}");
        }
    }
}

async fn the_summary_goes_by_either_time(pair: Pair) {
    let payments = payments(&pair).await;
    for number in 0..4 {
        let payment = payment(number, Processor::Default);
        let _ = payments.create(&payment).await.expect("a new row");
    }
    let (from, to) = (time(1), time(3));
    let requested = payments.query().filter(|p| p.requested_at.between(from, to)).count().await;
    let processed = payments.query().filter(|p| p.processed_at.between(from, to)).count().await;
    assert_eq!((requested.expect("a count"), processed.expect("a count")), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_at_once_on_two_instances_one_payment_is_made() {
    let pair = Pair::servers().await;
    let first = payments(&pair).await;
    let other = pair.other_process().await;
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let payments = if number % 2 == 0 { first.clone() } else { other.repository() };
        let payment = Payment { amount: number.into(), ..payment(1, Processor::Default) };
        tasks.spawn(async move { payments.get_or_create_by_correlation_id(&payment).await });
    }
    let (mut made, mut amounts) = (0, Vec::new());
    while let Some(stored) = tasks.join_next().await {
        let stored = stored.expect("no panic").expect("a payment");
        made += usize::from(stored.created.is_some());
        amounts.push(stored.row.amount);
    }
    assert_eq!((made, amounts.len()), (1, 100));
    assert!(amounts.iter().all(|amount| *amount == amounts[0]), "all are told of the same");
    drain(&pair.kv).await;
    assert_eq!(pair.kv.durable_rows::<Payment>().await.expect("rows").len(), 1);
}

/// Under both of its ids for an hour, and found by either when Redis has nothing.
#[tokio::test]
async fn a_payment_is_cached_for_an_hour_and_found_by_either_id() {
    let pair = Pair::servers().await;
    let payments = payments(&pair).await;
    let payment = payment(7, Processor::Fallback);
    let _ = payments.create(&payment).await.expect("a new row");
    let is_found = async || {
        let by_id = payments.find_by_id(&payment.id).await?;
        let by_correlation_id = payments.find_by_correlation_id(&payment.correlation_id).await?;
        let without_default = |row: Payment| Payment { created_at: None, ..row };
        assert_eq!(by_id.map(without_default), Some(payment.clone()));
        assert_eq!(by_correlation_id.map(without_default), Some(payment.clone()));
        Ok::<_, Error>(())
    };
    is_found().await.expect("it is in Redis");
    drain(&pair.kv).await;
    is_found().await.expect("it is in both");
    let view = RedisView::of(&pair).await;
    let hour = 3_590_000..=3_600_000;
    let row = payments.key(&payment.id).expect("a key");
    assert!(hour.contains(&view.ttl_ms(&row).await), "{row}");
    let value = view.keys("string").await.into_iter().find(|key| key.contains("correlation_id:c7"));
    let value = value.expect("the key of the correlation id");
    let ttl = view.ttl_ms(&value).await;
    assert!(hour.contains(&ttl), "{value}: {ttl} {:?}", view.ask::<String>(&["GET", &value]).await);
    view.empty().await;
    is_found().await.expect("it is in PostgreSQL");

    let stored = payments.get_by_id(&payment.id).await.expect("the row").created_at;
    let stored = stored.expect("PostgreSQL has filled it");
    assert!(Utc::now() - stored < Duration::minutes(5), "{stored}");
}
