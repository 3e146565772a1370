//! The face of the service: HTTP with JSON.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{SubsecRound, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::amount::Amount;
use crate::board::{Board, Report};
use crate::delivery::Delivery;
use crate::metrics::Metrics;
use crate::model::{self, Payment, Processor};
use crate::session::Lookup;
use crate::store::Store;
use crate::summary::{Span, summarize};

/// What the requests need.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) delivery: Delivery,
    pub(crate) board: Board,
    pub(crate) metrics: Arc<Metrics>,
}

type Shared = State<Arc<Parts>>;

pub(crate) fn router(parts: Parts) -> Router {
    Router::new()
        .route("/payments", post(accept))
        .route("/payments/{id}", get(find))
        .route("/payments/correlation/{id}", get(find_by_correlation))
        .route("/payments-summary", get(summary))
        .route("/purge-payments", post(purge))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(parts))
}

/// The body of `POST /payments`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    correlation_id: Uuid,
    amount: Amount,
}

/// Stores a payment and answers at once: `202` if it is new, `200` if it is known.
async fn accept(State(parts): Shared, body: Bytes) -> Response {
    let _accepting = parts.delivery.accepting();
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refused(&format!("the body is no payment: {error}")),
    };
    if request.amount.0 <= Decimal::ZERO {
        return refused("the amount must be greater than zero");
    }
    let payment = Payment {
        id: kv_runtime::new_uuid(),
        correlation_id: request.correlation_id,
        amount: request.amount.0,
        state: model::State::Pending,
        processor: None,
        requested_at: Utc::now().trunc_subsecs(3),
        processed_at: None,
        leased_until: parts.delivery.lease(),
        version: 0,
    };
    match parts.store.payments.create(&payment).await {
        Ok(receipt) => {
            Metrics::add(&parts.metrics.accepted);
            parts.delivery.add(Payment { version: receipt.version, ..payment });
            StatusCode::ACCEPTED.into_response()
        }
        Err(error) if error.is_duplicate() => {
            Metrics::add(&parts.metrics.duplicates);
            StatusCode::OK.into_response()
        }
        Err(error) => {
            Metrics::add(&parts.metrics.failed);
            unavailable(&error.into())
        }
    }
}

async fn find(State(parts): Shared, id: Result<Path<Uuid>, PathRejection>) -> Response {
    match id {
        Ok(Path(id)) => answer(parts.store.find(Lookup::Id(id)).await),
        Err(rejection) => rejection.into_response(),
    }
}

async fn find_by_correlation(
    State(parts): Shared,
    id: Result<Path<Uuid>, PathRejection>,
) -> Response {
    match id {
        Ok(Path(id)) => answer(parts.store.find(Lookup::Correlation(id)).await),
        Err(rejection) => rejection.into_response(),
    }
}

fn answer<T: Serialize>(found: Result<Option<T>, kv_runtime::Error>) -> Response {
    match found {
        Ok(Some(view)) => json(StatusCode::OK, &view),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error.into()),
    }
}

async fn summary(State(parts): Shared, span: Result<Query<Span>, QueryRejection>) -> Response {
    let Query(span) = match span {
        Ok(span) => span,
        Err(rejection) => return rejection.into_response(),
    };
    match summarize(&parts.store.payments, span).await {
        Ok(summary) => json(StatusCode::OK, &summary),
        Err(error) => unavailable(&error.into()),
    }
}

async fn purge(State(parts): Shared) -> Response {
    match parts.store.purge().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// The answer of `GET /health`.
#[derive(Debug, Serialize)]
struct Health {
    undrained: u64,
    lag_ms: u128,
    processors: Vec<ProcessorHealth>,
}

#[derive(Debug, Serialize)]
struct ProcessorHealth {
    processor: Processor,
    healthy: bool,
    report: Option<Report>,
}

/// `200` where the store can be asked, whatever the processors do.
async fn health(State(parts): Shared) -> Response {
    let board = &parts.board;
    let processors = Processor::ALL.map(|processor| ProcessorHealth {
        processor,
        healthy: board.is_healthy(processor),
        report: board.report(processor),
    });
    match parts.store.queues.status().await {
        Ok(queue) => {
            let (undrained, lag_ms) = (queue.undrained, queue.lag.as_millis());
            json(StatusCode::OK, &Health { undrained, lag_ms, processors: processors.into() })
        }
        Err(error) => unavailable(&error.into()),
    }
}

async fn metrics(State(parts): Shared) -> Response {
    let queue = parts.store.queues.status().await.ok();
    let text = parts.metrics.render(&parts.board, queue);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => unavailable(&error.into()),
    }
}

fn refused(problem: &str) -> Response {
    (StatusCode::BAD_REQUEST, problem.to_owned()).into_response()
}

/// What went wrong is for the log; the caller may try again.
fn unavailable(error: &anyhow::Error) -> Response {
    tracing::warn!(error = format!("{error:#}"), "a request could not be served");
    (StatusCode::SERVICE_UNAVAILABLE, "the store is not available; try again").into_response()
}
