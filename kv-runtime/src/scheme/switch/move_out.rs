//! The way from Redis alone: writes to PostgreSQL what only Redis has.
//!
//! All of it in one transaction, in chunks. A chunk that PostgreSQL refuses is tried again after the
//! others: a row goes after those that it refers to, and after the one that has given up its unique
//! value. Where that gets no further, what is left is tried together, because values may be swapped
//! within one attempt; and then in smaller chunks, because not every constraint lets them.

use super::{MOVED_AT_ONCE, Switch, SwitchError};
use crate::drain::fault_of_others;
use crate::durable_store::{Operation, Outcome, Refusal, Statement, Transaction};
use crate::failpoint;
use crate::hot_store::ReadOutcome;
use crate::key::RowKey;
use crate::model::ModelDescriptor;
use crate::scheme::StorageScheme;

/// How many chunks are tried together: as many rows have to be in memory.
const TOGETHER_MAX: usize = 20;

/// Some rows of one model.
#[derive(Clone)]
struct Chunk {
    model: &'static ModelDescriptor,
    keys: Vec<RowKey>,
}

impl Chunk {
    fn halves(&self) -> impl Iterator<Item = Self> {
        let half = self.keys.len().div_ceil(2).max(1);
        self.keys.chunks(half).map(|keys| Self { model: self.model, keys: keys.to_vec() })
    }
}

impl Switch<'_> {
    /// Writes what Redis has, and changes the scheme with it.
    pub(super) async fn move_out(&self, to: StorageScheme) -> Result<(), SwitchError> {
        // Before the transaction, which must not rest.
        let mut chunks = Vec::new();
        for (model, keys) in self.scan().await? {
            let keys = keys.chunks(MOVED_AT_ONCE);
            chunks.extend(keys.map(|keys| Chunk { model, keys: keys.to_vec() }));
        }
        self.stores.durable.create_offsets(&self.partitions).await?;
        let mut transaction = self.stores.durable.begin(&self.partitions).await?;
        self.write_chunks(transaction.as_mut(), chunks).await?;
        let set = transaction.set_scheme(StorageScheme::RedisOnly, to).await;
        set.map_err(|error| self.unless_busy(error))?;
        failpoint::reach("after_move_out");
        transaction.commit(Outcome::default()).await?;
        failpoint::reach("after_set_scheme");
        Ok(())
    }

    async fn write_chunks(
        &self,
        transaction: &mut dyn Transaction,
        mut left: Vec<Chunk>,
    ) -> Result<(), SwitchError> {
        while !left.is_empty() {
            let (mut refused, mut reason) = (Vec::new(), Refusal::default());
            for chunk in &left {
                if let Some(refusal) =
                    self.write_together(transaction, std::slice::from_ref(chunk)).await?
                {
                    refused.push(chunk.clone());
                    reason = refusal;
                }
            }
            let Some(last) = refused.last() else { return Ok(()) };
            if refused.len() < left.len() {
                left = refused;
                continue;
            }
            let are_few = (2..=TOGETHER_MAX).contains(&refused.len());
            if are_few && self.write_together(transaction, &refused).await?.is_none() {
                return Ok(());
            }
            if refused.iter().all(|chunk| chunk.keys.len() <= 1) {
                let (model, message) = (last.model.name, reason.message);
                return Err(SwitchError::Refused { model, message });
            }
            left = refused.iter().flat_map(Chunk::halves).collect();
        }
        Ok(())
    }

    /// Writes chunks, all of them or none: why not, if not.
    async fn write_together(
        &self,
        transaction: &mut dyn Transaction,
        chunks: &[Chunk],
    ) -> Result<Option<Refusal>, SwitchError> {
        let mut statements = Vec::new();
        for Chunk { model, keys } in chunks {
            let (mut deleted, mut rows) = (Vec::new(), Vec::new());
            for (key, found) in keys.iter().zip(self.stores.hot.read(keys).await?) {
                match found {
                    ReadOutcome::Row(row) => rows.push(row),
                    ReadOutcome::Deleted => deleted.push(key.id_values.clone()),
                    ReadOutcome::Missing { .. } => {}
                }
            }
            // First, because they may have had what others have now.
            let operations = [Operation::Delete(deleted), Operation::Upsert(rows)];
            let statement = |operation| Statement { model, operation };
            statements.extend(operations.into_iter().map(statement));
        }
        statements.retain(|statement: &Statement| !statement.operation.rows().is_empty());
        let Some(refusal) = transaction.attempt(&statements).await? else { return Ok(None) };
        match fault_of_others(&refusal) {
            Some(fault) => Err(fault.into()),
            None => Ok(Some(refusal)),
        }
    }
}
