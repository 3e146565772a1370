//! What a drainer waits for before its first batch: that the start-up checks pass.

use std::sync::Arc;

use tokio::sync::watch;

use super::backoff::Backoff;
use super::progress::Progress;
use super::worker::{Request, report};
use crate::checks;
use crate::model::ModelDescriptor;
use crate::stores::Stores;

/// In place of a worker's number: none of them has begun.
const CHECKING: usize = 0;

/// Waits, loudly, until the models pass their checks; answers whether they have, or the drainer
/// was asked to stop before.
pub(super) async fn wait_until_checked(
    stores: Arc<Stores>,
    models: Vec<&'static ModelDescriptor>,
    progress: Arc<Progress>,
    mut requests: watch::Receiver<Request>,
) -> bool {
    let mut backoff = Backoff::new(&stores.settings.drain);
    // A handle that was dropped asks for nothing any more.
    while !requests.borrow().stop && requests.has_changed().is_ok() {
        let Err(error) = checks::check_models(&stores, &models).await else {
            progress.succeeded(CHECKING);
            return true;
        };
        let wait = backoff.failed();
        let error = report(&error);
        tracing::error!(error, ?wait, "nothing is drained until the start-up checks pass");
        progress.failed(CHECKING, error);
        let _ = tokio::time::timeout(wait, requests.changed()).await;
    }
    false
}
