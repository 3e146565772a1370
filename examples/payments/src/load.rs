//! A load generator with the contest's two schedules, and what it thinks of a run.

mod audit;
mod report;
mod schedule;
mod users;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::audit::Auditor;
pub use self::audit::Audits;
pub use self::report::{Report, Score};
pub use self::schedule::{Behaviour, Schedule, Step};
pub use self::users::Answered;
use self::users::Users;
use crate::client::Client;
use crate::config::Processors;
use crate::processor::LedgerSummary;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long questions to the processors and to the summary may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it is waited for what is under way when the schedule is over.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Who is to be tried.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service, as `http://host:port`.
    pub service_url: String,
    /// Its processors.
    pub processors: Processors,
    /// Somebody who answers at once, by whom the machine itself is measured.
    pub floor_url: String,
}

/// Empties the service and the processors, and runs a schedule.
///
/// # Errors
/// That somebody does not answer who has to.
pub async fn run(schedule: &Schedule, target: &Target) -> Result<Report> {
    let questions = Client::new(QUESTION_TIMEOUT);
    empty(&questions, target).await?;
    let end = Instant::now() + schedule.length;
    let auditor = Auditor::new(questions.clone(), target.clone());
    let mut background = JoinSet::new();
    background.spawn(direct(questions.clone(), target.processors.clone(), schedule.clone()));
    let users = Users::new(Client::new(REQUEST_TIMEOUT), schedule);
    let service = users.run(format!("{}/payments", target.service_url), end);
    let floor = users.probe(format!("{}/payments", target.floor_url), end);
    let (service, floor, audits) =
        tokio::join!(service, floor, auditor.run(schedule.audit_interval, end));
    while let Some(directed) = background.join_next().await {
        directed.context("the schedule broke")??;
    }
    let (service, floor) = (Arc::new(service?), Arc::new(floor?));
    let at_end = ledgers(&questions, target).await?;
    let settled = settle(&questions, target, service.successes).await?;
    let (name, length, audits) = (schedule.name, schedule.length, audits?);
    Ok(Report { schedule: name, length, service, floor, audits, at_end, settled })
}

/// Somebody who answers each request to pay at once.
///
/// # Errors
/// That no port is free.
pub async fn start_floor(listen: &str) -> Result<(String, JoinSet<()>)> {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {listen}"))?;
    let url = format!("http://{}", listener.local_addr().context("it has no address")?);
    let router = Router::new().route("/payments", post(async || StatusCode::ACCEPTED));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the floor does not listen any more");
        }
    });
    Ok((url, tasks))
}

async fn empty(client: &Client, target: &Target) -> Result<()> {
    let Processors { default_url, fallback_url } = &target.processors;
    for url in [
        format!("{default_url}/admin/purge-payments"),
        format!("{fallback_url}/admin/purge-payments"),
        format!("{}/purge-payments", target.service_url),
    ] {
        let answer = client.post(&url, "").await.with_context(|| url.clone())?;
        ensure!(answer.status.is_success(), "{url} answers {}", answer.status);
    }
    Ok(())
}

/// Has the processors behave as the schedule says.
async fn direct(client: Client, processors: Processors, schedule: Schedule) -> Result<()> {
    let begin = Instant::now();
    for step in &schedule.steps {
        tokio::time::sleep_until(begin + step.at).await;
        for (url, behaviour) in
            [(&processors.default_url, step.default), (&processors.fallback_url, step.fallback)]
        {
            let base = format!("{url}/admin/configurations");
            let Behaviour { delay_ms, is_failing } = behaviour;
            for (name, body) in [
                ("delay", format!(r#"{{"delay":{delay_ms}}}"#)),
                ("failure", format!(r#"{{"failure":{is_failing}}}"#)),
            ] {
                client.put(&format!("{base}/{name}"), body).await.context("a processor's admin")?;
            }
        }
    }
    Ok(())
}

/// What both processors have.
async fn ledgers(client: &Client, target: &Target) -> Result<[LedgerSummary; 2]> {
    let Processors { default_url, fallback_url } = &target.processors;
    let ask = async |url: &str| -> Result<LedgerSummary> {
        let answer = client.get(&format!("{url}/admin/payments-summary")).await?;
        Ok(answer.json()?)
    };
    Ok([ask(default_url).await?, ask(fallback_url).await?])
}

/// Waits until the processors have what was accepted, and answers what they have then.
async fn settle(client: &Client, target: &Target, accepted: u64) -> Result<[LedgerSummary; 2]> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let found = ledgers(client, target).await?;
        let number: u64 = found.iter().map(|ledger| ledger.total_requests).sum();
        if number >= accepted || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
