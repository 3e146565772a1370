//! The processors, as asked by this service.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::amount::Amount;
use crate::client::Client;
use crate::config::Processors;
use crate::model::{Payment, Processor};

/// How long a question may take that is no payment.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);

/// A hand on both processors. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    processors: Processors,
    payments: Client,
    questions: Client,
}

/// What has become of a payment at a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The processor has it.
    Recorded,
    /// The processor has refused it and does not have it.
    Refused,
    /// The processor may have it now, or later.
    Unclear,
}

/// What a processor says of itself.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    pub(crate) failing: bool,
    pub(crate) min_response_time: u64,
}

/// What became of the question after a processor's health.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HealthAnswer {
    Told(Health),
    /// It was asked too soon after somebody else.
    TooSoon,
    /// It did not answer, or nothing that can be understood.
    Nothing,
}

/// The body of a request to pay.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    correlation_id: Uuid,
    amount: Amount,
    requested_at: String,
}

impl Gateway {
    pub(crate) fn new(processors: Processors, timeout: Duration) -> Self {
        let (payments, questions) = (Client::new(timeout), Client::new(QUESTION_TIMEOUT));
        Self { processors, payments, questions }
    }

    /// Sends a payment to its processor.
    pub(crate) async fn pay(&self, processor: Processor, payment: &Payment) -> Outcome {
        let order = Order {
            correlation_id: payment.correlation_id,
            amount: Amount(payment.amount),
            requested_at: in_milliseconds(payment.requested_at),
        };
        let Ok(order) = serde_json::to_vec(&order) else { return Outcome::Unclear };
        let url = format!("{}/payments", self.processors.url(processor));
        match self.payments.post(&url, order).await {
            Ok(answer) if answer.status.is_success() => Outcome::Recorded,
            // It has one with this id already.
            Ok(answer) if answer.status == StatusCode::UNPROCESSABLE_ENTITY => Outcome::Recorded,
            // The request is over: what is not there now will not be there later.
            Ok(_) => self.look_for(processor, payment).await,
            Err(_) => Outcome::Unclear,
        }
    }

    /// Asks a processor whether it has a payment.
    pub(crate) async fn look_for(&self, processor: Processor, payment: &Payment) -> Outcome {
        let base = self.processors.url(processor);
        let url = format!("{base}/payments/{}", payment.correlation_id);
        match self.questions.get(&url).await {
            Ok(answer) if answer.status.is_success() => Outcome::Recorded,
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Outcome::Refused,
            _ => Outcome::Unclear,
        }
    }

    /// Asks a processor how it is.
    pub(crate) async fn health(&self, processor: Processor) -> HealthAnswer {
        let url = format!("{}/payments/service-health", self.processors.url(processor));
        match self.questions.get(&url).await {
            Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => HealthAnswer::TooSoon,
            Ok(answer) if answer.status.is_success() => {
                answer.json().map_or(HealthAnswer::Nothing, HealthAnswer::Told)
            }
            _ => HealthAnswer::Nothing,
        }
    }
}

/// A time as it is told and stored: what is finer would not come back from everybody.
pub fn in_milliseconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
