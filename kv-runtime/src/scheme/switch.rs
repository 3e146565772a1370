//! Moves a queue from one storage scheme to another, while it is used.
//!
//! In PostgreSQL the scheme stands in the offset rows, where who writes past the queue looks under
//! their lock. In Redis the partitions are closed meanwhile: nothing can be appended to a closed
//! stream, and no reader can leave a token, so nothing is put where nobody looks for it. What is on
//! the queue is drained, rows that PostgreSQL has are dropped, and then the scheme is changed; on the
//! way to Redis alone all rows are loaded before (`load.rs`), on the way from there they are written
//! before (`move_out.rs`). Each step can be done again: a switch that was broken off is finished by the
//! next one to the same scheme. What a switch does with rows it does as the one that keeps their
//! partition closed, so that what it has sent before it lost patience comes too late.

mod load;
mod move_out;
mod partitions;

use std::time::Duration;

use tokio::time::Instant;

use super::StorageScheme;
use crate::durable_store::{DurableStoreError, Offset, Outcome};
use crate::error::Source;
use crate::failpoint;
use crate::hot_store::{HotStoreError, SchemeMark};
use crate::key::{Partition, RowKey};
use crate::kv::Kv;
use crate::model::{KvModel, ModelDescriptor};
use crate::rows::random_id;
use crate::stores::Stores;

/// The pause before it is looked again whether a queue is drained.
const PAUSE: Duration = Duration::from_millis(10);
/// How many rows are moved at once.
const MOVED_AT_ONCE: usize = 500;
/// A model, and keys of its rows.
type KeysOfModel = (&'static ModelDescriptor, Vec<RowKey>);

/// Why a storage scheme, or the number of a queue's partitions, was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The queue was not drained in time; it goes on as it was.
    #[error(
        "queue `{queue}` still has {undrained} undrained entries after {waited:?}; is a drainer of \
         all its models running? (`Settings::switch_timeout` is how long a switch waits)"
    )]
    NotDrained {
        /// The queue.
        queue: &'static str,
        /// How many entries are left.
        undrained: u64,
        /// How long it was waited.
        waited: Duration,
    },
    /// Rows have dead letters, so that Redis has them otherwise than PostgreSQL.
    #[error(
        "queue `{queue}` has {letters} dead letters; replay or discard them first \
         (`kv.dead_letters()`)"
    )]
    Held {
        /// The queue.
        queue: &'static str,
        /// How many there are.
        letters: i64,
    },
    /// PostgreSQL refuses a row that only Redis has; all of them stay there.
    #[error("PostgreSQL refuses a row of model `{model}`: {message}")]
    Refused {
        /// The model's name.
        model: &'static str,
        /// What PostgreSQL said.
        message: String,
    },
    /// Another switch was faster.
    #[error("queue `{queue}` is being switched by somebody else; try again")]
    Busy {
        /// The queue.
        queue: &'static str,
    },
    /// A queue cannot have so many partitions, or was changed so often that there are no more numbers
    /// for them.
    #[error("queue `{queue}` cannot have {count} partitions; it can have 1 to 1024")]
    Partitions {
        /// The queue.
        queue: &'static str,
        /// How many it should have.
        count: u16,
    },
    /// The pair is PostgreSQL alone, and knows neither another scheme nor partitions.
    #[error("the settings name no Redis, which this takes; name it in `redis.url`")]
    NoRedis,
    /// Redis does not answer. Nothing is lost; make the same switch again to finish.
    #[error("Redis does not answer; make the same switch again to finish what was begun")]
    Redis(#[source] Source),
    /// PostgreSQL does not answer. Nothing is lost; make the same switch again to finish.
    #[error("PostgreSQL does not answer; make the same switch again to finish what was begun")]
    PostgreSql(#[source] Source),
}

impl From<HotStoreError> for SwitchError {
    fn from(error: HotStoreError) -> Self {
        match error {
            HotStoreError::Durable(error) => error.into(),
            error => Self::Redis(error.into_source()),
        }
    }
}

impl From<DurableStoreError> for SwitchError {
    fn from(error: DurableStoreError) -> Self {
        Self::PostgreSql(error.into_source())
    }
}

impl Kv {
    /// The storage scheme of a model, as PostgreSQL has it.
    ///
    /// # Errors
    /// [`SwitchError::Redis`] or [`SwitchError::PostgreSql`].
    ///
    /// # Panics
    /// If another model has the same key prefix.
    pub async fn scheme<M: KvModel>(&self) -> Result<StorageScheme, SwitchError> {
        let model = M::DESCRIPTOR;
        let stores = self.stores();
        stores.know(model);
        // A model that is declared otherwise begins so.
        let known = stores.scheme(model).await?;
        let offsets = stores.durable.offsets(&[stores.any_partition(model.queue)]).await?;
        let stored = offsets.first().filter(|offset| offset.is_stored());
        Ok(stored.map_or(known, |offset| offset.scheme))
    }

    /// Moves the queue of a model, with all models on it, to another storage scheme, while
    /// everything goes on: the soft kill of Redis for a model, and the way back.
    ///
    /// Nothing is lost, and nobody reads what is outdated. Between Redis and PostgreSQL as the place
    /// of writes, these wait until what is on the queue is drained and the rows are dropped from
    /// Redis, which reads through all of its keys; reads go on. All models of the queue have to be
    /// known to this process: make their repositories or their drainer first.
    ///
    /// To `RedisOnly`, writes wait also until all rows that PostgreSQL has are in Redis, in batches and
    /// so in little memory of this process; that they have to fit into Redis' own, the caller knows
    /// best. Give [`Settings::switch_timeout`](crate::Settings::switch_timeout) the time that it
    /// takes. PostgreSQL keeps the rows as they were, and is not asked for them any more, until a
    /// switch back writes what has changed since, deletions included.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel, StorageScheme};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let kv = Kv::memory();
    /// let bookings = kv.repository::<Booking>();
    /// let drainer = kv.drainer().model::<Booking>().spawn();
    /// bookings.create(&Booking { id: 7, status: "new".into() }).await?;
    /// kv.switch_scheme::<Booking>(StorageScheme::PostgresOnly).await?;
    /// assert_eq!(kv.durable_rows::<Booking>().await?.len(), 1);
    /// bookings.update(&7, Booking::patch().status("done")).await?;
    /// assert_eq!(bookings.get_by_id(&7).await?.status, "done");
    /// kv.switch_scheme::<Booking>(StorageScheme::WriteBehind).await?;
    /// # drainer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SwitchError`]; the queue then goes on under the scheme that it had, or, where a server does
    /// not answer, waits for the switch to be finished.
    ///
    /// # Panics
    /// If another model has the same key prefix.
    #[doc(alias = "soft_kill")]
    pub async fn switch_scheme<M: KvModel>(&self, to: StorageScheme) -> Result<(), SwitchError> {
        let model = M::DESCRIPTOR;
        if !self.stores().can_have(to) {
            return Err(SwitchError::NoRedis);
        }
        self.stores().know(model);
        // One that is declared otherwise begins so.
        self.stores().scheme(model).await?;
        let _alone = self.stores().durable.exclude(model.queue).await?;
        self.stores().learn_layouts_for_sure(model.queue).await?;
        Switch::new(self.stores(), model.queue).make(to).await
    }
}

impl Stores {
    /// Begins with the scheme that a model is declared to have; with the one that is there, if there
    /// is one.
    pub(super) async fn begin_with(
        &self,
        model: &'static ModelDescriptor,
        declared: StorageScheme,
    ) -> Result<StorageScheme, HotStoreError> {
        let _alone = self.durable.exclude(model.queue).await?;
        self.learn_layouts_for_sure(model.queue).await?;
        match Switch::new(self, model.queue).begin(declared).await {
            Ok(scheme) => Ok(scheme),
            Err(SwitchError::Redis(source)) => Err(HotStoreError::Unavailable(source)),
            Err(SwitchError::PostgreSql(source)) => {
                Err(HotStoreError::Durable(DurableStoreError::Unavailable(source)))
            }
            Err(error) => Err(HotStoreError::Configuration(Box::new(error))),
        }
    }
}

/// A queue on its way to another scheme, or to other partitions; nobody else has it on another way.
struct Switch<'a> {
    stores: &'a Stores,
    queue: &'static str,
    /// As they are when it begins.
    partitions: Vec<Partition>,
    /// Random: what it is told by from others before and after it.
    id: String,
}

