//! To whom payments go, and that none goes to both.

use std::time::Duration;

use chrono::{SubsecRound, Utc};
use futures_util::future::join_all;
use kv_payments::{Amount, Config, Order, Processor, Report, State};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::common::{World, until};

/// Long for a processor that answers at once, and short for a test.
const TIMEOUT: Duration = Duration::from_millis(300);

fn report(processor: Processor, healthy: bool, min_response_ms: u64) -> Report {
    Report { processor, healthy, min_response_ms, timestamp: Utc::now() }
}

impl World {
    /// As if the processors had been asked just now.
    fn learn(&self, processor: Processor, healthy: bool, min_response_ms: u64) {
        for instance in &self.instances {
            instance.board().learn(report(processor, healthy, min_response_ms));
        }
    }

    fn learn_that_both_are_well(&self) {
        Processor::ALL.iter().for_each(|&processor| self.learn(processor, true, 0));
    }

    async fn accepted(&self) -> Uuid {
        let id = Uuid::new_v4();
        assert_eq!(self.pay(id, "1.00").await.status, 202);
        id
    }
}

/// An instance that does not wait for long.
async fn impatient() -> World {
    let configure = |processors| {
        let mut config = Config::in_memory(processors);
        config.delivery.timeout = TIMEOUT;
        config.delivery.retry = Duration::from_millis(20);
        config
    };
    World::start(configure, 1).await
}

#[tokio::test]
async fn what_the_default_refuses_goes_to_the_fallback() {
    let world = World::memory().await;
    world.default.set_failing(true);
    let id = world.accepted().await;
    assert_eq!(world.processed(id).await.processor, Some(Processor::Fallback));
    assert_eq!(world.recorded(), (0, 1));
    // It is not asked again until it is known to be well.
    assert!(!world.instances[0].board().is_healthy(Processor::Default));
    world.default.set_failing(false);
    world.learn_that_both_are_well();
    let id = world.accepted().await;
    assert_eq!(world.processed(id).await.processor, Some(Processor::Default));
    world.assert_none_is_at_both();
}

#[tokio::test]
async fn an_unhealthy_or_slow_default_is_left_before_it_fails() {
    let world = World::memory().await;
    for (healthy, min_response_ms) in [(false, 0), (true, 60_000)] {
        world.learn(Processor::Default, healthy, min_response_ms);
        let id = world.accepted().await;
        assert_eq!(world.processed(id).await.processor, Some(Processor::Fallback));
    }
    assert_eq!(world.recorded(), (0, 2));
}

#[tokio::test]
async fn what_both_refuse_is_kept_and_tried_again() {
    for world in [World::memory().await, World::servers().await] {
        world.default.set_failing(true);
        world.fallback.set_failing(true);
        let ids = join_all((0..10).map(|_| world.accepted())).await;
        let is_known = |processor| {
            world.instances.iter().all(|instance| !instance.board().is_healthy(processor))
        };
        // Each instance has found out by a payment, or by the health of the processors.
        until("both are known to fail", async || Processor::ALL.iter().all(|&one| is_known(one)))
            .await;
        for &id in &ids {
            assert_eq!(world.find(id).await.expect("it is kept").state, State::Pending);
        }
        assert_eq!(world.recorded(), (0, 0));
        assert_eq!(world.summary("").await, kv_payments::Summary::default());
        world.default.set_failing(false);
        world.fallback.set_failing(false);
        for &id in &ids {
            until("it is processed", async || {
                world.learn_that_both_are_well();
                world.find(id).await.expect("it is kept").state == State::Processed
            })
            .await;
        }
        let (default, fallback) = world.recorded();
        assert_eq!(default + fallback, 10);
        world.assert_none_is_at_both();
    }
}

#[tokio::test]
async fn a_time_out_that_was_recorded_is_not_paid_again() {
    let world = impatient().await;
    world.default.set_records_first(true);
    world.default.set_delay(10 * TIMEOUT);
    let id = world.accepted().await;
    until("the default has it", async || world.recorded().0 == 1).await;
    until("the service gave up", async || {
        !world.instances[0].board().is_healthy(Processor::Default)
    })
    .await;
    assert_eq!(world.find(id).await.expect("it is kept").state, State::Pending);
    // The fallback is there all the time.
    let other = world.accepted().await;
    assert_eq!(world.processed(other).await.processor, Some(Processor::Fallback));
    world.learn_that_both_are_well();
    let payment = world.processed(id).await;
    assert_eq!(payment.processor, Some(Processor::Default));
    assert_eq!(payment.requested_at, world.default.recorded()[0].requested_at);
    assert_eq!(world.recorded(), (1, 1));
    world.assert_none_is_at_both();
}

#[tokio::test]
async fn a_time_out_that_is_recorded_later_is_not_paid_elsewhere() {
    let world = impatient().await;
    world.default.set_delay(5 * TIMEOUT);
    let id = world.accepted().await;
    until("the service gave up", async || {
        !world.instances[0].board().is_healthy(Processor::Default)
    })
    .await;
    assert_eq!(world.recorded(), (0, 0), "nobody has it yet");
    until("it is processed", async || {
        // It says that it is well, and the service tries it again and again.
        world.learn_that_both_are_well();
        world.find(id).await.expect("it is kept").state == State::Processed
    })
    .await;
    assert_eq!(world.recorded(), (1, 0));
    assert_eq!(world.processed(id).await.processor, Some(Processor::Default));
}

#[tokio::test]
async fn a_refusal_of_what_was_recorded_is_found_out() {
    let world = World::memory().await;
    world.default.set_records_first(true);
    world.default.set_delay(TIMEOUT);
    let id = world.accepted().await;
    until("the default has it", async || world.recorded().0 == 1).await;
    world.default.set_failing(true);
    assert_eq!(world.processed(id).await.processor, Some(Processor::Default));
    assert_eq!(world.recorded(), (1, 0));
}

#[tokio::test]
async fn one_that_a_processor_has_already_is_its_own() {
    let world = World::memory().await;
    let id = Uuid::new_v4();
    let order = Order {
        correlation_id: id,
        amount: Amount(Decimal::ONE),
        requested_at: Utc::now().trunc_subsecs(3),
    };
    let order = serde_json::to_vec(&order).expect("it can be written");
    let url = format!("{}/payments", world.default.url());
    assert_eq!(world.client.post(&url, order.clone()).await.expect("an answer").status, 200);
    assert_eq!(world.client.post(&url, order).await.expect("an answer").status, 422);
    assert_eq!(world.pay(id, "1.00").await.status, 202);
    assert_eq!(world.processed(id).await.processor, Some(Processor::Default));
    assert_eq!(world.recorded(), (1, 0));
}
