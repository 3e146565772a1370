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

    /// Puts a payment that was processed into the cache.
    ///
    /// A purge may have come between the payment's last change and this, and has looked for it in
    /// the cache before it was there. One that comes later deletes the row first, and then finds
    /// the payment in the cache.
    pub(crate) async fn remember(&self, payment: &Payment) {
        if !self.sessions.put(payment).await {
            return;
        }
        if matches!(self.payments.find_by_id(&payment.id).await, Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.sessions.remove(payment.id, payment.correlation_id).await {
            tracing::warn!(%error, "a payment that may have been purged stays in the cache");
        }
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

#[cfg(test)]
mod tests {
    use chrono::{SubsecRound, Utc};
    use kv_runtime::redis::Redis;
    use kv_runtime::testing::RedisServer;
    use kv_runtime::{Kv, RedisSettings};
    use rust_decimal::Decimal;

    use super::*;
    use crate::model::{Processor, State};

    fn payment() -> Payment {
        let now = Utc::now().trunc_subsecs(3);
        Payment {
            id: kv_runtime::new_uuid(),
            correlation_id: kv_runtime::new_uuid(),
            amount: Decimal::ONE,
            state: State::Processed,
            processor: Some(Processor::Default),
            requested_at: now,
            processed_at: Some(now),
            leased_until: now,
            version: 0,
        }
    }

    #[tokio::test]
    async fn what_is_purged_before_it_is_cached_does_not_stay_there() {
        let server = RedisServer::start().expect("a private server");
        let redis = Redis::connect(&RedisSettings::new(server.url()), None).await;
        let sessions = SessionCache::new(Some(redis.expect("the server is up")));
        let kv = Kv::memory();
        let drainer = kv.drainer().model::<Payment>().spawn();
        let (payments, queues) = (kv.repository(), kv.queues().model::<Payment>());
        let store = Store { payments, queues, sessions };
        let payment = payment();
        let lookups = [Lookup::Id(payment.id), Lookup::Correlation(payment.correlation_id)];
        let _ = store.payments.create(&payment).await.expect("a new row");
        store.remember(&payment).await;
        for lookup in lookups {
            assert!(store.sessions.find(lookup).await.is_some(), "{lookup:?}");
        }
        store.purge().await.expect("all are up");
        store.remember(&payment).await;
        for lookup in lookups {
            assert_eq!(store.find(lookup).await.expect("an answer"), None);
        }
        drainer.shutdown().await.expect("everything is drained");
    }
}
