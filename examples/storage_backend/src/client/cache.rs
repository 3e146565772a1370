//! Rows that were read, kept for a while.

use std::sync::atomic::{AtomicU64, Ordering};

use moka::ops::compute::Op;
use moka::sync::Cache;

use super::ClientSettings;

/// The rows of one kind, by id.
pub(super) struct EntityCache<V> {
    rows: Cache<i64, V>,
    /// How many writes have ended. A row that was read while one did may be the one before it.
    writes: AtomicU64,
}

impl<V: Clone + Send + Sync + 'static> EntityCache<V> {
    pub(super) fn new(settings: ClientSettings) -> Self {
        let rows = Cache::builder()
            .time_to_live(settings.cache_ttl)
            .max_capacity(settings.cache_rows)
            .build();
        Self { rows, writes: AtomicU64::new(0) }
    }

    /// The row as it is kept; else as it is loaded, and then it is kept. An absent row is not
    /// remembered.
    pub(super) async fn get_or_load<E>(
        &self,
        id: i64,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(row);
        }
        let writes = self.writes.load(Ordering::SeqCst);
        let row = load.await?;
        // A write that ends after this look removes the row again, because moka has one of the two
        // wait for the other.
        self.rows.entry(id).and_compute_with(|_| {
            if self.writes.load(Ordering::SeqCst) == writes {
                Op::Put(row.clone())
            } else {
                Op::Nop
            }
        });
        Ok(row)
    }

    /// To be kept while the row is written: when it is dropped, the row is. So it is no matter
    /// whether the write succeeds, fails, or is given up in the middle.
    pub(super) fn written(&self, id: i64) -> Written<'_, V> {
        Written { cache: self, id }
    }
}

/// A row that is being written.
#[must_use = "the row is forgotten when this is dropped"]
pub(super) struct Written<'a, V: Clone + Send + Sync + 'static> {
    cache: &'a EntityCache<V>,
    id: i64,
}

impl<V: Clone + Send + Sync + 'static> Drop for Written<'_, V> {
    fn drop(&mut self) {
        self.cache.writes.fetch_add(1, Ordering::SeqCst);
        self.cache.rows.entry(self.id).and_compute_with(|_| Op::Remove);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn load(value: u32) -> Result<u32, Infallible> {
        Ok(value)
    }

    #[tokio::test]
    async fn what_was_read_during_a_write_is_not_kept() {
        let cache = EntityCache::<u32>::new(ClientSettings::default());
        let read = cache.get_or_load(7, async {
            let old = load(1).await;
            drop(cache.written(7));
            old
        });
        assert_eq!(read.await, Ok(1));
        assert_eq!(cache.get_or_load(7, load(2)).await, Ok(2), "the write's row");
        assert_eq!(cache.get_or_load(7, load(3)).await, Ok(2), "kept");
        drop(cache.written(7));
        assert_eq!(cache.get_or_load(7, load(4)).await, Ok(4));
    }
}
