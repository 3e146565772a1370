//! What a cache holds and is about to hold, without the model's type.
//!
//! # Why a notice is never too early
//!
//! Rows that are held and reads on their way are looked at and changed under one lock. A notice
//! removes the row, if it is held, and marks the read, if one is on its way. A read that ends finds its
//! mark under the same lock: without one it puts its row down, else it reads again. So whichever comes
//! first, what was read before a notice is not held after it; and a call that comes after a notice gets
//! what was read after it, because it waits for a read that is done again.
//!
//! A read that misses in Redis puts the row there, and is told of that as of any other change: this is
//! why it reads again instead of giving up. It does so a few times. The last time a notice takes the
//! read out of the list, so that nobody waits for it any more who comes later, and nothing holds it.
//!
//! What is not told is bounded by time: a row is as old as the moment before it was asked for.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use moka::sync::Cache;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::CacheSettings;
use super::stats::{CacheStats, Counters};
use crate::error::{Error, Operation, Server};
use crate::key::{RowKey, untagged};
use crate::model::FieldError;
use crate::row::EncodedRow;
use crate::rows::Rows;

/// How often a row is read until it was not changed meanwhile. A row that Redis did not have is told to
/// be changed twice: when the token is left, and when it is put in its place.
const READS_MAX: usize = 4;

/// What a row takes beside its fields and its key: its places in the cache's tables and queues.
const ENTRY_BYTES: usize = 256;

/// More than this moka does not take.
const TIME_TO_LIVE_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A row of the cache's model.
pub(crate) type AnyRow = Arc<dyn Any + Send + Sync>;

/// What a read of one row ends with, for all who wait for it.
type Answer = Result<Option<AnyRow>, Arc<Error>>;

type Waiting = Shared<oneshot::Receiver<Answer>>;

/// What is particular to a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowType {
    pub(crate) decode: fn(&EncodedRow) -> Result<AnyRow, FieldError>,
    /// The bytes of a decoded row, without what it has elsewhere.
    pub(crate) bytes: usize,
}

/// The rows of a model that this process holds.
pub(crate) struct Tier {
    rows: Rows,
    row_type: RowType,
    settings: CacheSettings,
    held: Cache<Arc<str>, Held>,
    /// Whoever changes `held` has this locked, but for what moka removes by itself.
    loads: Mutex<Loads>,
    /// Raised when all that is held becomes old.
    epoch: AtomicU64,
    is_told: AtomicBool,
    counters: Counters,
}

#[derive(Clone)]
struct Held {
    row: AnyRow,
    /// When it was asked for.
    since: Instant,
    epoch: u64,
    bytes: u32,
}

/// The reads on their way.
#[derive(Default)]
struct Loads {
    by_row: HashMap<Arc<str>, Load>,
    begun: u64,
}

struct Load {
    /// Which one it is of all that there were.
    number: u64,
    since: Instant,
    /// Whether the row has to be read again.
    is_changed: Arc<AtomicBool>,
    /// Whether it is not read again, whatever is told.
    is_last: bool,
    answer: Waiting,
}

/// The part that one row has in a read. Once it is dropped, nobody waits for the row any more.
struct Loading {
    tier: Arc<Tier>,
    name: Arc<str>,
    key: RowKey,
    number: u64,
    since: Instant,
    /// That of its [`Load`], also when another one has taken the place of this.
    is_changed: Arc<AtomicBool>,
    answer: Option<oneshot::Sender<Answer>>,
}

