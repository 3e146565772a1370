//! What a cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// How a cache has done since it was made; answered by [`Cached::stats`](crate::Cached::stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Rows that were answered from this process.
    pub hits: u64,
    /// Rows that were not: they were read, or waited for with others who asked for the same.
    pub misses: u64,
    /// Rows that were begun to be read from Redis or PostgreSQL, each once however many waited.
    pub loads: u64,
    /// Of these, how many ended in an error.
    pub load_failures: u64,
    /// Notices of a change that were about a row that was here or being read.
    pub invalidations: u64,
    /// How often all rows were forgotten, because changes may have gone untold or Redis was emptied.
    /// The first time is when telling begins.
    pub resets: u64,
    /// Rows that are here.
    pub entries: u64,
    /// What they take, by the estimate that [`CacheSettings::bytes_max`] is about.
    ///
    /// [`CacheSettings::bytes_max`]: crate::CacheSettings::bytes_max
    pub bytes: u64,
    /// Whether the changes of other processes are told by Redis now, by each of its masters. Without
    /// it, rows are as old as [`CacheSettings::stale_for`] allows. In memory there are no others.
    ///
    /// [`CacheSettings::stale_for`]: crate::CacheSettings::stale_for
    pub is_told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) loads: Counter,
    pub(super) failures: Counter,
    pub(super) invalidations: Counter,
    pub(super) resets: Counter,
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) fn stats(&self, entries: u64, bytes: u64, is_told: bool) -> CacheStats {
        CacheStats {
            hits: self.hits.get(),
            misses: self.misses.get(),
            loads: self.loads.get(),
            load_failures: self.failures.get(),
            invalidations: self.invalidations.get(),
            resets: self.resets.get(),
            entries,
            bytes,
            is_told,
        }
    }
}
