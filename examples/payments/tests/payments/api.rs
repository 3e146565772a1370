//! What callers see, the same in memory and with two instances on servers.

use std::time::Duration;

use chrono::{SubsecRound, Utc};
use futures_util::future::join_all;
use kv_payments::{Amount, Processor, State, Total};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::common::{World, processed, time, until};

macro_rules! in_memory_and_on_servers {
    ($($test:ident),* $(,)?) => {
        mod memory {
            use crate::payments::common::World;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(World::memory().await).await;
            })*
        }

        mod servers {
            use crate::payments::common::World;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(World::servers().await).await;
            })*
        }
    };
}

in_memory_and_on_servers! {
    a_payment_is_accepted_and_delivered,
    a_second_request_changes_nothing,
    a_hundred_requests_at_once_are_one_payment,
    what_is_no_payment_is_refused,
    both_bounds_of_the_summary_are_inclusive_and_optional,
    the_column_of_the_summary_is_chosen,
    amounts_are_exact,
    a_purge_leaves_nothing,
    all_instances_answer_the_same,
    the_service_tells_how_it_is,
}

fn total(number: u64, amount: &str) -> Total {
    let total_amount = Amount(amount.parse().expect("a number"));
    Total { total_requests: number, total_amount }
}

async fn a_payment_is_accepted_and_delivered(world: World) {
    let id = Uuid::new_v4();
    let answer = world.pay(id, "19.90").await;
    assert_eq!(answer.status, 202);
    let payment = world.processed(id).await;
    assert_eq!(payment.processor, Some(Processor::Default));
    assert_eq!(payment.amount, Amount("19.90".parse().expect("a number")));
    let recorded = world.default.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].correlation_id, id);
    assert_eq!(recorded[0].amount, payment.amount.0);
    // As the processor has it, so that an audit by this time is about the same payments.
    assert_eq!(recorded[0].requested_at, payment.requested_at);
    let by_id = world.get(&format!("/payments/{}", payment.id)).await;
    assert_eq!(by_id.json::<kv_payments::PaymentView>().expect("a payment"), payment);
    assert_eq!(world.find(Uuid::new_v4()).await, None);
    let summary = world.summary("").await;
    assert_eq!((summary.default, summary.fallback), (total(1, "19.90"), total(0, "0")));
}

async fn a_second_request_changes_nothing(world: World) {
    let id = Uuid::new_v4();
    assert_eq!(world.pay(id, "10.00").await.status, 202);
    assert_eq!(world.pay(id, "99.00").await.status, 200);
    world.processed(id).await;
    assert_eq!(world.pay(id, "99.00").await.status, 200);
    assert_eq!(world.summary("").await.default, total(1, "10.00"));
    assert_eq!(world.recorded(), (1, 0));
}

async fn a_hundred_requests_at_once_are_one_payment(world: World) {
    let id = Uuid::new_v4();
    let answers = join_all((0..100).map(|_| world.pay(id, "1.00"))).await;
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(202), with(200)), (1, 99), "one of them has made the payment");
    world.processed(id).await;
    assert_eq!(world.summary("").await.default, total(1, "1.00"));
    assert_eq!(world.recorded(), (1, 0));
}

