//! What callers take: the storage with a page limit and a cache in front of it.

mod cache;
mod read;
mod write;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use self::cache::EntityCache;
use crate::models::{Bsp, Bucket, File, Msp};
use crate::page::Page;
use crate::storage::WriteStorage;

/// What a [`DBClient`] adds to the storage behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSettings {
    /// How many rows an answer has at most, where its [`Page`] leaves that open.
    pub page_limit: NonZeroU64,
    /// How long a row is kept. So long may be old what another process has changed.
    pub cache_ttl: Duration,
    /// How many rows of each kind are kept.
    pub cache_rows: u64,
}

impl Default for ClientSettings {
    fn default() -> Self {
        let page_limit = NonZeroU64::new(100).unwrap_or(NonZeroU64::MIN);
        Self { page_limit, cache_ttl: Duration::from_secs(30), cache_rows: 10_000 }
    }
}

/// The storage, whichever it is: with a limit for answers that name none, and with the rows that
/// were read by their id kept for a while. What is written through it is read at once.
pub struct DBClient {
    storage: Arc<dyn WriteStorage>,
    page_limit: NonZeroU64,
    bsps: EntityCache<Bsp>,
    msps: EntityCache<Msp>,
    buckets: EntityCache<Bucket>,
    files: EntityCache<File>,
}

impl DBClient {
    /// In front of this storage.
    pub fn new(storage: Arc<dyn WriteStorage>, settings: ClientSettings) -> Self {
        Self {
            storage,
            page_limit: settings.page_limit,
            bsps: EntityCache::new(settings),
            msps: EntityCache::new(settings),
            buckets: EntityCache::new(settings),
            files: EntityCache::new(settings),
        }
    }

    fn limited(&self, page: Page) -> Page {
        Page { limit: page.limit.or(Some(self.page_limit.get())), ..page }
    }
}
