//! Those who ask for payments, and how long they wait for the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use super::schedule::Schedule;
use crate::client::Client;

/// What everybody pays.
const AMOUNT: &str = "19.90";

/// How long a user rests after each payment.
const REST: Duration = Duration::from_secs(1);

/// The longest latency that is told apart, in microseconds: longer than a request may take.
const LATENCY_MAX: u64 = 60_000_000;

/// Into how many parts a run is cut, to see how it went on.
pub(super) const SLICES: u32 = 12;

/// How often the floor is measured.
const PROBE: Duration = Duration::from_millis(20);

/// The users of a run.
#[derive(Debug)]
pub(super) struct Users {
    client: Client,
    count: u32,
    length: Duration,
}

/// What came of some requests.
#[derive(Debug, Clone)]
pub struct Answered {
    /// How many were sent, and were answered or gave up.
    pub requests: u64,
    /// How many were accepted.
    pub successes: u64,
    /// How long those took, in microseconds.
    pub latencies: Histogram<u64>,
    /// The same for each part of the run, by when they were sent.
    pub slices: Vec<Histogram<u64>>,
}

impl Answered {
    fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX, 3)?;
        let slices = vec![Histogram::new_with_bounds(1, LATENCY_MAX, 2)?; SLICES as usize];
        Ok(Self { requests: 0, successes: 0, latencies, slices })
    }

    /// How long such a part of them took at the most, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        quantile_ms(&self.latencies, quantile)
    }
}

/// How long such a part of the requests took at the most, in milliseconds.
pub(super) fn quantile_ms(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1_000.0
}

/// Where the outcome of requests is gathered. Clones share it.
#[derive(Debug, Clone)]
struct Gathered {
    answered: Arc<Mutex<Answered>>,
    begin: Instant,
    slice: Duration,
}

impl Gathered {
    fn new(length: Duration) -> Result<Self> {
        let answered = Arc::new(Mutex::new(Answered::new()?));
        Ok(Self { answered, begin: Instant::now(), slice: length / SLICES })
    }

    fn lock(&self) -> MutexGuard<'_, Answered> {
        // Nothing panics while it is locked.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pay(&self, client: &Client, url: &str) {
        let id = Uuid::new_v4();
        let began = Instant::now();
        let answer =
            client.post(url, format!(r#"{{"correlationId":"{id}","amount":{AMOUNT}}}"#)).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let slice = (began - self.begin).div_duration_f64(self.slice) as usize;
        let mut answered = self.lock();
        answered.requests += 1;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            answered.successes += 1;
            answered.latencies.saturating_record(took);
            if let Some(latencies) = answered.slices.get_mut(slice) {
                latencies.saturating_record(took);
            }
        }
    }
}

impl Users {
    pub(super) fn new(client: Client, schedule: &Schedule) -> Self {
        Self { client, count: schedule.users, length: schedule.length }
    }

    /// One user after the other comes, and all stay until the end.
    pub(super) async fn run(&self, url: String, end: Instant) -> Result<Answered> {
        let gathered = Gathered::new(self.length)?;
        let mut users = JoinSet::new();
        for number in 0..self.count {
            let comes = gathered.begin + self.length * number / self.count;
            let user = user(self.client.clone(), url.clone(), comes, end, gathered.clone());
            users.spawn(user);
        }
        users.join_all().await;
        Ok(gathered.lock().clone())
    }

    /// Asks somebody who answers at once, again and again, while the users are at work.
    pub(super) async fn probe(&self, url: String, end: Instant) -> Result<Answered> {
        let gathered = Gathered::new(self.length)?;
        let mut tick = tokio::time::interval(PROBE);
        while Instant::now() < end {
            tick.tick().await;
            gathered.pay(&self.client, &url).await;
        }
        Ok(gathered.lock().clone())
    }
}

async fn user(client: Client, url: String, comes: Instant, end: Instant, gathered: Gathered) {
    tokio::time::sleep_until(comes).await;
    while Instant::now() < end {
        gathered.pay(&client, &url).await;
        tokio::time::sleep_until(end.min(Instant::now() + REST)).await;
    }
}
