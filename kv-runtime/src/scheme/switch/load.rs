//! The way to Redis alone: puts all rows there that PostgreSQL has, in the order of their ids.

use super::{MOVED_AT_ONCE, Switch, SwitchError};
use crate::durable_store::Offset;
use crate::failpoint;
use crate::hot_store::Load;
use crate::model::ModelDescriptor;
use crate::query::select::Select;
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;
use crate::unique::value_keys;

impl Switch<'_> {
    /// Loads the rows of a queue that is closed, drained and empty, and changes its scheme.
    pub(super) async fn load(&self, from: StorageScheme) -> Result<(), SwitchError> {
        // Only a queue can be closed: who writes past it goes on under any other scheme.
        let closed_as = if from.is_direct() { StorageScheme::WriteBehind } else { from };
        if closed_as != from {
            self.set_scheme(from, closed_as).await?;
        }
        if let Err(error) = self.load_models().await {
            return self.give_up(from, closed_as, error).await;
        }
        failpoint::reach("after_load");
        match self.set_scheme(closed_as, StorageScheme::RedisOnly).await {
            Err(error @ SwitchError::Busy { .. }) => Err(error),
            Err(error) if self.scheme_for_sure().await? == closed_as => {
                self.give_up(from, closed_as, error).await
            }
            // If with an error, then the answer to the commit was lost.
            _ => Ok(()),
        }
    }

    /// Has everything be as it was, while PostgreSQL has all rows. Where another switch has finished
    /// this one, nothing is done.
    async fn give_up(
        &self,
        from: StorageScheme,
        closed_as: StorageScheme,
        error: SwitchError,
    ) -> Result<(), SwitchError> {
        self.drop_rows().await?;
        if closed_as != from {
            self.set_scheme(closed_as, from).await?;
        }
        Err(error)
    }

    async fn load_models(&self) -> Result<(), SwitchError> {
        let offsets = self.stores.durable.offsets(&self.partitions).await?;
        for model in self.models() {
            self.load_model(model, &offsets).await?;
        }
        Ok(())
    }

    async fn load_model(
        &self,
        model: &'static ModelDescriptor,
        offsets: &[Offset],
    ) -> Result<(), SwitchError> {
        let mut last: Option<EncodedRow> = None;
        loop {
            let select = Select::next_rows(model, last.as_ref(), MOVED_AT_ONCE as u64);
            let rows = self.stores.durable.select(&select).await?;
            last = rows.last().cloned();
            let is_end = rows.len() < MOVED_AT_ONCE;
            let rows: Vec<Load> =
                rows.into_iter().filter_map(|row| self.place(model, row, offsets)).collect();
            self.moved(self.stores.hot.load(&rows, &self.id).await)?;
            failpoint::reach("after_load_batch");
            if is_end {
                return Ok(());
            }
        }
    }

    /// Where a row goes.
    fn place(
        &self,
        model: &'static ModelDescriptor,
        row: EncodedRow,
        offsets: &[Offset],
    ) -> Option<Load> {
        let key = self.stores.keys.row(model, model.id_of(&row));
        let value_keys = value_keys(&self.stores.keys, model, &row);
        let offset = offsets.iter().find(|offset| offset.partition == key.partition())?;
        let entry = offset.position.next();
        Some(Load { key, row: Some(row), entry, value_keys })
    }
}
