//! Which scheme a queue has: what Redis says of it, what PostgreSQL says, and what a model declares.

use std::time::Duration;

use super::StorageScheme;
use crate::durable_store::Offset;
use crate::failpoint;
use crate::hot_store::{HotStoreError, SchemeMark};
use crate::key::Partition;
use crate::model::ModelDescriptor;
use crate::stores::Stores;

/// How long PostgreSQL has to tell a scheme that Redis may know as well.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// The pair is PostgreSQL alone.
#[derive(Debug, thiserror::Error)]
enum NoRedis {
    #[error(
        "queue `{queue}` has the scheme `{scheme}`, and the settings name no Redis; name it in \
         `redis.url`, and `Kv::switch_scheme` can make it `postgres_only`"
    )]
    Scheme { queue: &'static str, scheme: StorageScheme },
    #[error(
        "queue `{queue}` was given other partitions, which only Redis tells, and the settings name \
         none; name it in `redis.url`"
    )]
    Partitions { queue: &'static str },
}

impl From<NoRedis> for HotStoreError {
    fn from(error: NoRedis) -> Self {
        Self::Configuration(Box::new(error))
    }
}

impl Stores {
    /// The scheme of a model's queue, as far as it is known here.
    pub(crate) async fn scheme(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<StorageScheme, HotStoreError> {
        if !self.has_schemes {
            return Ok(StorageScheme::WriteBehind);
        }
        let scheme = match self.schemes.get(model.queue) {
            Some(_) if self.schemes.must_look(model.queue) => self.look_again(model.queue).await?,
            Some(scheme) => scheme,
            None => self.learn(model).await?,
        };
        self.check_servers_of(model.queue, scheme)?;
        Ok(scheme)
    }

    /// Without a Redis, only what is PostgreSQL's alone can be read or written: of another queue
    /// PostgreSQL may have rows as they were, and this process has nothing to lay over them.
    fn check_servers_of(
        &self,
        queue: &'static str,
        scheme: StorageScheme,
    ) -> Result<(), HotStoreError> {
        match self.can_have(scheme) {
            true => Ok(()),
            false => Err(NoRedis::Scheme { queue, scheme }.into()),
        }
    }

    /// The same, as the offset rows have it. What is not written down yet is what it is declared to be.
    pub(super) fn check_servers_of_all(&self, offsets: &[Offset]) -> Result<(), HotStoreError> {
        if !self.settings.is_without_redis() {
            return Ok(());
        }
        for offset in offsets.iter().filter(|offset| offset.is_stored()) {
            let queue = offset.partition.queue;
            if offset.is_moved {
                return Err(NoRedis::Partitions { queue }.into());
            }
            self.check_servers_of(queue, offset.scheme)?;
        }
        Ok(())
    }

    /// Whether there are the servers that a scheme takes.
    pub(super) fn can_have(&self, scheme: StorageScheme) -> bool {
        scheme == StorageScheme::PostgresOnly || !self.settings.is_without_redis()
    }

    /// Whether writes of a queue wait until they are drained.
    pub(crate) fn waits_for_drain(&self, queue: &str) -> bool {
        self.schemes.get(queue) == Some(StorageScheme::WriteThrough)
    }

    /// Asks for the scheme for the first time.
    async fn learn(&self, model: &'static ModelDescriptor) -> Result<StorageScheme, HotStoreError> {
        let declared = model.scheme.unwrap_or(self.settings.scheme);
        // First: they say where to ask.
        self.learn_layouts(model.queue).await;
        let (mark, offset) =
            tokio::join!(self.hot.scheme(self.any_partition(model.queue)), self.ask(model.queue));
        let scheme = match (mark, offset) {
            (mark, Some(offset)) if offset.is_stored() => {
                let mark = mark.unwrap_or(SchemeMark::Closed);
                self.mark_again(model.queue, offset.scheme, mark).await;
                offset.scheme
            }
            (Ok(_), Some(_))
                if declared != StorageScheme::WriteBehind && self.can_have(declared) =>
            {
                self.begin_with(model, declared).await?
            }
            // PostgreSQL does not answer, or knows of nothing.
            (Ok(SchemeMark::Of(scheme)), _) => scheme,
            (Ok(SchemeMark::None | SchemeMark::Closed | SchemeMark::Moved), _) => declared,
            (Err(_), _) if declared.is_direct() => declared,
            (Err(error), _) => return Err(error),
        };
        self.schemes.set(model.queue, scheme);
        Ok(scheme)
    }

    /// Looks whether the scheme is another one by now; without an answer it is taken to be the same.
    async fn look_again(&self, queue: &'static str) -> Result<StorageScheme, HotStoreError> {
        let known = self.schemes.get(queue).unwrap_or_default();
        let first = self.any_partition(queue);
        let (mark, ()) = tokio::join!(self.hot.scheme(first), self.look_at_layouts(queue));
        let Ok(mark) = mark else { return Ok(known) };
        if first != self.any_partition(queue) {
            // It is looked at again before long.
            return Ok(known);
        }
        let is_default = known == StorageScheme::WriteBehind;
        if mark == SchemeMark::Of(known) || (mark == SchemeMark::None && is_default) {
            return Ok(known);
        }
        // Redis may have gone back in time: PostgreSQL decides.
        let Some(offset) = self.ask(queue).await.filter(Offset::is_stored) else {
            return Ok(known);
        };
        self.mark_again(queue, offset.scheme, mark).await;
        self.schemes.set(queue, offset.scheme);
        Ok(offset.scheme)
    }

    /// The offset of a queue's first partition, if PostgreSQL answers soon.
    async fn ask(&self, queue: &'static str) -> Option<Offset> {
        let partitions = [self.any_partition(queue)];
        let offsets = tokio::time::timeout(PATIENCE, self.durable.offsets(&partitions)).await;
        offsets.ok()?.ok()?.into_iter().next()
    }

    /// Tells Redis again what it has forgotten of a queue's scheme, as far as it can be told.
    async fn mark_again(&self, queue: &'static str, scheme: StorageScheme, mark: SchemeMark) {
        if is_told(scheme, mark) {
            return;
        }
        if let Err(error) = self.mark_alone(queue).await {
            tracing::warn!(queue, %scheme, %error, "Redis is not told of the storage scheme yet");
        }
    }

    /// The same while nobody switches the queue: else what was switched meanwhile would be undone.
    async fn mark_alone(&self, queue: &'static str) -> Result<(), HotStoreError> {
        let _alone = self.durable.exclude(queue).await?;
        let first = self.any_partition(queue);
        let (mark, offsets) = tokio::try_join!(self.hot.scheme(first), async {
            Ok(self.durable.offsets(&[first]).await?)
        })?;
        match offsets.first() {
            Some(offset) if !is_told(offset.scheme, mark) => self.open(queue, offset.scheme).await,
            _ => Ok(()),
        }
    }

    /// Lets Redis say which scheme a queue has, and take entries or none. The first partition comes
    /// first: by it, who asks tells whether any is open under it.
    pub(super) async fn open(
        &self,
        queue: &'static str,
        scheme: StorageScheme,
    ) -> Result<(), HotStoreError> {
        let partitions: Vec<Partition> = self.keys.partitions_of(queue).collect();
        for Offset { partition, position, nonce, .. } in self.durable.offsets(&partitions).await? {
            // Without a nonce it is a place that writes past the queue have come to.
            let from = nonce.is_empty().then_some(position);
            self.hot.open(partition, scheme, from).await?;
            failpoint::reach("after_open");
        }
        Ok(())
    }

    /// Finds out the scheme and the partitions as PostgreSQL has them, which is what holds.
    pub(super) async fn learn_anew(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<(), HotStoreError> {
        let mut offsets = self.durable.offsets(&[self.any_partition(model.queue)]).await?;
        if !offsets.iter().all(|offset| offset.is_stored() && !offset.is_moved) {
            self.learn_layouts_for_sure(model.queue).await?;
            offsets = self.durable.offsets(&[self.any_partition(model.queue)]).await?;
        }
        match offsets.first().filter(|offset| offset.is_stored()) {
            Some(offset) => self.schemes.set(model.queue, offset.scheme),
            None => {
                self.schemes.forget(model.queue);
                self.learn(model).await?;
            }
        }
        Ok(())
    }
}

/// Whether Redis says what it has to say of a scheme.
fn is_told(scheme: StorageScheme, mark: SchemeMark) -> bool {
    match mark {
        SchemeMark::None => scheme == StorageScheme::WriteBehind,
        // A switch is at it.
        SchemeMark::Closed | SchemeMark::Moved => true,
        SchemeMark::Of(marked) => marked == scheme,
    }
}
