//! The model: one struct, and what its table has beside it.

use chrono::{DateTime, Utc};
use kv_runtime::{KvModel, KvValue};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A payment that was accepted.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "payments", key_prefix = "payments", ttl = "1h")]
pub struct Payment {
    /// Its own id.
    #[kv(id)]
    pub id: Uuid,
    /// The caller's id: one payment each, however often it is asked for.
    #[kv(unique)]
    pub correlation_id: Uuid,
    /// What is to be paid.
    pub amount: Decimal,
    /// How far it is.
    #[kv(index)]
    pub state: State,
    /// Whom it was sent to, or is about to be; `None` where nobody can have it.
    ///
    /// It is written before the processor is asked. Whoever takes the payment over goes on with the
    /// same processor, because that one may have it.
    #[kv(index)]
    pub processor: Option<Processor>,
    /// When the processor was asked, by its own account too; before that, when it was accepted. In
    /// whole milliseconds.
    #[kv(index)]
    pub requested_at: DateTime<Utc>,
    /// When it was known that the processor has it.
    #[kv(index)]
    pub processed_at: Option<DateTime<Utc>>,
    /// Until when the instance that delivers it is left alone with it.
    pub leased_until: DateTime<Utc>,
    /// What tells one instance that another has taken the payment over.
    #[kv(version)]
    pub version: i64,
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, KvValue)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted, and not known to be at a processor.
    Pending,
    /// Known to be at its processor.
    Processed,
}

/// Who pays.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KvValue,
)]
#[serde(rename_all = "snake_case")]
pub enum Processor {
    /// The one with the lower fee.
    Default,
    /// The one for when that one is down or slow.
    Fallback,
}

impl Processor {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Default, Self::Fallback];

    /// Its name in keys, messages and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fallback => "fallback",
        }
    }
}

/// When PostgreSQL has got a payment, which is its own affair: the model does not know it, and no
/// INSERT names it.
///
/// Where it is there already, nobody who is at work is asked to wait.
pub(crate) const ADD_CREATED_AT: &str = "DO $$ BEGIN \
     IF NOT EXISTS (SELECT FROM pg_attribute \
                    WHERE attrelid = 'payments'::regclass AND attname = 'created_at') \
     THEN ALTER TABLE payments \
          ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(); \
     END IF; END $$";
