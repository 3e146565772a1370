//! What users pay to providers.

use chrono::{DateTime, Utc};
use kv_runtime::KvModel;

use crate::values::Amount;

/// A stream of payments from a user to a provider, by one of two terms.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "payment_streams", unique(user_account, provider))]
#[kv(check = "num_nonnulls(rate, amount_provided) = 1")]
pub struct PaymentStream {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// Who pays.
    #[kv(index)]
    pub user_account: String,
    /// Who is paid.
    pub provider: String,
    // Out of reach, so that exactly one of the two is there: see `terms`.
    #[kv(column_type = "numeric(38, 0)")]
    rate: Option<Amount>,
    #[kv(column_type = "numeric(38, 0)")]
    amount_provided: Option<Amount>,
    /// What was paid so far.
    #[kv(default = Amount::from(0), column_type = "numeric(38, 0)")]
    pub total_amount_paid: Amount,
    /// Up to when it is paid; NULL before the first payment.
    #[kv(default = None)]
    pub charged_at_tick: Option<i64>,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}

/// What a stream pays for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// So much for each tick.
    Fixed {
        /// What a tick costs.
        rate: Amount,
    },
    /// By what is provided.
    Dynamic {
        /// How much that is.
        amount_provided: Amount,
    },
}

/// A row with both terms, or with neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payment stream {id} has not exactly one of `rate` and `amount_provided`")]
pub struct InvalidTerms {
    /// The row's id.
    pub id: i64,
}

impl Terms {
    /// The two columns.
    fn into_columns(self) -> (Option<Amount>, Option<Amount>) {
        match self {
            Self::Fixed { rate } => (Some(rate), None),
            Self::Dynamic { amount_provided } => (None, Some(amount_provided)),
        }
    }
}

impl NewPaymentStream {
    /// A stream that nothing was paid by yet.
    pub fn new(user_account: impl Into<String>, provider: impl Into<String>, terms: Terms) -> Self {
        let (user_account, provider) = (user_account.into(), provider.into());
        let (rate, amount_provided) = terms.into_columns();
        Self { user_account, provider, rate, amount_provided }
    }
}

impl PaymentStream {
    /// What it pays for.
    ///
    /// # Errors
    /// [`InvalidTerms`] of a row that somebody else has written, where the table lacks its check.
    pub fn terms(&self) -> Result<Terms, InvalidTerms> {
        match (&self.rate, &self.amount_provided) {
            (Some(rate), None) => Ok(Terms::Fixed { rate: rate.clone() }),
            (None, Some(amount)) => Ok(Terms::Dynamic { amount_provided: amount.clone() }),
            _ => Err(InvalidTerms { id: self.id }),
        }
    }

    /// The change to other terms, which clears the column of the old ones.
    pub fn with_terms(terms: Terms) -> PaymentStreamPatch {
        let (rate, amount_provided) = terms.into_columns();
        Self::patch().rate(rate).amount_provided(amount_provided)
    }
}

#[cfg(test)]
mod tests {
    use kv_runtime::KvNewRow;

    use super::*;

    #[test]
    fn a_row_with_both_terms_or_neither_is_told() {
        let fixed = Terms::Fixed { rate: 7.into() };
        let new = NewPaymentStream::new("user", "provider", fixed.clone());
        let stream = new.into_model(3).expect("an id that fits");
        assert_eq!(stream.terms(), Ok(fixed));
        let neither = PaymentStream { rate: None, ..stream.clone() };
        assert_eq!(neither.terms(), Err(InvalidTerms { id: 3 }));
        let both = PaymentStream { amount_provided: Some(1.into()), ..stream };
        assert_eq!(both.terms(), Err(InvalidTerms { id: 3 }));
    }
}
