//! Those who ask for payments, and how long they wait for the answer.

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
}

impl Answered {
    fn new() -> Result<Self> {
        Ok(Self {
            requests: 0,
            successes: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX, 3)?,
        })
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.requests += other.requests;
        self.successes += other.successes;
        Ok(self.latencies.add(&other.latencies)?)
    }

    /// How long such a part of them took at the most, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }

    async fn pay(&mut self, client: &Client, url: &str) {
        let id = Uuid::new_v4();
        let began = Instant::now();
        let answer =
            client.post(url, format!(r#"{{"correlationId":"{id}","amount":{AMOUNT}}}"#)).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.requests += 1;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            self.successes += 1;
            self.latencies.saturating_record(took);
        }
    }
}

impl Users {
    pub(super) fn new(client: Client, schedule: &Schedule) -> Self {
        Self { client, count: schedule.users, length: schedule.length }
    }

    /// One user after the other comes, and all stay until the end.
    pub(super) async fn run(&self, url: String, end: Instant) -> Result<Answered> {
        let begin = Instant::now();
        let mut users = JoinSet::new();
        for number in 0..self.count {
            let comes = begin + self.length * number / self.count;
            users.spawn(user(self.client.clone(), url.clone(), comes, end));
        }
        let mut all = Answered::new()?;
        while let Some(answered) = users.join_next().await {
            all.add(&answered??)?;
        }
        Ok(all)
    }

    /// Asks somebody who answers at once, again and again, while the users are at work.
    pub(super) async fn probe(&self, url: String, end: Instant) -> Result<Answered> {
        let mut answered = Answered::new()?;
        let mut tick = tokio::time::interval(PROBE);
        while Instant::now() < end {
            tick.tick().await;
            answered.pay(&self.client, &url).await;
        }
        Ok(answered)
    }
}

async fn user(client: Client, url: String, comes: Instant, end: Instant) -> Result<Answered> {
    let mut answered = Answered::new()?;
    tokio::time::sleep_until(comes).await;
    while Instant::now() < end {
        answered.pay(&client, &url).await;
        tokio::time::sleep_until(end.min(Instant::now() + REST)).await;
    }
    Ok(answered)
}
