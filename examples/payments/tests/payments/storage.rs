//! What is stored where: the table, Redis and the cache.

use std::time::Duration;

use chrono::{SubsecRound, Utc};
use diesel_async::SimpleAsyncConnection;
use kv_payments::{Amount, Payment, Processor};
use kv_runtime::testing::RedisServer;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::common::{Held, World, on_servers, processed, until};

/// That the database finds a condition true.
async fn assert_in_postgresql(world: &World, condition: &str) {
    let kv = world.instances[0].kv();
    let mut connection = kv.connection().await.expect("the server is up");
    let assertion = format!("DO $$ BEGIN ASSERT ({condition}); END $$");
    let held = connection.batch_execute(&assertion).await;
    held.unwrap_or_else(|error| panic!("{condition}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_postgresql_is_the_payment() {
    let world = World::servers().await;
    let id = Uuid::new_v4();
    world.pay(id, "19.90").await;
    let payment = world.processed(id).await;
    world.drained().await;
    let requested_at = payment.requested_at.to_rfc3339();
    let processed_at = payment.processed_at.expect("it is processed").to_rfc3339();
    let condition = format!(
        "SELECT count(*) = 1 FROM payments WHERE id = '{}' AND correlation_id = '{id}' \
         AND amount::text = '19.90' AND processor = 'default' \
         AND requested_at = '{requested_at}' AND processed_at = '{processed_at}' \
         AND created_at > now() - interval '1 minute'",
        payment.id
    );
    assert_in_postgresql(&world, &condition).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_declared_indexes_are_in_the_table() {
    let world = World::servers().await;
    for index in [
        "CREATE UNIQUE INDEX payments_correlation_id_key ON public.payments \
         USING btree (correlation_id)",
        "CREATE INDEX payments_processor_idx ON public.payments USING btree (processor)",
        "CREATE INDEX payments_processed_at_idx ON public.payments USING btree (processed_at)",
        "CREATE INDEX payments_requested_at_idx ON public.payments USING btree (requested_at)",
    ] {
        let condition = format!(
            "SELECT count(*) = 1 FROM pg_indexes WHERE tablename = 'payments' \
             AND indexdef = '{index}'"
        );
        assert_in_postgresql(&world, &condition).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_summary_counts_what_is_not_drained() {
    let world = World::servers().await;
    let kv = world.instances[0].kv().clone();
    let mut drains = Held::back(&world).await;
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::new_v4()).collect();
    for &id in &ids {
        assert_eq!(world.pay(id, "2.50").await.status, 202);
        world.processed(id).await;
    }
    let summary = world.summary("").await;
    assert_eq!(summary.default.total_requests, 10);
    assert_eq!(summary.default.total_amount, Amount(Decimal::from(25)));
    assert_eq!(kv.durable_rows::<Payment>().await.expect("the rows"), []);
    drains.let_go().await;
    world.drained().await;
    assert_eq!(kv.durable_rows::<Payment>().await.expect("the rows").len(), 10);
    assert_eq!(world.summary("").await, summary);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_summary_leaves_other_processors_aside() {
    let world = World::servers().await;
    let at = Utc::now().trunc_subsecs(3);
    world.store(&processed(Processor::Default, Decimal::ONE, at)).await;
    world.drained().await;
    let kv = world.instances[0].kv();
    let mut connection = kv.connection().await.expect("the server is up");
    // A third one, of which the service knows nothing.
    let copy = format!(
        "INSERT INTO payments (id, correlation_id, amount, state, processor, requested_at, \
         processed_at, leased_until, version) SELECT '{}', '{}', amount, state, 'failed', \
         requested_at, processed_at, leased_until, version FROM payments",
        Uuid::new_v4(),
        Uuid::new_v4(),
    );
    connection.batch_execute(&copy).await.expect("valid SQL");
    drop(connection);
    assert_in_postgresql(&world, "SELECT count(*) = 2 FROM payments").await;
    let summary = world.summary("").await;
    assert_eq!((summary.default.total_requests, summary.fallback.total_requests), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_found_before_and_after_it_is_drained_and_without_redis_memory() {
    let redis = RedisServer::start().expect("a private server");
    let world = World::start(
        |processors| {
            let mut config = on_servers(processors);
            config.settings.redis.url = redis.url().into();
            config
        },
        2,
    )
    .await;
    let mut drains = Held::back(&world).await;
    let id = Uuid::new_v4();
    world.pay(id, "19.90").await;
    let payment = world.processed(id).await;
    let by_id = format!("/payments/{}", payment.id);
    assert_eq!(world.get(&by_id).await.status, 200, "in Redis alone");
    drains.let_go().await;
    world.drained().await;
    assert_eq!(world.find(id).await.as_ref(), Some(&payment), "in both");
    redis.ask("FLUSHALL").expect("the server is up");
    assert_eq!(world.find(id).await.as_ref(), Some(&payment), "in PostgreSQL alone");
    redis.ask("FLUSHALL").expect("the server is up");
    assert_eq!(world.get(&by_id).await.status, 200, "in PostgreSQL alone");
    assert_eq!(world.pay(id, "99.00").await.status, 200, "it is known all the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_processed_is_cached_for_an_hour_under_both_ids() {
    let world = World::servers().await;
    let id = Uuid::new_v4();
    world.pay(id, "19.90").await;
    let payment = world.processed(id).await;
    let redis = world.redis().await;
    for key in [format!("payment:id:{}", payment.id), format!("payment:correlation:{id}")] {
        until("it is cached", async || redis.exists(&key).await.expect("the server is up")).await;
        let ttl = redis.ttl(&key).await.expect("it is cached").expect("not for ever");
        assert!(ttl > Duration::from_secs(3_590) && ttl <= Duration::from_secs(3_600), "{ttl:?}");
    }
    world.pay(id, "99.00").await;
    assert_eq!(world.find(id).await, Some(payment), "the first one stays");
    assert_eq!(world.purge().await.status, 200);
    assert!(!redis.exists(&format!("payment:correlation:{id}")).await.expect("the server is up"));
}