enum Found {
    Row(AnyRow),
    Waiting(Waiting),
    Missing(Box<Loading>, Waiting),
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tier {
    pub(crate) fn new(rows: Rows, row_type: RowType, settings: CacheSettings) -> Self {
        let held = Cache::builder()
            .max_capacity(settings.bytes_max)
            .weigher(|_, held: &Held| held.bytes)
            // What is older is not answered in any case; it only takes room.
            .time_to_live(settings.stale_for.min(TIME_TO_LIVE_MAX))
            .build();
        Self {
            rows,
            row_type,
            settings,
            held,
            loads: Mutex::default(),
            epoch: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The rows of some keys; what is not held is read together.
    pub(crate) async fn read(
        self: &Arc<Self>,
        at: Operation,
        keys: Vec<RowKey>,
    ) -> Result<Vec<Option<AnyRow>>, Error> {
        let mut rows = Vec::with_capacity(keys.len());
        let mut waiting = Vec::new();
        let mut loading = Vec::new();
        for (place, key) in keys.into_iter().enumerate() {
            let (row, answer) = match self.find(key) {
                Found::Row(row) => (Some(row), None),
                Found::Waiting(answer) => (None, Some(answer)),
                Found::Missing(missing, answer) => {
                    loading.push(*missing);
                    (None, Some(answer))
                }
            };
            rows.push(row);
            waiting.extend(answer.map(|answer| (place, answer)));
        }
        if !loading.is_empty() {
            // Whoever waits does not lose it with the caller who came first.
            tokio::spawn(Arc::clone(self).load(at, loading));
        }
        for (place, answer) in waiting {
            rows[place] = match answer.await {
                Ok(Ok(row)) => row,
                Ok(Err(error)) => return Err(error.repeat(at)),
                Err(_) => {
                    let source = "the task that read it has ended".into();
                    return Err(Error::Unavailable { at, server: Server::Redis, source });
                }
            };
        }
        Ok(rows)
    }

    /// The row, if it is held and not too old.
    pub(crate) fn hit(&self, key: &RowKey) -> Option<AnyRow> {
        let held = self.held.get(untagged(&key.key))?;
        let is_valid = held.epoch == self.epoch.load(Ordering::Acquire);
        let row = (is_valid && self.is_fresh(held.since)).then_some(held.row)?;
        self.counters.hits.add(1);
        Some(row)
    }

    fn find(self: &Arc<Self>, key: RowKey) -> Found {
        if let Some(row) = self.hit(&key) {
            return Found::Row(row);
        }
        let mut loads = self.lock();
        // It may have come since.
        if let Some(row) = self.hit(&key) {
            return Found::Row(row);
        }
        self.counters.misses.add(1);
        let name = untagged(&key.key);
        if let Some(load) = loads.by_row.get(name)
            && self.is_fresh(load.since)
        {
            return Found::Waiting(load.answer.clone());
        }
        self.counters.loads.add(1);
        let (sender, receiver) = oneshot::channel();
        let loading = Loading {
            tier: Arc::clone(self),
            name: name.into(),
            key,
            number: loads.begun,
            since: Instant::now(),
            is_changed: Arc::default(),
            answer: Some(sender),
        };
        let answer = receiver.shared();
        loads.add(&loading, answer.clone());
        Found::Missing(Box::new(loading), answer)
    }

    fn is_fresh(&self, since: Instant) -> bool {
        since.elapsed() < self.settings.stale_for
    }

    /// Reads rows, each until it was not changed meanwhile.
    async fn load(self: Arc<Self>, at: Operation, mut loading: Vec<Loading>) {
        for reads_left in (0..READS_MAX).rev() {
            loading.iter_mut().for_each(|loading| loading.begin(reads_left == 0));
            let keys = loading.iter().map(|loading| loading.key.clone()).collect();
            match self.rows.read(at, keys).await {
                Ok(rows) => {
                    let ended = loading.into_iter().zip(rows);
                    loading = ended.filter_map(|(loading, row)| loading.end(at, row)).collect();
                }
                Err(error) => {
                    self.counters.failures.add(loading.len() as u64);
                    let error = Arc::new(error);
                    return loading.iter_mut().for_each(|row| row.answer(Err(Arc::clone(&error))));
                }
            }
            if loading.is_empty() {
                return;
            }
        }
    }

    /// Another row may be under this key than there was.
    pub(crate) fn changed(&self, key: &str) {
        let name = untagged(key);
        let mut loads = self.lock();
        let is_loaded = match loads.by_row.get_mut(name) {
            Some(load) if load.is_last => loads.by_row.remove(name).is_some(),
            Some(load) => {
                load.is_changed.store(true, Ordering::Relaxed);
                true
            }
            None => false,
        };
        let is_held = self.held.remove(name).is_some();
        if is_held || is_loaded {
            self.counters.invalidations.add(1);
        }
    }

    /// The same of all keys.
    pub(crate) fn all_changed(&self) {
        let mut loads = self.lock();
        loads.by_row.retain(|_, load| !load.is_last);
        loads.by_row.values().for_each(|load| load.is_changed.store(true, Ordering::Relaxed));
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.held.invalidate_all();
        self.counters.resets.add(1);
    }

    pub(crate) fn set_told(&self, is_told: bool) {
        self.is_told.store(is_told, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> CacheStats {
        self.held.run_pending_tasks();
        let is_told = self.is_told.load(Ordering::Relaxed);
        self.counters.stats(self.held.entry_count(), self.held.weighted_size(), is_told)
    }

    /// What a row takes, as far as it is known: the texts of its values stand for what it has beside
    /// itself.
    fn bytes_of(&self, name: &str, row: &EncodedRow) -> u32 {
        let bytes = ENTRY_BYTES + name.len() + self.row_type.bytes + row.byte_len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Never held across an await, and nothing that is done under it can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loads {
    /// Whoever waits for another read of the row goes on to do so.
    fn add(&mut self, loading: &Loading, answer: Waiting) {
        self.begun += 1;
        let Loading { number, since, .. } = *loading;
        let is_changed = Arc::clone(&loading.is_changed);
        let load = Load { number, since, is_changed, is_last: false, answer };
        self.by_row.insert(Arc::clone(&loading.name), load);
    }

    fn of(&mut self, loading: &Loading) -> Option<&mut Load> {
        self.by_row.get_mut(&loading.name).filter(|load| load.number == loading.number)
    }
}

impl Loading {
    /// The row is about to be read.
    fn begin(&mut self, is_last: bool) {
        let mut loads = self.tier.lock();
        self.since = Instant::now();
        self.is_changed.store(false, Ordering::Relaxed);
        if let Some(load) = loads.of(self) {
            load.since = self.since;
            load.is_last = is_last;
        }
    }

    /// The row was read; `self`, if it has to be read again.
    fn end(mut self, at: Operation, row: Option<EncodedRow>) -> Option<Self> {
        let decoded = row.as_ref().map(self.tier.row_type.decode).transpose();
        let tier = Arc::clone(&self.tier);
        let mut loads = tier.lock();
        if self.is_changed.load(Ordering::Relaxed) {
            return Some(self);
        }
        if loads.of(&self).is_some() {
            if let (Some(encoded), Ok(Some(row))) = (&row, &decoded) {
                let held = Held {
                    row: Arc::clone(row),
                    since: self.since,
                    epoch: tier.epoch.load(Ordering::Acquire),
                    bytes: tier.bytes_of(&self.name, encoded),
                };
                tier.held.insert(Arc::clone(&self.name), held);
            }
            // Under the same lock, so that whoever does not find the read finds the row.
            loads.by_row.remove(&self.name);
        }
        drop(loads);
        if decoded.is_err() {
            tier.counters.failures.add(1);
        }
        self.answer(decoded.map_err(|error| Arc::new(Error::encoding(at, error))));
        None
    }

    fn answer(&mut self, answer: Answer) {
        self.give_up();
        if let Some(sender) = self.answer.take() {
            // Nobody may be left who waits.
            let _ = sender.send(answer);
        }
    }

    fn give_up(&self) {
        let mut loads = self.tier.lock();
        if loads.of(self).is_some() {
            loads.by_row.remove(&self.name);
        }
    }
}

/// Also where its task has panicked or its runtime has ended.
impl Drop for Loading {
    fn drop(&mut self) {
        self.give_up();
    }
}
