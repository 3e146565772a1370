//! The pair of stores that a [`Kv`](crate::Kv) and all that is made from it share.

use std::sync::Arc;

use crate::durable_store::DurableStore;
use crate::hot_store::HotStore;
use crate::key::KeySpace;
use crate::settings::Settings;
use crate::settled::SettledWatch;

/// A hot and a durable side, and what they agree on.
#[derive(Debug)]
pub(crate) struct Stores {
    pub(crate) hot: Arc<dyn HotStore>,
    pub(crate) durable: Arc<dyn DurableStore>,
    pub(crate) keys: KeySpace,
    pub(crate) settings: Settings,
    /// What receipts wait for.
    pub(crate) settled: SettledWatch,
}
