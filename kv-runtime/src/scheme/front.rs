//! Reads and writes of rows, by the scheme of their queue: on the hot side, or past it.
//!
//! To the code in front of it, a row that is not in Redis for good is one that Redis misses.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::StorageScheme;
use super::direct;
use super::past::Past;
use super::turns::Turn;
use crate::durability::Durability;
use crate::durable_store::{DurableStoreError, Fetched};
use crate::hot_store::{
    HotStoreError, Invalidated, Observed, ReadOutcome, RowState, SchemeMark, Unit, UnitOutcome,
    ValueContent, ValueFill, Write, WriteOutcome,
};
use crate::key::{Partition, RowKey};
use crate::model::{IndexDescriptor, ModelDescriptor};
use crate::row::EncodedRow;
use crate::stores::Stores;

/// The pause before it is looked again whether a switch is over.
const PAUSE: Duration = Duration::from_millis(50);

type Written = Result<WriteOutcome, HotStoreError>;

impl Stores {
    /// Writes changes of rows of one model.
    pub(crate) async fn write(&self, writes: &[Arc<Write>]) -> Vec<Written> {
        let mut outcomes = self.write_once(writes).await;
        if outcomes.iter().any(is_elsewhere) {
            // Apart, because this rare case would make the future of every write larger.
            Box::pin(self.write_elsewhere(writes, &mut outcomes)).await;
        }
        writes.iter().for_each(|write| self.hot.notices().changed(&write.key.key));
        outcomes
    }

    async fn write_once(&self, writes: &[Arc<Write>]) -> Vec<Written> {
        let Some(first) = writes.first() else { return Vec::new() };
        match self.scheme(first.key.model).await {
            Ok(_) if !writes.iter().all(|write| self.keys.is_current(write.key.partition())) => {
                writes.iter().map(|_| Err(HotStoreError::Moved)).collect()
            }
            Ok(scheme) if scheme.is_direct() => Box::pin(self.write_directly(writes, scheme)).await,
            Ok(_) => self.hot.write(writes).await,
            Err(error) => writes.iter().map(|_| Err(error.repeat())).collect(),
        }
    }

    /// Tries writes again whose queue has another scheme by now, as long as a switch may take.
    async fn write_elsewhere(&self, writes: &[Arc<Write>], outcomes: &mut [Written]) {
        let ends = Instant::now() + self.settings.switch_timeout;
        loop {
            let places: Vec<usize> =
                (0..outcomes.len()).filter(|&at| is_elsewhere(&outcomes[at])).collect();
            let Some(&first) = places.first() else { return };
            // Where the queue has other partitions, the writes' callers are told so and go there.
            let learned = self.learn_anew(writes[first].key.model).await;
            if Instant::now() >= ends {
                return;
            }
            let again: Vec<_> = places.iter().map(|&at| Arc::clone(&writes[at])).collect();
            let done = match learned {
                Ok(()) => self.write_once(&again).await,
                Err(error) => again.iter().map(|_| Err(error.repeat())).collect(),
            };
            if done.iter().any(is_elsewhere) {
                tokio::time::sleep(PAUSE).await;
            }
            for (place, outcome) in places.into_iter().zip(done) {
                outcomes[place] = outcome;
            }
        }
    }

    async fn write_directly(&self, writes: &[Arc<Write>], scheme: StorageScheme) -> Vec<Written> {
        let mut turns: HashMap<Partition, Arc<Turn>> = HashMap::new();
        let add = |write: &Arc<Write>| {
            let partition = write.key.partition();
            let turn = turns.entry(partition).or_insert_with(|| self.turns.at(partition));
            turn.add(Arc::clone(write))
        };
        let waiting: Vec<_> = writes.iter().map(add).collect();
        for turn in turns.into_values() {
            self.past(scheme).serve(turn);
        }
        // Its task has panicked, or its runtime has ended.
        let is_unknown = |_| Err(HotStoreError::OutcomeUnknown("its task has ended".into()));
        let written = waiting.into_iter().map(async |done| done.await.unwrap_or_else(is_unknown));
        join_all(written).await
    }

    fn past(&self, scheme: StorageScheme) -> Past {
        let (hot, durable) = (Arc::clone(&self.hot), Arc::clone(&self.durable));
        Past { hot, durable, scheme }
    }

    /// Makes the changes of a unit of work: all of them, or none.
    pub(crate) async fn write_unit(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let outcome = self.write_unit_anywhere(unit).await;
        let changed = unit.rows.iter().filter(|row| row.change.is_some());
        changed.for_each(|row| self.hot.notices().changed(&row.key.key));
        outcome
    }

