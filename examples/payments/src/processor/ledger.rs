//! What a processor has recorded.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::Order;
use crate::amount::Amount;

/// The payments of a processor, each once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    recorded: Vec<Recorded>,
    positions: HashMap<Uuid, usize>,
}

/// A payment that a processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The caller's id.
    pub correlation_id: Uuid,
    /// What was paid.
    pub amount: Decimal,
    /// When it was asked for, as the caller says.
    pub requested_at: DateTime<Utc>,
}

impl Ledger {
    /// Whether it is new; what is there already stays as it is.
    pub(super) fn record(&mut self, order: &Order) -> bool {
        if self.positions.contains_key(&order.correlation_id) {
            return false;
        }
        self.positions.insert(order.correlation_id, self.recorded.len());
        self.recorded.push(Recorded {
            correlation_id: order.correlation_id,
            amount: order.amount.0,
            requested_at: order.requested_at,
        });
        true
    }

    pub(super) fn find(&self, correlation_id: Uuid) -> Option<Order> {
        let recorded = self.recorded.get(*self.positions.get(&correlation_id)?)?;
        let (amount, requested_at) = (Amount(recorded.amount), recorded.requested_at);
        Some(Order { correlation_id, amount, requested_at })
    }

    /// How many payments there are from one moment to another, and what they come to.
    pub(super) fn sum(
        &self,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
    ) -> (u64, Decimal) {
        let is_meant = |recorded: &&Recorded| {
            from.is_none_or(|from| recorded.requested_at >= from)
                && to.is_none_or(|to| recorded.requested_at <= to)
        };
        self.recorded
            .iter()
            .filter(is_meant)
            .fold((0, Decimal::ZERO), |(number, sum), recorded| (number + 1, sum + recorded.amount))
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.recorded.clone()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
