//! What a drainer waits for before its first batch: that the start-up checks pass.

use tokio::sync::watch;

use super::backoff::Backoff;
use super::context::Context;
use super::progress::{Place, Progress};
use super::worker::{Request, report};
use crate::checks;
use crate::stores::Stores;

/// Waits, loudly, until the models pass their checks; answers whether they have, or the drainer
/// was asked to stop before.
pub(super) async fn wait_until_checked(
    stores: &Stores,
    context: &Context,
    progress: &Progress,
    mut requests: watch::Receiver<Request>,
) -> bool {
    let mut backoff = Backoff::new(&stores.settings.drain);
    // A handle that was dropped asks for nothing any more.
    while !requests.borrow().stop && requests.has_changed().is_ok() {
        let Err(error) = checks::check_models(stores, &context.models).await else {
            progress.succeeded(Place::Checks);
            return true;
        };
        let wait = backoff.failed();
        let error = report(&error);
        tracing::error!(error, ?wait, "nothing is drained until the start-up checks pass");
        progress.failed(Place::Checks, error);
        let _ = tokio::time::timeout(wait, requests.changed()).await;
    }
    false
}
