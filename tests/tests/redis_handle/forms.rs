//! One struct in both of its forms: the hash of a model, and JSON.

use chrono::{DateTime, NaiveDateTime, Utc};
use kv_runtime::{KvModel, KvValue};
use kv_tests::pair::Pair;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, KvValue, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    New,
    PaidOut,
}

#[derive(Debug, Clone, PartialEq, KvValue, Serialize, Deserialize)]
struct Email(String);

#[derive(Debug, Clone, PartialEq, KvModel, Serialize, Deserialize)]
#[kv(table = "payouts")]
struct Payout {
    #[kv(id, fresh)]
    id: Uuid,
    amount: Decimal,
    status: Status,
    email: Email,
    attempts: i32,
    sequence: u64,
    rate: f64,
    is_urgent: bool,
    digest: Vec<u8>,
    tags: Vec<String>,
    created_at: DateTime<Utc>,
    value_date: NaiveDateTime,
    maybe_note: Option<String>,
    maybe_amount: Option<Decimal>,
    maybe_status: Option<Status>,
    maybe_digest: Option<Vec<u8>>,
    maybe_paid_at: Option<DateTime<Utc>>,
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| text.replace('\0', "\""))
}

fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<i64>(), 0_u32..=28).prop_map(|(digits, scale)| Decimal::new(digits, scale))
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::New), Just(Status::PaidOut)]
}

fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (0..4_000_000_000_000_000_i64)
        .prop_map(|micros| DateTime::from_timestamp_micros(micros).expect("a time"))
}

fn payout() -> impl Strategy<Value = Payout> {
    let numbers = (any::<i32>(), any::<u64>(), any::<i32>().prop_map(|n| f64::from(n) / 7.0));
    let others = (decimal(), status(), text(), any::<bool>(), vec(any::<u8>(), 0..40));
    let more = (vec(text(), 0..4), time(), time());
    let maybes = (
        option::of(text()),
        option::of(decimal()),
        option::of(status()),
        option::of(vec(any::<u8>(), 0..40)),
        option::of(time()),
    );
    (numbers, others, more, maybes).prop_map(|(numbers, others, more, maybes)| Payout {
        id: Uuid::new_v4(),
        amount: others.0,
        status: others.1,
        email: Email(others.2),
        attempts: numbers.0,
        sequence: numbers.1,
        rate: numbers.2,
        is_urgent: others.3,
        digest: others.4,
        tags: more.0,
        created_at: more.1,
        value_date: more.2.naive_utc(),
        maybe_note: maybes.0,
        maybe_amount: maybes.1,
        maybe_status: maybes.2,
        maybe_digest: maybes.3,
        maybe_paid_at: maybes.4,
    })
}

#[test]
fn one_struct_comes_back_from_its_hash_and_from_its_json() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let pair = runtime.block_on(Pair::servers());
    let (payouts, redis) = runtime.block_on(async {
        (pair.kv.repository::<Payout>(), pair.kv.redis().await.expect("the server is up"))
    });
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let check = |payout: Payout| {
        runtime.block_on(async {
            let _ = payouts.create(&payout).await.expect("a new row");
            let from_hash = payouts.get_by_id(&payout.id).await.expect("it is there");
            assert_eq!(from_hash, payout);
            let key = format!("payout.json:{}", payout.id);
            redis.set_json(&key, &from_hash).await.expect("set");
            assert_eq!(redis.get_json::<Payout>(&key).await.expect("it is there"), payout);
        });
        Ok(())
    };
    TestRunner::new(config).run(&payout(), check).expect("both forms are whole");
}
