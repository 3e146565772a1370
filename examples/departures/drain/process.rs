//! A drainer process: it does nothing but drain, until SIGTERM.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use kv_runtime::{Drainer, Kv, Settings};
use tokio::signal::unix::{SignalKind, signal};

use super::Drained;
use crate::model::Flight;

/// How often it says how far it is.
const REPORT_INTERVAL: Duration = Duration::from_millis(50);

/// Drains until SIGTERM, or until nobody listens any more; the servers are those that the
/// environment names.
pub(crate) async fn drain() -> Result<()> {
    // First, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let kv = Kv::connect(Settings::from_env()?).await?;
    let drainer = kv.drainer().model::<Flight>().spawn();
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        closed = report_again_and_again(&drainer) => closed,
    };
    // The batches on their way are finished, and the leases given back, in two seconds at most.
    drainer.stop().await;
    ended
}

/// Comes back when there is nobody to report to: then whoever started it is gone.
async fn report_again_and_again(drainer: &Drainer) -> Result<()> {
    let mut tick = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tick.tick().await;
        // Without Redis there is no status, and nothing is drained either.
        if let Ok(status) = drainer.status().await {
            let line = serde_json::to_string(&Drained::from(status))?;
            writeln!(std::io::stdout(), "{line}").context("nobody listens to this drainer")?;
        }
    }
}
