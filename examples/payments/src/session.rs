//! Payments that were processed, in Redis for an hour under both their ids.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kv_runtime::redis::{Error, Expiry, Redis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::amount::Amount;
use crate::model::{Payment, Processor, State};

/// How long they stay.
const TTL: Duration = Duration::from_secs(3_600);

/// A payment as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentView {
    /// Its own id.
    pub id: Uuid,
    /// The caller's id.
    pub correlation_id: Uuid,
    /// What is to be paid.
    pub amount: Amount,
    /// How far it is.
    pub state: State,
    /// Whom it was sent to.
    pub processor: Option<Processor>,
    /// When that was, or when it was accepted.
    pub requested_at: DateTime<Utc>,
    /// When it was known that the processor has it.
    pub processed_at: Option<DateTime<Utc>>,
}

impl From<&Payment> for PaymentView {
    fn from(payment: &Payment) -> Self {
        Self {
            id: payment.id,
            correlation_id: payment.correlation_id,
            amount: Amount(payment.amount),
            state: payment.state,
            processor: payment.processor,
            requested_at: payment.requested_at,
            processed_at: payment.processed_at,
        }
    }
}

/// How a payment is looked for.
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// By its own id.
    Id(Uuid),
    /// By the caller's id.
    Correlation(Uuid),
}

impl Lookup {
    fn key(self) -> String {
        match self {
            Self::Id(id) => format!("payment:id:{id}"),
            Self::Correlation(id) => format!("payment:correlation:{id}"),
        }
    }
}

/// The cache; without Redis there is none, and nothing is found.
///
/// Only what does not change any more is put there: what was put there earlier would be wrong for
/// an hour wherever the later one does not come through. An error of it is nobody's: the store has
/// the payment.
#[derive(Debug, Clone, Default)]
pub(crate) struct SessionCache {
    redis: Option<Redis>,
}

impl SessionCache {
    pub(crate) fn new(redis: Option<Redis>) -> Self {
        Self { redis }
    }

    /// Puts a payment there, and answers whether it may be there now.
    pub(crate) async fn put(&self, payment: &Payment) -> bool {
        let Some(redis) = &self.redis else { return false };
        let view = PaymentView::from(payment);
        let (id, correlation) = (Lookup::Id(view.id), Lookup::Correlation(view.correlation_id));
        let (id, correlation) = (id.key(), correlation.key());
        let ttl = Expiry::After(TTL);
        let put = tokio::try_join!(
            redis.set_json_with(&id, &view, ttl),
            redis.set_json_with(&correlation, &view, ttl),
        );
        if let Err(error) = put {
            tracing::warn!(%error, "a payment is not cached");
        }
        true
    }

    pub(crate) async fn find(&self, lookup: Lookup) -> Option<PaymentView> {
        let found = self.redis.as_ref()?.find_json(&lookup.key()).await;
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the cache cannot be asked");
            None
        })
    }

    /// Removes a payment.
    ///
    /// # Errors
    /// That it may still be there.
    pub(crate) async fn remove(&self, id: Uuid, correlation_id: Uuid) -> Result<(), Error> {
        let Some(redis) = &self.redis else { return Ok(()) };
        let (id, correlation) = (Lookup::Id(id), Lookup::Correlation(correlation_id));
        let (id, correlation) = (id.key(), correlation.key());
        tokio::try_join!(redis.delete(&id), redis.delete(&correlation)).map(drop)
    }
}