impl<'a> Switch<'a> {
    fn new(stores: &'a Stores, queue: &'static str) -> Self {
        let partitions = stores.keys.partitions_of(queue).collect();
        Self { stores, queue, partitions, id: random_id() }
    }

    /// Makes the switch.
    async fn make(&self, to: StorageScheme) -> Result<(), SwitchError> {
        let from = self.first_offset().await?.scheme;
        self.finish_what_was_begun(from).await?;
        let moves_rows = from != to && [from, to].into_iter().any(holds_rows_alone);
        // Otherwise rows and entries stay where they are, unless a switch that was broken off has
        // put some elsewhere.
        let moves_rows = moves_rows || self.is_closed().await?;
        self.go(from, to, moves_rows).await
    }

    /// Makes the switch to the scheme that a queue begins with; or finds out which one it has.
    async fn begin(&self, declared: StorageScheme) -> Result<StorageScheme, SwitchError> {
        let first = self.first_offset().await?;
        if first.is_stored() {
            return Ok(first.scheme);
        }
        // What begins in Redis alone need not have a table.
        self.go(first.scheme, declared, declared.is_direct()).await?;
        Ok(declared)
    }

    async fn first_offset(&self) -> Result<Offset, SwitchError> {
        let first = self.stores.any_partition(self.queue);
        let offsets = self.stores.durable.offsets(&[first]).await?;
        Ok(offsets.into_iter().next().unwrap_or_else(|| Offset::start(first)))
    }

