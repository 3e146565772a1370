//! A stub of a payment processor, which is slow or fails as it is told to.

mod ledger;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::ledger::Ledger;
pub use self::ledger::Recorded;
use crate::amount::Amount;

/// Its health may be asked for once in this time.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// A processor at work. It ends when it is dropped.
#[derive(Debug)]
pub struct ProcessorStub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    delay_ms: AtomicU64,
    is_failing: AtomicBool,
    /// Whether a payment is recorded before the delay instead of after it.
    records_first: AtomicBool,
    health_asked: Mutex<Option<Instant>>,
    /// How often its health was asked for too soon.
    too_soon: AtomicU64,
    /// How often its health was asked for in time.
    health_told: AtomicU64,
}

/// A payment as it is asked for and told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The caller's id.
    pub correlation_id: Uuid,
    /// What is paid.
    pub amount: Amount,
    /// When it was asked for, as the caller says.
    pub requested_at: DateTime<Utc>,
}

/// What the processor has recorded in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSummary {
    /// How many payments.
    pub total_requests: u64,
    /// What they come to.
    pub total_amount: Amount,
    /// What they cost.
    pub total_fee: Amount,
    /// Which part of a payment that is.
    pub fee_per_transaction: Amount,
}

/// Some time: `?from=…&to=…`, both included.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Span {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl ProcessorStub {
    /// Starts one that listens at `listen` and takes `fee` of each payment.
    ///
    /// # Errors
    /// Where it cannot listen there.
    pub async fn start(listen: &str, fee: Decimal) -> Result<Self> {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen at {listen}"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let shared = Arc::new(Shared::default());
        let router = router(Arc::clone(&shared), fee);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
                let _ = stream.set_nodelay(true);
            });
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the processor does not listen any more");
            }
        });
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where it listens, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has each request to pay take so long.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Has requests to pay fail, or not any more.
    pub fn set_failing(&self, is_failing: bool) {
        self.shared.is_failing.store(is_failing, Ordering::Relaxed);
    }

    /// Has payments recorded before the delay, or after it as at first.
    pub fn set_records_first(&self, records_first: bool) {
        self.shared.records_first.store(records_first, Ordering::Relaxed);
    }

    /// What it has recorded, in the order in which it has.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.ledger().all()
    }

    /// How often its health was told, and how often it was asked for too soon.
    pub fn health_calls(&self) -> (u64, u64) {
        let Shared { health_told, too_soon, .. } = &*self.shared;
        (health_told.load(Ordering::Relaxed), too_soon.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        // Nothing panics while it is locked.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the health may be asked for now.
    fn health_is_due(&self) -> bool {
        let mut asked = self.health_asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = asked.is_none_or(|at| at.elapsed() >= HEALTH_INTERVAL);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }

    async fn pay(&self, order: Order) -> StatusCode {
        let records_first = self.records_first.load(Ordering::Relaxed);
        let is_failing = || self.is_failing.load(Ordering::Relaxed);
        let mut status = StatusCode::OK;
        if records_first && !is_failing() {
            status = self.record(&order);
        }
        tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::Relaxed))).await;
        match (records_first, is_failing()) {
            (_, true) => StatusCode::INTERNAL_SERVER_ERROR,
            (true, false) => status,
            (false, false) => self.record(&order),
        }
    }

    fn record(&self, order: &Order) -> StatusCode {
        match self.ledger().record(order) {
            true => StatusCode::OK,
            false => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

fn router(shared: Arc<Shared>, fee: Decimal) -> Router {
    Router::new()
        .route("/payments", post(pay))
        .route("/payments/service-health", get(health))
        .route("/payments/{id}", get(find))
        .route(
            "/admin/payments-summary",
            get(move |shared: State<Arc<Shared>>, span: Query<Span>| async move {
                summary(&shared, span.0, fee)
            }),
        )
        .route("/admin/purge-payments", post(purge))
        .route("/admin/configurations/delay", put(set_delay))
        .route("/admin/configurations/failure", put(set_failure))
        .with_state(shared)
}

async fn pay(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    // A task of its own, which goes on when the client has gone.
    let paid = tokio::spawn(async move { shared.pay(order).await });
    match paid.await {
        Ok(StatusCode::OK) => {
            json(r#"{"message":"payment processed successfully"}"#.to_owned()).into_response()
        }
        Ok(status) => status.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if !shared.health_is_due() {
        shared.too_soon.fetch_add(1, Ordering::Relaxed);
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    shared.health_told.fetch_add(1, Ordering::Relaxed);
    let failing = shared.is_failing.load(Ordering::Relaxed);
    let min_response_time = shared.delay_ms.load(Ordering::Relaxed);
    json(format!(r#"{{"failing":{failing},"minResponseTime":{min_response_time}}}"#))
        .into_response()
}

async fn find(State(shared): State<Arc<Shared>>, Path(id): Path<Uuid>) -> Response {
    let found = shared.ledger().find(id);
    match found.map(|order| serde_json::to_string(&order)) {
        Some(Ok(order)) => json(order).into_response(),
        Some(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn summary(shared: &Shared, span: Span, fee: Decimal) -> Response {
    let (number, sum) = shared.ledger().sum(span.from, span.to);
    let summary = LedgerSummary {
        total_requests: number,
        total_amount: Amount(sum),
        total_fee: Amount(sum * fee),
        fee_per_transaction: Amount(fee),
    };
    match serde_json::to_string(&summary) {
        Ok(text) => json(text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn purge(State(shared): State<Arc<Shared>>) {
    shared.ledger().clear();
}

#[derive(Debug, Deserialize)]
struct Delay {
    delay: u64,
}

async fn set_delay(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let Ok(Delay { delay }) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    shared.delay_ms.store(delay, Ordering::Relaxed);
    StatusCode::OK
}

#[derive(Debug, Deserialize)]
struct Failure {
    failure: bool,
}

async fn set_failure(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let Ok(Failure { failure }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    shared.is_failing.store(failure, Ordering::Relaxed);
    StatusCode::OK
}

fn json(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}
