//! Serial ids, in blocks from PostgreSQL's sequences.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::durable_store::{DurableStore, DurableStoreError};
use crate::model::ModelDescriptor;

/// What is left of a block. Held while the next one is fetched, so that all who wait share it.
type Block = Arc<tokio::sync::Mutex<VecDeque<i64>>>;

/// The blocks of this process, by table.
#[derive(Debug, Default)]
pub(crate) struct SerialBlocks(Mutex<HashMap<&'static str, Block>>);

impl SerialBlocks {
    /// Some ids, each of which nobody else is given; PostgreSQL is asked where they run out, for
    /// at least `block` of them.
    pub(crate) async fn take(
        &self,
        durable: &dyn DurableStore,
        model: &'static ModelDescriptor,
        count: usize,
        block: u32,
    ) -> Result<Vec<i64>, DurableStoreError> {
        let left = self.block(model.table);
        let mut left = left.lock().await;
        if left.len() < count {
            let missing = u32::try_from(count - left.len()).unwrap_or(u32::MAX);
            left.extend(durable.serials(model, missing.max(block)).await?);
        }
        let count = count.min(left.len());
        Ok(left.drain(..count).collect())
    }

    fn block(&self, table: &'static str) -> Block {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blocks.entry(table).or_default())
    }
}