    async fn write_unit_anywhere(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let ends = Instant::now() + self.settings.switch_timeout;
        loop {
            let outcome = self.write_unit_once(unit).await;
            let Some(first) = unit.rows.first() else { return outcome };
            if !matches!(outcome, Err(HotStoreError::Elsewhere)) || Instant::now() >= ends {
                return outcome;
            }
            self.learn_anew(first.key.model).await?;
            if self.keys.is_current(unit.partition) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn write_unit_once(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let Some(first) = unit.rows.first() else { return Ok(UnitOutcome::Unchanged) };
        match self.scheme(first.key.model).await? {
            _ if !unit.rows.iter().all(|row| self.keys.is_current(row.key.partition())) => {
                Err(HotStoreError::Moved)
            }
            scheme if scheme.is_direct() => {
                let turn = self.turns.at(unit.partition);
                Box::pin(self.past(scheme).write_unit(turn, unit.clone())).await
            }
            _ => self.hot.write_unit(unit).await,
        }
    }

    /// Reads a row for a unit of work; where nothing is, `token` may be left in its place.
    pub(crate) async fn observe(
        &self,
        key: &RowKey,
        token: &str,
    ) -> Result<Observed, HotStoreError> {
        let scheme = self.scheme(key.model).await?;
        if scheme.is_direct() {
            return direct::observe(&*self.durable, key).await;
        }
        let key = std::slice::from_ref(key);
        match self.hot.observe(&self.current_keys(key)[0], token).await {
            Err(HotStoreError::Moved) => {
                let key = Box::pin(self.follow(&key[0])).await;
                self.hot.observe(&key, token).await
            }
            observed => observed,
        }
    }

    /// Reads rows of one model.
    pub(crate) async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let scheme = self.scheme(first.model).await?;
        let keys = &*self.current_keys(keys);
        match scheme {
            StorageScheme::PostgresOnly if self.is_postgres_only(keys).await? => {
                Ok(keys.iter().map(|_| ReadOutcome::Missing { token: None }).collect())
            }
            StorageScheme::CacheAside => match self.hot.read(keys).await {
                Err(error) if self.is_cache_aside(first.model).await? => {
                    tracing::debug!(%error, "rows are read past Redis");
                    Ok(keys.iter().map(|_| ReadOutcome::Missing { token: None }).collect())
                }
                read => read,
            },
            _ => self.hot.read(keys).await,
        }
    }

    /// Whether PostgreSQL still has all rows as they are, when Redis does not tell of a switch.
    async fn is_cache_aside(&self, model: &'static ModelDescriptor) -> Result<bool, HotStoreError> {
        let offsets = self.durable.offsets(&[self.any_partition(model.queue)]).await?;
        Ok(offsets.iter().all(|offset| offset.scheme == StorageScheme::CacheAside))
    }

    /// Whether the rows are still in PostgreSQL alone: who reads there after this misses nothing.
    async fn is_postgres_only(&self, keys: &[RowKey]) -> Result<bool, HotStoreError> {
        let partitions: HashSet<Partition> = keys.iter().map(RowKey::partition).collect();
        self.are_postgres_only(&partitions.into_iter().collect::<Vec<_>>()).await
    }

    /// Whether the partitions are written past, and the queue has them still. Where it has not, Redis
    /// tells who looks there.
    async fn are_postgres_only(&self, partitions: &[Partition]) -> Result<bool, HotStoreError> {
        let offsets = self.durable.offsets(partitions).await?;
        self.check_servers_of_all(&offsets)?;
        if self.settings.is_without_redis() {
            return Ok(true);
        }
        if offsets.iter().any(|offset| offset.is_moved) {
            return Ok(false);
        }
        let other = offsets.iter().find(|it| it.scheme != StorageScheme::PostgresOnly);
        if let Some(other) = other {
            self.schemes.set(other.partition.queue, other.scheme);
        }
        Ok(other.is_none())
    }

    /// Whether all rows of a model are in PostgreSQL, so that a query needs nothing beside it.
    pub(crate) async fn is_all_stored(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<bool, HotStoreError> {
        if !self.scheme(model).await?.is_direct() {
            return Ok(false);
        }
        let partitions: Vec<Partition> = self.keys.partitions_of(model.queue).collect();
        let offsets = self.durable.offsets(&partitions).await?;
        self.check_servers_of_all(&offsets)?;
        if self.settings.is_without_redis() {
            return Ok(true);
        }
        Ok(offsets.iter().all(|offset| offset.scheme.is_direct() && !offset.is_moved))
    }

    /// Reads rows again; where nothing is, a token is left if the row may be put there.
    pub(crate) async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let scheme = self.scheme(first.model).await?;
        let keys = &*self.current_keys(keys);
        if scheme == StorageScheme::PostgresOnly && self.is_postgres_only(keys).await? {
            return Ok(keys.iter().map(|_| ReadOutcome::Missing { token: None }).collect());
        }
        match self.hot.reserve(keys, token).await {
            Err(HotStoreError::Moved) => {
                Box::pin(self.learn_layouts(first.model.queue)).await;
                self.hot.reserve(&self.current_keys(keys), token).await
            }
            reserved => reserved,
        }
    }

    /// The same for rows that are to be written: waits while a switch keeps tokens from being left.
    pub(crate) async fn reserve_to_write(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let ends = Instant::now() + self.settings.switch_timeout;
        loop {
            let outcomes = self.reserve(keys, token).await?;
            let has_none = outcomes.contains(&ReadOutcome::Missing { token: None });
            if !has_none || self.scheme(first.model).await?.is_direct() || Instant::now() >= ends {
                return Ok(outcomes);
            }
            self.learn_anew(first.model).await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What is under the key of a unique value.
    pub(crate) async fn reserve_value(
        &self,
        model: &'static ModelDescriptor,
        index: &'static IndexDescriptor,
        values: &EncodedRow,
        token: &str,
    ) -> Result<ValueContent, HotStoreError> {
        match self.scheme(model).await? {
            StorageScheme::PostgresOnly => {
                let partitions: Vec<Partition> = self.keys.partitions_of(model.queue).collect();
                if self.are_postgres_only(&partitions).await? {
                    return Ok(ValueContent::default());
                }
            }
            StorageScheme::CacheAside => return Ok(ValueContent::default()),
            _ => {}
        }
        loop {
            let layout = self.keys.layout(model.queue);
            let key = [self.keys.value_key_of(layout, model, index, values)];
            // No script that is about a value knows of the partitions.
            let found = self.hot.reserve_values(&key, token);
            let (found, marked) = tokio::try_join!(found, self.hot.layouts(model.queue))?;
            if marked.last().is_none_or(|marked| marked.first <= layout.first) {
                return Ok(found.into_iter().next().unwrap_or_default());
            }
            self.keys.set_layouts(model.queue, &marked);
        }
    }

    /// Says whose a unique value is, where readers leave that in Redis.
    pub(crate) async fn fill_value(
        &self,
        fill: &ValueFill,
        ttl: Duration,
    ) -> Result<(), HotStoreError> {
        match self.schemes.get(fill.row.model.queue) {
            Some(scheme) if scheme.is_direct() => Ok(()),
            _ => self.hot.fill_value(fill, ttl).await,
        }
    }

    /// Reads rows of one model where they are durable.
    pub(crate) async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
        match self.is_redis_only(model).await? {
            true => Ok(keys.iter().map(|_| None).collect()),
            false => self.durable.fetch(model, keys).await,
        }
    }

    /// The row with these values by a unique index, where rows are durable.
    pub(crate) async fn find_by(
        &self,
        model: &'static ModelDescriptor,
        index: usize,
        values: &EncodedRow,
    ) -> Result<Option<EncodedRow>, DurableStoreError> {
        match self.is_redis_only(model).await? {
            true => Ok(None),
            false => self.durable.find_by(model, index, values).await,
        }
    }

    /// Whether a model's rows are in Redis alone, as far as it is known here.
    pub(crate) fn is_taken_for_redis_only(&self, model: &'static ModelDescriptor) -> bool {
        self.schemes.get(model.queue) == Some(StorageScheme::RedisOnly)
    }

    /// Whether PostgreSQL has none of a model's rows. If it has since a token was left in Redis, that is
    /// gone again.
    async fn is_redis_only(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<bool, DurableStoreError> {
        if !self.is_taken_for_redis_only(model) {
            return Ok(false);
        }
        let mark = self.hot.scheme(self.any_partition(model.queue)).await;
        if matches!(mark, Ok(SchemeMark::Of(StorageScheme::RedisOnly))) {
            return Ok(true);
        }
        let offsets = self.durable.offsets(&[self.any_partition(model.queue)]).await?;
        Ok(offsets.iter().all(|offset| offset.scheme == StorageScheme::RedisOnly))
    }

    /// Whether the rows of a queue whose scheme is taken to be another one are in Redis alone by now,
    /// so that PostgreSQL would answer what they were before.
    pub(crate) async fn is_in_redis_alone(&self, queue: &'static str) -> bool {
        let alone = SchemeMark::Of(StorageScheme::RedisOnly);
        self.has_schemes
            && self.hot.scheme(self.any_partition(queue)).await.is_ok_and(|mark| mark == alone)
    }

    /// How a row stands in Redis, where rows are there.
    pub(crate) async fn row_state(&self, key: &RowKey) -> Result<RowState, HotStoreError> {
        match self.scheme(key.model).await? {
            StorageScheme::PostgresOnly => Ok(RowState::Missing),
            _ => {
                self.look_at_layouts(key.model.queue).await;
                self.hot.row_state(&self.keys.renewed(key)).await
            }
        }
    }

    /// Removes a clean row from Redis, where PostgreSQL has it too.
    pub(crate) async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError> {
        match self.scheme(key.model).await? {
            StorageScheme::RedisOnly | StorageScheme::PostgresOnly => Ok(Invalidated::Clean),
            _ => {
                self.look_at_layouts(key.model.queue).await;
                let invalidated = self.hot.invalidate(&self.keys.renewed(key)).await;
                self.hot.notices().changed(&key.key);
                invalidated
            }
        }
    }

    /// Whether Redis knows a mode at all, where writes go there.
    pub(crate) async fn check_durability(
        &self,
        model: &'static ModelDescriptor,
        durability: Durability,
    ) -> Result<(), HotStoreError> {
        match self.scheme(model).await? {
            scheme if scheme.is_direct() => Ok(()),
            _ => self.hot.check_durability(durability).await,
        }
    }
}

fn is_elsewhere(outcome: &Written) -> bool {
    matches!(outcome, Err(HotStoreError::Elsewhere))
}
