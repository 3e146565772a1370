//! The comparison of the service's summary with the processors' books, while payments go on.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Target;
use crate::client::Client;
use crate::gateway::in_milliseconds;
use crate::processor::LedgerSummary;
use crate::summary::Summary;

/// What is older is not compared.
const OLDEST: TimeDelta = TimeDelta::seconds(15);

/// What is younger may still be on its way: a processor that takes nearly as long is one that the
/// service calls slow, and prefers the other to. What takes longer is in neither sum until its
/// processor has it, and then in both but for the moment in which the service learns it.
const YOUNGEST: TimeDelta = TimeDelta::milliseconds(1_500);

/// Who compares.
#[derive(Debug)]
pub(super) struct Auditor {
    client: Client,
    target: Target,
}

/// What came of the comparisons.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audits {
    /// How many there were.
    pub number: u64,
    /// By how many payments the two sides differed, in all of them together.
    pub inconsistencies: u64,
}

impl Auditor {
    pub(super) fn new(client: Client, target: Target) -> Self {
        Self { client, target }
    }

    pub(super) async fn run(self, interval: Duration, end: Instant) -> Result<Audits> {
        let mut audits = Audits::default();
        let mut next = Instant::now() + interval;
        while next <= end {
            tokio::time::sleep_until(next).await;
            audits.number += 1;
            audits.inconsistencies += self.compare(Utc::now()).await?;
            next += interval;
        }
        Ok(audits)
    }

    async fn compare(&self, now: DateTime<Utc>) -> Result<u64> {
        let (from, to) = (in_milliseconds(now - OLDEST), in_milliseconds(now - YOUNGEST));
        let span = format!("payments-summary?from={from}&to={to}");
        let Target { service_url, processors, .. } = &self.target;
        let (default, fallback, summary) = tokio::try_join!(
            self.ask::<LedgerSummary>(format!("{}/admin/{span}", processors.default_url)),
            self.ask::<LedgerSummary>(format!("{}/admin/{span}", processors.fallback_url)),
            self.ask::<Summary>(format!("{service_url}/{span}")),
        )?;
        let differs = |ours: u64, theirs: u64| ours.abs_diff(theirs);
        Ok(differs(summary.default.total_requests, default.total_requests)
            + differs(summary.fallback.total_requests, fallback.total_requests))
    }

    async fn ask<T: DeserializeOwned>(&self, url: String) -> Result<T> {
        let answer = self.client.get(&url).await.with_context(|| url.clone())?;
        answer.json().with_context(|| format!("{url} answers {}", answer.status))
    }
}
