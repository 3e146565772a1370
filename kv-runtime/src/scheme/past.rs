//! Writes past the queue, each in a task of its own: one that was begun is ended, whatever becomes of
//! its caller, and nobody waits for a caller that does not go on.

use std::sync::Arc;

use super::StorageScheme;
use super::direct::{self, DirectError};
use super::turns::Turn;
use crate::durable_store::DurableStore;
use crate::hot_store::{HotStore, HotStoreError, Unit, UnitOutcome, Write};
use crate::rows::random_id;

/// The way of writes under a scheme.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) hot: Arc<dyn HotStore>,
    pub(super) durable: Arc<dyn DurableStore>,
    pub(super) scheme: StorageScheme,
}

impl Past {
    /// Makes the writes that wait at a partition, sooner or later.
    pub(super) fn serve(self, turn: Arc<Turn>) {
        tokio::spawn(async move {
            let _turn = turn.wait().await;
            while self.write_waiting(&turn).await {}
        });
    }

    /// Makes a unit of work in its turn.
    pub(super) async fn write_unit(
        self,
        turn: Arc<Turn>,
        unit: Unit,
    ) -> Result<UnitOutcome, HotStoreError> {
        let task = tokio::spawn(async move {
            let _turn = turn.wait().await;
            let changed = unit.rows.iter().filter(|row| row.change.is_some());
            let keys = changed.map(|row| row.key.key.clone()).collect();
            let write = direct::write_unit(&*self.durable, &unit, self.scheme);
            self.with_rows_out(keys, write).await
        });
        task.await.unwrap_or_else(|error| Err(HotStoreError::OutcomeUnknown(Box::new(error))))
    }

    /// Makes some of the writes that wait at a partition; `false` if there are none.
    async fn write_waiting(&self, turn: &Turn) -> bool {
        let waiting = turn.take();
        if waiting.is_empty() {
            return false;
        }
        let writes: Vec<&Write> = waiting.iter().map(|waiting| &*waiting.write).collect();
        let keys = writes.iter().map(|write| write.key.key.clone()).collect();
        let write = direct::write(&*self.durable, &writes, self.scheme);
        let outcomes: Vec<_> = match self.with_rows_out(keys, write).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) => waiting.iter().map(|_| Err(error.repeat())).collect(),
        };
        for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
            // Who has gone away meanwhile does not want to know.
            let _ = waiting.done.send(outcome);
        }
        true
    }

    /// Writes rows in PostgreSQL, and has none of them in Redis meanwhile.
    async fn with_rows_out<T>(
        &self,
        keys: Vec<String>,
        write: impl Future<Output = Result<T, DirectError>>,
    ) -> Result<T, HotStoreError> {
        if self.scheme != StorageScheme::CacheAside || keys.is_empty() {
            return Ok(write.await?);
        }
        let token = random_id();
        let is_out = self.hot.bar(&keys, &token).await;
        let written = match is_out {
            Ok(true) => write.await,
            // One of them has an entry: the queue is in use.
            Ok(false) => Err(DirectError::Elsewhere),
            Err(error) => return Err(error),
        };
        // A commit that may still be under way is waited for as long as the token lasts.
        if !matches!(written, Err(DirectError::OutcomeUnknown(_)))
            && let Err(error) = self.hot.lift(&keys, &token).await
        {
            tracing::debug!(%error, "rows stay out of Redis for a while");
        }
        Ok(written?)
    }
}
