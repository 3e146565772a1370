//! Payments as the API asks for them.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use kv_runtime::{Error, Queues};

use crate::model::{Payment, PaymentRepository};
use crate::session::{Lookup, PaymentView, SessionCache};

/// How many payments are deleted at once.
const PURGE_MAX: u64 = 1_000;

/// How long a purge waits until PostgreSQL has it.
const PURGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The payments, and the cache in front of them.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) payments: PaymentRepository,
    pub(crate) queues: Queues,
    pub(crate) sessions: SessionCache,
}

impl Store {
    /// A payment, from the cache if it is there.
    pub(crate) async fn find(&self, lookup: Lookup) -> Result<Option<PaymentView>, Error> {
        if let Some(view) = self.sessions.find(lookup).await {
            return Ok(Some(view));
        }
        let found = match lookup {
            Lookup::Id(id) => self.payments.find_by_id(&id).await?,
            Lookup::Correlation(id) => self.payments.find_by_correlation_id(id).await?,
        };
        Ok(found.as_ref().map(PaymentView::from))
    }

    /// Deletes everything: from Redis, from the queue, from the cache and from PostgreSQL.
    pub(crate) async fn purge(&self) -> Result<()> {
        loop {
            let rows: Vec<Payment> = self.payments.query().limit(PURGE_MAX).load().await?;
            if rows.is_empty() {
                break;
            }
            let ids: Vec<_> = rows.iter().map(|payment| payment.id).collect();
            for deleted in self.payments.delete_many(&ids).await {
                match deleted {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
            let cached = rows.iter().map(|row| self.sessions.remove(row.id, row.correlation_id));
            try_join_all(cached).await?;
        }
        let drained = tokio::time::timeout(PURGE_TIMEOUT, self.queues.wait_until_drained()).await;
        Ok(drained.context("what was purged is not drained in time")??)
    }
}