async fn what_is_no_payment_is_refused(world: World) {
    let id = Uuid::new_v4();
    for body in [
        String::new(),
        "[]".to_owned(),
        format!(r#"{{"correlationId":"{id}"}}"#),
        r#"{"correlationId":"7","amount":1}"#.to_owned(),
        format!(r#"{{"correlationId":"{id}","amount":"1.00"}}"#),
        format!(r#"{{"correlationId":"{id}","amount":0}}"#),
        format!(r#"{{"correlationId":"{id}","amount":-1.5}}"#),
    ] {
        let answer = world.post(&body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.body.is_empty(), "{body}");
    }
    assert_eq!(world.get("/payments-summary?from=yesterday").await.status, 400);
    assert_eq!(world.get("/payments-summary?column=amount").await.status, 400);
    assert_eq!(world.get("/payments/seven").await.status, 400);
    assert_eq!(world.find(id).await, None);
}

async fn both_bounds_of_the_summary_are_inclusive_and_optional(world: World) {
    let first = Utc::now().trunc_subsecs(3) - Duration::from_secs(3_600);
    let millisecond = Duration::from_millis(1);
    let (second, third) = (first + millisecond, first + 2 * millisecond);
    for (at, amount) in [(first, 1), (second, 10), (third, 100)] {
        world.store(&processed(Processor::Default, Decimal::from(amount), at)).await;
        world.store(&processed(Processor::Fallback, Decimal::from(amount * 1_000), at)).await;
    }
    let (from, to) = (time(second), time(second));
    for (span, number, sum) in [
        (String::new(), 3, 111),
        (format!("?from={from}"), 2, 110),
        (format!("?to={to}"), 2, 11),
        (format!("?from={from}&to={to}"), 1, 10),
        (format!("?from={}&to={}", time(third + millisecond), time(third)), 0, 0),
    ] {
        let summary = world.summary(&span).await;
        assert_eq!(summary.default, total(number, &sum.to_string()), "{span}");
        assert_eq!(summary.fallback, total(number, &(sum * 1_000).to_string()), "{span}");
    }
}

async fn the_column_of_the_summary_is_chosen(world: World) {
    let at = Utc::now().trunc_subsecs(3) - Duration::from_secs(3_600);
    let payment = processed(Processor::Default, Decimal::ONE, at);
    world.store(&payment).await;
    let processed_at = payment.processed_at.expect("it is processed");
    let (one, none) = (total(1, "1"), total(0, "0"));
    let (early, late) = (time(at), time(processed_at));
    for (column, to, found) in [
        ("", &early, one),
        ("&column=requested_at", &early, one),
        ("&column=processed_at", &early, none),
        ("&column=processed_at", &late, one),
    ] {
        let span = format!("?to={to}{column}");
        assert_eq!(world.summary(&span).await.default, found, "{span}");
    }
    let span = format!("?from={late}&column=processed_at");
    assert_eq!(world.summary(&span).await.default, one);
    assert_eq!(world.summary(&format!("?from={late}")).await.default, none);
}

async fn amounts_are_exact(world: World) {
    // As floats, they come to 0.30000000000000004 and to 9007199254740992.
    for amount in ["0.1", "0.2", "9007199254740993.00"] {
        let id = Uuid::new_v4();
        assert_eq!(world.pay(id, amount).await.status, 202);
        world.processed(id).await;
    }
    let answer = world.get("/payments-summary").await;
    let text = String::from_utf8(answer.body.to_vec()).expect("a text");
    assert!(text.contains(r#""totalAmount":9007199254740993.3"#), "{text}");
}

async fn a_purge_leaves_nothing(world: World) {
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    join_all(ids.iter().map(|&id| world.pay(id, "1.00"))).await;
    for &id in &ids {
        world.processed(id).await;
    }
    assert_eq!(world.purge().await.status, 200);
    let summary = world.summary("").await;
    assert_eq!((summary.default, summary.fallback), (total(0, "0"), total(0, "0")));
    for &id in &ids {
        assert_eq!(world.find(id).await, None);
    }
    let kv = world.instances[0].kv();
    let left = kv.durable_rows::<kv_payments::Payment>().await.expect("the rows");
    assert_eq!(left, []);
    let queue = kv.queues().model::<kv_payments::Payment>().status().await.expect("the queue");
    assert_eq!(queue.undrained, 0);
    assert_eq!(world.pay(ids[0], "1.00").await.status, 202, "its id is free again");
}

async fn all_instances_answer_the_same(world: World) {
    let ids: Vec<Uuid> = (0..30).map(|_| Uuid::new_v4()).collect();
    join_all(ids.iter().map(|&id| world.pay(id, "0.50"))).await;
    for &id in &ids {
        world.processed(id).await;
    }
    for _ in &world.instances {
        assert_eq!(world.summary("").await.default, total(30, "15.00"));
    }
}

async fn the_service_tells_how_it_is(world: World) {
    let id = Uuid::new_v4();
    assert_eq!(world.pay(id, "1.00").await.status, 202);
    assert_eq!(world.processed(id).await.state, State::Processed);
    until("both processors are known to be healthy", async || {
        let answer = world.get("/health").await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).expect("a text");
        text.matches(r#""healthy":true,"report""#).count() == 2
    })
    .await;
    let mut accepted = 0;
    for _ in &world.instances {
        let answer = world.get("/metrics").await;
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).expect("a text");
        assert!(text.contains("# TYPE payments_accepted_total counter"), "{text}");
        assert!(text.contains("payments_undrained "), "{text}");
        let line = text.lines().find(|line| line.starts_with("payments_accepted_total "));
        let number = line.and_then(|line| line.rsplit(' ').next()).expect("a number");
        accepted += number.parse::<u64>().expect("a number");
    }
    assert_eq!(accepted, 1);
}
