//! What the caches of this process are told of rows that change.
//!
//! Whoever has changed a row tells it here, and need not know whether there is a cache. Without the
//! feature `cache` there is none, and nothing here does anything.

#[cfg(feature = "cache")]
use std::collections::HashMap;
#[cfg(feature = "cache")]
use std::sync::{Arc, PoisonError, RwLock, Weak};

#[cfg(feature = "cache")]
use tokio::sync::Notify;

#[cfg(feature = "cache")]
use crate::cache::Tier;

/// The caches of a pair and of its tenants. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices {
    #[cfg(feature = "cache")]
    inner: Arc<Inner>,
}

#[cfg(feature = "cache")]
#[derive(Debug, Default)]
struct Inner {
    /// By what the keys of their rows begin with.
    caches: RwLock<HashMap<Arc<str>, Vec<Weak<Tier>>>>,
    /// There is a new cache, or a connection was lost that tells of changes.
    news: Notify,
}

impl Notices {
    /// Tells that a row is, or may be, another one than it was.
    #[inline]
    pub(crate) fn changed(&self, key: &str) {
        #[cfg(feature = "cache")]
        self.of_key(key).iter().for_each(|cache| cache.changed(key));
        #[cfg(not(feature = "cache"))]
        let _ = key;
    }
}

#[cfg(feature = "cache")]
impl Notices {
    pub(crate) fn add(&self, prefix: String, cache: &Arc<Tier>) {
        let mut caches = self.inner.caches.write().unwrap_or_else(PoisonError::into_inner);
        let of_prefix = caches.entry(prefix.into()).or_default();
        of_prefix.retain(|cache| cache.strong_count() > 0);
        of_prefix.push(Arc::downgrade(cache));
        drop(caches);
        self.inner.news.notify_one();
    }

    /// The caches that may have the row of a key. What stands before its id has one `:`, at its end.
    fn of_key(&self, key: &str) -> Vec<Arc<Tier>> {
        let caches = self.inner.caches.read().unwrap_or_else(PoisonError::into_inner);
        match key.find(':').filter(|_| !caches.is_empty()) {
            Some(end) => {
                let of_prefix = caches.get(&key[..=end]);
                of_prefix.into_iter().flatten().filter_map(Weak::upgrade).collect()
            }
            None => Vec::new(),
        }
    }
}

/// For who tells of what other processes change.
#[cfg(all(feature = "cache", feature = "redis"))]
impl Notices {
    /// What the keys of the rows begin with that there are caches of.
    pub(crate) fn prefixes(&self) -> Vec<Arc<str>> {
        let mut caches = self.inner.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|_, of_prefix| {
            of_prefix.retain(|cache| cache.strong_count() > 0);
            !of_prefix.is_empty()
        });
        caches.keys().cloned().collect()
    }

    /// Tells that any row may be another one than it was.
    pub(crate) fn all_changed(&self) {
        let caches = self.inner.caches.read().unwrap_or_else(PoisonError::into_inner);
        let caches: Vec<_> = caches.values().flatten().filter_map(Weak::upgrade).collect();
        caches.iter().for_each(|cache| cache.all_changed());
    }

    /// The same of the rows whose keys begin with a prefix.
    pub(crate) fn all_changed_of(&self, prefix: &str) {
        self.of_key(prefix).iter().for_each(|cache| cache.all_changed());
    }

    /// Says whether what others change is told to the caches of a prefix.
    pub(crate) fn set_told(&self, prefix: &str, is_told: bool) {
        self.of_key(prefix).iter().for_each(|cache| cache.set_told(is_told));
    }

    /// Says that a connection was lost, by which not everything is told any more.
    pub(crate) fn lost(&self) {
        self.prefixes().iter().for_each(|prefix| self.set_told(prefix, false));
        self.all_changed();
        self.inner.news.notify_one();
    }

    /// Waits until there is a new cache or a connection was lost.
    pub(crate) async fn news(&self) {
        self.inner.news.notified().await;
    }
}
