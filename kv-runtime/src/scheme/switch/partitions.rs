//! Changes the number of a queue's partitions, while it is used.
//!
//! The queue gets partitions with numbers that it never had (`key/layout.rs`), and the old ones take
//! nothing any more, for good. So there is no moment at which a key of a row, a stream or a lease
//! could mean two things, and who slept with the old partitions is told by whatever it comes to: by
//! Redis, where their state says so, or by PostgreSQL, where their offset rows do, whose epoch is
//! raised as well.
//!
//! It goes like a switch, and is one: old and new partitions are closed; what is on the old ones is
//! drained; the rows are dropped, so that they come back from PostgreSQL to where they belong; one
//! transaction ends the offset rows of the old partitions, and puts in those of the new ones, behind
//! all positions of the old, so that entries and versions go on upwards; then the old partitions are
//! marked and the new ones opened. Until the transaction, the queue can go on as it was; from then
//! on the change can only be finished, by another one to the same number.
//!
//! Rows that Redis alone has are put into the new partitions before the transaction, and dropped from
//! the old ones after it.

use super::{MOVED_AT_ONCE, Switch, SwitchError};
use crate::durable_store::Outcome;
use crate::entry::EntryId;
use crate::failpoint;
use crate::hot_store::{Load, ReadOutcome};
use crate::key::{Layout, MAX_PARTITIONS, Partition, RowKey};
use crate::kv::Kv;
use crate::model::{KvModel, ModelDescriptor};
use crate::scheme::StorageScheme;
use crate::unique::value_keys_of;

impl Kv {
    /// How many partitions the queue of a model has, as PostgreSQL has it.
    ///
    /// # Errors
    /// [`SwitchError::Redis`] or [`SwitchError::PostgreSql`].
    pub async fn partitions<M: KvModel>(&self) -> Result<u16, SwitchError> {
        let queue = M::DESCRIPTOR.queue;
        self.stores().scheme(M::DESCRIPTOR).await?;
        self.stores().learn_layouts_for_sure(queue).await?;
        Ok(self.stores().keys.layout(queue).count)
    }

    /// Gives the queue of a model, with all models on it, another number of partitions, while
    /// everything goes on: from 1 to 1,024.
    ///
    /// Nothing is lost, done twice or done in another order. Writes wait until what is on the queue is
    /// drained and the rows are dropped from Redis, which reads through all of its keys; reads go on,
    /// of PostgreSQL. All models of the queue have to be known to this process: make their
    /// repositories or their drainer first. A drainer has to be at work, here or elsewhere; give
    /// [`Settings::switch_timeout`](crate::Settings::switch_timeout) the time that it takes.
    ///
    /// The number is remembered in PostgreSQL (`kv_offsets`), and the other processes learn of it by
    /// themselves. [`Settings::partitions`](crate::Settings::partitions) is what a queue begins with:
    /// where it was changed since, the setting means nothing any more.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let kv = Kv::memory();
    /// let bookings = kv.repository::<Booking>();
    /// let drainer = kv.drainer().model::<Booking>().spawn();
    /// bookings.create(&Booking { id: 7, status: "new".into() }).await?;
    /// kv.change_partitions::<Booking>(128).await?;
    /// bookings.update(&7, Booking::patch().status("done")).await?;
    /// assert_eq!(bookings.get_by_id(&7).await?.status, "done");
    /// assert_eq!(kv.partitions::<Booking>().await?, 128);
    /// # drainer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SwitchError`]; the queue then goes on with the partitions that it had, or, where a server
    /// does not answer, waits for the change to be finished.
    ///
    /// # Panics
    /// If another model has the same key prefix.
    #[doc(alias = "repartition")]
    pub async fn change_partitions<M: KvModel>(&self, count: u16) -> Result<(), SwitchError> {
        let model = M::DESCRIPTOR;
        if !(1..=MAX_PARTITIONS).contains(&count) {
            return Err(SwitchError::Partitions { queue: model.queue, count });
        }
        if self.stores().settings.is_without_redis() {
            return Err(SwitchError::NoRedis);
        }
        self.stores().know(model);
        self.stores().scheme(model).await?;
        let _alone = self.stores().durable.exclude(model.queue).await?;
        self.stores().learn_layouts_for_sure(model.queue).await?;
        Switch::new(self.stores(), model.queue).change_partitions(count).await
    }
}

