//! Instances of the service with processors of their own, and a client.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_payments::{
    Answer, Client, Config, Instance, Payment, PaymentView, Processor, ProcessorStub, Processors,
    State, Summary, in_milliseconds,
};
use kv_runtime::redis::Redis;
use kv_runtime::testing::servers;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Longer than anything takes, on any machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Some instances of the service, and the processors that they use.
pub(crate) struct World {
    pub(crate) default: ProcessorStub,
    pub(crate) fallback: ProcessorStub,
    pub(crate) instances: Vec<Instance>,
    pub(crate) config: Config,
    pub(crate) client: Client,
    next: AtomicUsize,
}

impl World {
    /// One instance, with everything in this process.
    pub(crate) async fn memory() -> Self {
        Self::start(Config::in_memory, 1).await
    }

    /// Two instances on servers, with a database and a tenant of their own.
    pub(crate) async fn servers() -> Self {
        Self::start(on_servers, 2).await
    }

    /// Instances with a configuration of the test's.
    pub(crate) async fn start(config: impl FnOnce(Processors) -> Config, count: usize) -> Self {
        let default = processor("0.05").await;
        let fallback = processor("0.15").await;
        let processors = Processors { default_url: default.url(), fallback_url: fallback.url() };
        let mut config = config(processors);
        // A machine that is busy must not look like a slow processor.
        config.delivery.slow = config.delivery.timeout;
        let client = Client::new(WAIT_MAX);
        let mut world =
            Self { default, fallback, instances: Vec::new(), config, client, next: 0.into() };
        for _ in 0..count {
            world.add_instance().await;
        }
        world
    }

    /// Starts one more, and waits until it knows of both processors.
    pub(crate) async fn add_instance(&mut self) {
        let instance = Instance::start(self.config.clone()).await.expect("an instance");
        until("both processors are known", async || {
            Processor::ALL.iter().all(|&one| instance.board().report(one).is_some())
        })
        .await;
        self.instances.push(instance);
    }

    /// Those of the instances in turn, as a balancer without affinity would choose.
    pub(crate) fn url(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.instances[next % self.instances.len()].url()
    }

    /// Asks for a payment.
    pub(crate) async fn pay(&self, correlation_id: Uuid, amount: &str) -> Answer {
        self.post(&format!(r#"{{"correlationId":"{correlation_id}","amount":{amount}}}"#)).await
    }

    /// Asks for a payment, with any body.
    pub(crate) async fn post(&self, body: &str) -> Answer {
        let url = format!("{}/payments", self.url());
        self.client.post(&url, body.to_owned()).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.url());
        self.client.get(&url).await.expect("an answer")
    }

    /// The summary of all, or of some time.
    pub(crate) async fn summary(&self, span: &str) -> Summary {
        let answer = self.get(&format!("/payments-summary{span}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().expect("a summary")
    }

    pub(crate) async fn find(&self, correlation_id: Uuid) -> Option<PaymentView> {
        let answer = self.get(&format!("/payments/correlation/{correlation_id}")).await;
        (answer.status == 200).then(|| answer.json().expect("a payment"))
    }

    /// Waits until a processor has this payment and the service knows.
    pub(crate) async fn processed(&self, correlation_id: Uuid) -> PaymentView {
        until("it is processed", async || {
            let found = self.find(correlation_id).await;
            found.is_some_and(|payment| payment.state == State::Processed)
        })
        .await;
        self.find(correlation_id).await.expect("it was there just now")
    }

    pub(crate) async fn purge(&self) -> Answer {
        let url = format!("{}/purge-payments", self.url());
        self.client.post(&url, "").await.expect("an answer")
    }

    /// Stores a payment past the API.
    pub(crate) async fn store(&self, payment: &Payment) {
        let payments = self.instances[0].kv().repository::<Payment>();
        let _ = payments.create(payment).await.expect("a new payment");
    }

    /// Waits until PostgreSQL has everything.
    pub(crate) async fn drained(&self) {
        let queues = self.instances[0].kv().queues().model::<Payment>();
        soon("it is drained", queues.wait_until_drained()).await.expect("the servers are up");
    }

    /// Redis, past the service and with its tenant.
    pub(crate) async fn redis(&self) -> Redis {
        self.instances[0].kv().redis().await.expect("the server is up")
    }

    /// How many payments the processors have, that of both counted twice.
    pub(crate) fn recorded(&self) -> (usize, usize) {
        (self.default.recorded().len(), self.fallback.recorded().len())
    }

    /// That no payment is at both processors.
    pub(crate) fn assert_none_is_at_both(&self) {
        let fallback = self.fallback.recorded();
        let is_there = |id| fallback.iter().any(|recorded| recorded.correlation_id == id);
        let both = self.default.recorded().into_iter().find(|one| is_there(one.correlation_id));
        assert_eq!(both, None, "a payment is at both processors");
    }
}

/// The table, locked so that everybody can read it and nobody write it.
pub(crate) struct Held(AsyncPgConnection);

impl Held {
    pub(crate) async fn back(world: &World) -> Self {
        let url = world.config.settings.postgres.url.expose();
        let mut connection = AsyncPgConnection::establish(url).await.expect("the server is up");
        let lock = "BEGIN; LOCK TABLE payments IN EXCLUSIVE MODE";
        connection.batch_execute(lock).await.expect("the table is there");
        Self(connection)
    }

    pub(crate) async fn let_go(&mut self) {
        self.0.batch_execute("ROLLBACK").await.expect("the server is up");
    }
}

/// All flags on, with a database and a tenant of the test's own.
pub(crate) fn on_servers(processors: Processors) -> Config {
    static TENANTS: AtomicU64 = AtomicU64::new(0);
    let database_url = servers().create_database();
    let mut config = Config::on_servers(servers().redis_url(), &database_url, processors);
    let number = TENANTS.fetch_add(1, Ordering::Relaxed);
    config.settings.tenant = Some(format!("p{}-{number}", std::process::id()));
    // Tests share the server, and each has several pools.
    config.settings.postgres.max_connections = 5;
    config
}

pub(crate) async fn processor(fee: &str) -> ProcessorStub {
    let fee = fee.parse().expect("a number");
    ProcessorStub::start("127.0.0.1:0", fee).await.expect("a free port")
}

/// A payment that is at a processor.
pub(crate) fn processed(
    processor: Processor,
    amount: Decimal,
    requested_at: DateTime<Utc>,
) -> Payment {
    Payment {
        id: kv_runtime::new_uuid(),
        correlation_id: Uuid::new_v4(),
        amount,
        state: State::Processed,
        processor: Some(processor),
        requested_at,
        processed_at: Some(requested_at + Duration::from_secs(60)),
        leased_until: requested_at,
        version: 0,
    }
}

/// A time as it is in an address.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    in_milliseconds(time)
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < WAIT_MAX, "it does not come to that: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for what has to come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(WAIT_MAX, future).await;
    outcome.unwrap_or_else(|_| panic!("it does not come to that: {what}"))
}
