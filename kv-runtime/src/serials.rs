//! Serial ids, in blocks from PostgreSQL's sequences.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;
use crate::settings::Settings;
use crate::stores::Stores;

/// What is left of a block. Held while the next one is fetched, so that all who wait share it.
type Block = Arc<tokio::sync::Mutex<VecDeque<i64>>>;

/// The blocks of this process, by table.
#[derive(Debug, Default)]
pub(crate) struct SerialBlocks(Mutex<HashMap<&'static str, Block>>);

impl SerialBlocks {
    /// An id that nobody else is given; PostgreSQL is asked for a block where none is left.
    pub(crate) async fn next(
        &self,
        stores: &Stores,
        model: &'static ModelDescriptor,
    ) -> Result<i64, DurableStoreError> {
        let Settings { serial_block, postgres, .. } = &stores.settings;
        let block = self.block(model.table);
        // While PostgreSQL is down, those behind must not ask one after the other.
        let left = tokio::time::timeout(postgres.checkout_timeout, block.lock()).await;
        let mut left = left.map_err(|_| {
            DurableStoreError::Timeout("others wait for the same block of serial ids".into())
        })?;
        if left.is_empty() {
            left.extend(stores.durable.serials(model, *serial_block).await?);
        }
        left.pop_front().ok_or_else(|| {
            let message = format!("the sequence of table `{}` gave no number", model.table);
            DurableStoreError::Configuration(message.into())
        })
    }

    fn block(&self, table: &'static str) -> Block {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(blocks.entry(table).or_default())
    }
}