impl Switch<'_> {
    async fn change_partitions(&self, count: u16) -> Result<(), SwitchError> {
        let scheme = self.first_offset().await?.scheme;
        self.finish_what_was_begun(scheme).await?;
        let from = self.stores.keys.layout(self.queue);
        if from.count != count {
            let none_left = SwitchError::Partitions { queue: self.queue, count };
            let to = from.next(count).ok_or(none_left)?;
            self.move_to(from, to, scheme).await?;
        } else if !self.is_closed().await? {
            return Ok(());
        }
        self.finish(scheme).await
    }

    /// Has PostgreSQL say that the queue has other partitions, after all is where it belongs then.
    async fn move_to(
        &self,
        from: Layout,
        to: Layout,
        scheme: StorageScheme,
    ) -> Result<(), SwitchError> {
        self.stores.keys.expect(self.queue, to);
        // The new ones first: what is in them before they are opened is this change's alone.
        self.close(to).await?;
        self.close(from).await?;
        failpoint::reach("after_close");
        if let Err(error) = self.empty_and_move(from, to, scheme).await {
            self.stores.learn_layouts_for_sure(self.queue).await?;
            if self.stores.keys.layout(self.queue) == from {
                self.stores.open(self.queue, scheme).await?;
            }
            return Err(error);
        }
        Ok(())
    }

    async fn close(&self, layout: Layout) -> Result<(), SwitchError> {
        let partitions: Vec<Partition> = layout.partitions(self.queue).collect();
        Ok(self.stores.hot.close(&partitions, &self.id).await?)
    }

    async fn empty_and_move(
        &self,
        from: Layout,
        to: Layout,
        scheme: StorageScheme,
    ) -> Result<(), SwitchError> {
        if !scheme.is_direct() {
            self.drain().await?;
        }
        failpoint::reach("after_drain");
        if scheme == StorageScheme::RedisOnly {
            // Another change may have been broken off here.
            self.drop_rows_of(to).await?;
            self.copy_rows(from, to).await?;
        } else {
            self.drop_rows_of(from).await?;
        }
        self.stores.durable.create_offsets(&self.partitions).await?;
        let mut transaction = self.stores.durable.begin(&self.partitions).await?;
        let changed = transaction.change_layout(to).await;
        changed.map_err(|error| self.unless_busy(error))?;
        failpoint::reach("before_change_layout");
        let committed = transaction.commit(Outcome::default()).await;
        self.stores.learn_layouts_for_sure(self.queue).await?;
        if self.stores.keys.layout(self.queue) != to {
            committed?;
        }
        failpoint::reach("after_change_layout");
        Ok(())
    }

    /// Ends a change that PostgreSQL knows of, and Redis does not.
    pub(super) async fn finish_what_was_begun(
        &self,
        scheme: StorageScheme,
    ) -> Result<(), SwitchError> {
        let layouts = self.stores.keys.layouts(self.queue);
        let marked = self.stores.hot.layouts(self.queue).await?;
        match layouts.len() > 1 && marked.last() != layouts.last() {
            true => self.finish(scheme).await,
            false => Ok(()),
        }
    }

    /// Ends a change: nothing is left in the old partitions, and the new ones are opened.
    async fn finish(&self, scheme: StorageScheme) -> Result<(), SwitchError> {
        let layouts = self.stores.keys.layouts(self.queue);
        if let Some((_, old)) = layouts.split_last()
            && let Some(&last) = old.last()
        {
            self.close(last).await?;
            self.drop_rows_of(last).await?;
            self.stores.hot.move_on(self.queue, &layouts).await?;
            failpoint::reach("after_move_on");
        }
        Ok(self.stores.open(self.queue, scheme).await?)
    }

    /// Leaves no row in the partitions of a layout, which this has closed.
    async fn drop_rows_of(&self, layout: Layout) -> Result<(), SwitchError> {
        for model in self.models() {
            for rows in self.rows_of(layout, model).await?.chunks(MOVED_AT_ONCE) {
                self.moved(self.stores.hot.drop_rows(rows, &self.id).await)?;
            }
        }
        failpoint::reach("after_drop_rows");
        Ok(())
    }

    /// The keys of all rows of a model in the partitions of a layout.
    async fn rows_of(
        &self,
        layout: Layout,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<RowKey>, SwitchError> {
        let found = self.stores.hot.scan(model, None).await?;
        let keys = &self.stores.keys;
        Ok(found.iter().filter_map(|key| keys.parse_row_of(layout, model, key)).collect())
    }

    /// Puts what Redis alone has into the new partitions as well.
    async fn copy_rows(&self, from: Layout, to: Layout) -> Result<(), SwitchError> {
        let offsets = self.stores.durable.offsets(&self.partitions).await?;
        let newest = offsets.iter().map(|offset| offset.position).max().unwrap_or_default();
        for model in self.models() {
            for rows in self.rows_of(from, model).await?.chunks(MOVED_AT_ONCE) {
                let found = self.stores.hot.read(rows).await?;
                let rows = rows.iter().zip(found);
                let copy = |(row, found)| self.copy(row, found, to, newest.next());
                let copies: Vec<Load> = rows.filter_map(copy).collect();
                self.moved(self.stores.hot.load(&copies, &self.id).await)?;
                failpoint::reach("after_load_batch");
            }
        }
        Ok(())
    }

    /// A row, or its tombstone, where it lies in a layout.
    fn copy(&self, row: &RowKey, found: ReadOutcome, to: Layout, entry: EntryId) -> Option<Load> {
        let keys = &self.stores.keys;
        let key = keys.row_of(to, row.model, row.id_values.clone());
        let row = match found {
            ReadOutcome::Row(row) => Some(row),
            ReadOutcome::Deleted => None,
            ReadOutcome::Missing { .. } => return None,
        };
        let values = row.as_ref().map(|row| value_keys_of(keys, to, key.model, row));
        Some(Load { key, row, entry, value_keys: values.unwrap_or_default() })
    }
}