    /// Whether a switch has closed a partition and not opened it.
    async fn is_closed(&self) -> Result<bool, SwitchError> {
        for &partition in &self.partitions {
            if self.stores.hot.scheme(partition).await? == SchemeMark::Closed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn go(
        &self,
        from: StorageScheme,
        to: StorageScheme,
        moves_rows: bool,
    ) -> Result<(), SwitchError> {
        if moves_rows {
            self.stores.hot.close(&self.partitions, &self.id).await?;
            failpoint::reach("after_close");
        }
        if let Err(error) = self.change(from, to, moves_rows).await {
            // Where the scheme is another one by now, the rest is yet to be done; where another
            // switch is at it, what is closed is so by that.
            let is_busy = matches!(error, SwitchError::Busy { .. });
            if !is_busy && self.scheme_for_sure().await? == from {
                self.stores.open(self.queue, from).await?;
            }
            return Err(error);
        }
        self.stores.open(self.queue, to).await?;
        self.stores.schemes.set(self.queue, to);
        Ok(())
    }

    /// Has everything where it belongs, and the new scheme where it holds.
    async fn change(
        &self,
        from: StorageScheme,
        to: StorageScheme,
        moves_rows: bool,
    ) -> Result<(), SwitchError> {
        if !moves_rows {
            return if from == to { Ok(()) } else { self.set_scheme(from, to).await };
        }
        if from == to && to == StorageScheme::RedisOnly {
            // Nobody else has the rows.
            return Ok(());
        }
        if !from.is_direct() {
            self.drain().await?;
        }
        if from == StorageScheme::RedisOnly {
            self.move_out(to).await?;
            // After it: until then nobody else has them.
            return self.drop_rows().await;
        }
        // Before the scheme: who still goes by the old one finds nothing that is outdated.
        self.drop_rows().await?;
        if from == to {
            return Ok(());
        }
        if to == StorageScheme::RedisOnly {
            return self.load(from).await;
        }
        self.set_scheme(from, to).await
    }

    async fn set_scheme(&self, from: StorageScheme, to: StorageScheme) -> Result<(), SwitchError> {
        self.stores.durable.create_offsets(&self.partitions).await?;
        let mut transaction = self.stores.durable.begin(&self.partitions).await?;
        let set = transaction.set_scheme(from, to).await;
        set.map_err(|error| self.unless_busy(error))?;
        transaction.commit(Outcome::default()).await?;
        failpoint::reach("after_set_scheme");
        Ok(())
    }

    /// The scheme in PostgreSQL, after any commit that may still be under way.
    async fn scheme_for_sure(&self) -> Result<StorageScheme, SwitchError> {
        let transaction = self.stores.durable.begin(&self.partitions).await?;
        let first = transaction.offsets().first();
        Ok(first.map_or_else(StorageScheme::default, |offset| offset.scheme))
    }

    fn unless_busy(&self, error: DurableStoreError) -> SwitchError {
        match error {
            DurableStoreError::OffsetMoved => SwitchError::Busy { queue: self.queue },
            error => error.into(),
        }
    }

    /// What Redis says of rows that only this switch may move.
    fn moved(&self, moved: Result<(), HotStoreError>) -> Result<(), SwitchError> {
        moved.map_err(|error| match error {
            HotStoreError::Elsewhere => SwitchError::Busy { queue: self.queue },
            error => error.into(),
        })
    }

    /// Leaves no row in Redis.
    async fn drop_rows(&self) -> Result<(), SwitchError> {
        for (_, keys) in self.scan().await? {
            for keys in keys.chunks(MOVED_AT_ONCE) {
                self.moved(self.stores.hot.drop_rows(keys, &self.id).await)?;
            }
        }
        failpoint::reach("after_drop_rows");
        Ok(())
    }

    /// The keys of all rows in Redis.
    async fn scan(&self) -> Result<Vec<KeysOfModel>, SwitchError> {
        let mut found = Vec::new();
        for model in self.models() {
            let keys = self.stores.hot.scan(model, None).await?;
            let keys = keys.iter().filter_map(|key| self.stores.keys.parse_row(model, key));
            found.push((model, keys.collect()));
        }
        Ok(found)
    }

    fn models(&self) -> impl Iterator<Item = &'static ModelDescriptor> {
        self.stores.models().into_iter().filter(|model| model.queue == self.queue)
    }

    /// Waits until all that is on the queue is drained.
    async fn drain(&self) -> Result<(), SwitchError> {
        let began = Instant::now();
        loop {
            let states = self.stores.hot.states(&self.partitions).await?;
            let offsets = self.stores.durable.offsets(&self.partitions).await?;
            let undrained: u64 = states.iter().map(|state| state.undrained).sum();
            let mut pairs = states.iter().zip(&offsets);
            if undrained == 0 && pairs.all(|(state, offset)| state.newest <= offset.position) {
                let letters = offsets.iter().map(|offset| offset.held).sum();
                let held = SwitchError::Held { queue: self.queue, letters };
                return if letters == 0 { Ok(()) } else { Err(held) };
            }
            let waited = began.elapsed();
            if waited >= self.stores.settings.switch_timeout {
                return Err(SwitchError::NotDrained { queue: self.queue, undrained, waited });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether one of the two sides has all rows alone, or has each before the other.
fn holds_rows_alone(scheme: StorageScheme) -> bool {
    scheme == StorageScheme::RedisOnly || scheme.is_direct()
}
