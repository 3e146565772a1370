//! What was paid, by processor.

use chrono::{DateTime, Utc};
use kv_runtime::{Error, count};
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::model::{PaymentRepository, Processor, State};

/// The answer of `GET /payments-summary`: both processors, also the one that has nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// What the one with the lower fee has.
    pub default: Total,
    /// What the other one has.
    pub fallback: Total,
}

/// Some payments together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// How many.
    pub total_requests: u64,
    /// What they come to.
    pub total_amount: Amount,
}

/// What the summary is to be about: `?from=…&to=…&column=…`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Span {
    /// The first moment; without it, from the beginning.
    pub from: Option<DateTime<Utc>>,
    /// The last moment, itself included; without it, up to now.
    pub to: Option<DateTime<Utc>>,
    /// Which of a payment's times is meant.
    #[serde(default)]
    pub column: TimeColumn,
}

/// The times of a payment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeColumn {
    /// When the processor was asked, which is the time that it has in its own books.
    #[default]
    RequestedAt,
    /// When it was known that the processor has it.
    ProcessedAt,
}

impl Summary {
    /// What one of the processors has.
    pub fn of(&self, processor: Processor) -> Total {
        match processor {
            Processor::Default => self.default,
            Processor::Fallback => self.fallback,
        }
    }

    fn of_mut(&mut self, processor: Processor) -> &mut Total {
        match processor {
            Processor::Default => &mut self.default,
            Processor::Fallback => &mut self.fallback,
        }
    }
}

/// Counts and adds up what was processed, drained or not.
///
/// # Errors
/// Those of a query.
pub(crate) async fn summarize(payments: &PaymentRepository, span: Span) -> Result<Summary, Error> {
    // By name, so that whoever else is in the table is left aside before it is read.
    let mut query = payments
        .query()
        .filter(|p| p.state.eq(State::Processed).and(p.processor.is_in(Processor::ALL)));
    if let Some(from) = span.from {
        query = query.filter(|p| match span.column {
            TimeColumn::RequestedAt => p.requested_at.ge(from),
            TimeColumn::ProcessedAt => p.processed_at.ge(from),
        });
    }
    if let Some(to) = span.to {
        query = query.filter(|p| match span.column {
            TimeColumn::RequestedAt => p.requested_at.le(to),
            TimeColumn::ProcessedAt => p.processed_at.le(to),
        });
    }
    let groups = query.group_by(|p| p.processor).aggregate(|p| (count(), p.amount.sum())).await?;
    let mut summary = Summary::default();
    for (processor, (number, sum)) in groups {
        let Some(processor) = processor else { continue };
        let total_amount = Amount(sum.unwrap_or_default());
        *summary.of_mut(processor) = Total { total_requests: number, total_amount };
    }
    Ok(summary)
}
