//! Reads rows, and brings in what the hot side does not have.

use super::{Rows, random_id};
use crate::durable_store::Fetched;
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::hot_store::{Fill, Probe, ReadOutcome, Write};
use crate::key::RowKey;
use crate::row::EncodedRow;
use crate::unique;

/// What is known of a row after it was looked for on both sides.
#[derive(Debug)]
pub(super) enum Loaded {
    Row(EncodedRow),
    /// A tombstone is in its place.
    Deleted,
    /// Neither side has it; this token is in its place, if one was left.
    Missing(Option<String>),
}

impl Rows {
    /// Looks for the row of a write on both sides, so that the write can be tried again; answers
    /// what a create can be tried with then.
    pub(crate) async fn prepare(
        &self,
        at: Operation,
        key: &RowKey,
        change: &Change,
    ) -> Result<Option<Probe>, Error> {
        let loaded = self.load(at, vec![key.clone()]).await?;
        match (change, loaded.into_iter().next()) {
            (Change::Create(_), Some(Loaded::Missing(token))) => Ok(token.map(Probe::Done)),
            (Change::Patch(_) | Change::Delete, Some(Loaded::Missing(_) | Loaded::Deleted)) => {
                Err(Error::NotFound { at, id: key.id.clone() })
            }
            // The row is in now, or a tombstone is: the hot side knows what to say.
            _ => Ok(None),
        }
    }

    /// Looks for a row that the hot side does not have: whether there is one after all.
    pub(crate) async fn is_brought_in(&self, at: Operation, key: &RowKey) -> Result<bool, Error> {
        let loaded = self.load(at, vec![key.clone()]).await?;
        Ok(loaded.iter().any(|loaded| !matches!(loaded, Loaded::Missing(_))))
    }

    pub(super) async fn probe_all(&self, at: Operation, writes: &mut [Write]) -> Result<(), Error> {
        let keys = writes.iter().map(|write| write.key.clone()).collect();
        let loaded = self.load(at, keys).await?;
        for (write, loaded) in writes.iter_mut().zip(loaded) {
            if let Loaded::Missing(Some(token)) = loaded {
                write.probe = Probe::Done(token);
            }
        }
        Ok(())
    }

    /// Reads rows, and brings in those that the hot side does not have.
    pub(crate) async fn read(
        &self,
        at: Operation,
        keys: Vec<RowKey>,
    ) -> Result<Vec<Option<EncodedRow>>, Error> {
        let outcomes = self.stores.read(&keys).await;
        let outcomes = outcomes.map_err(|error| Error::from_hot(at, "", error))?;
        let mut rows: Vec<Option<EncodedRow>> = Vec::with_capacity(keys.len());
        let mut missed = Vec::new();
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            match outcome {
                ReadOutcome::Row(row) => rows.push(Some(row)),
                ReadOutcome::Deleted => rows.push(None),
                ReadOutcome::Missing { .. } => {
                    missed.push((rows.len(), key));
                    rows.push(None);
                }
            }
        }
        if !missed.is_empty() {
            let (places, keys): (Vec<usize>, Vec<RowKey>) = missed.into_iter().unzip();
            let reserved = self.stores.reserve(&keys, &random_id()).await;
            let outcomes = reserved.unwrap_or_else(|error| {
                // A Redis that is full takes no token. PostgreSQL can still answer.
                tracing::debug!(%error, "a row is read without being brought in");
                keys.iter().map(|_| ReadOutcome::Missing { token: None }).collect()
            });
            let loaded = self.bring_in(at, keys, outcomes).await?;
            for (place, loaded) in places.into_iter().zip(loaded) {
                if let Loaded::Row(row) = loaded {
                    rows[place] = Some(row);
                }
            }
        }
        Ok(rows)
    }

    /// Brings in rows that a write needs and the hot side did not have.
    pub(super) async fn load(
        &self,
        at: Operation,
        keys: Vec<RowKey>,
    ) -> Result<Vec<Loaded>, Error> {
        let outcomes = self.stores.reserve_to_write(&keys, &random_id()).await;
        let outcomes = outcomes.map_err(|error| Error::from_hot(at, "", error))?;
        self.bring_in(at, keys, outcomes).await
    }

    /// Asks the durable side for rows in whose place a token was left, and puts what it has
    /// where the token still is.
    async fn bring_in(
        &self,
        at: Operation,
        keys: Vec<RowKey>,
        outcomes: Vec<ReadOutcome>,
    ) -> Result<Vec<Loaded>, Error> {
        let mut loaded: Vec<Loaded> = Vec::with_capacity(keys.len());
        let mut missed = Vec::new();
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            loaded.push(match outcome {
                ReadOutcome::Row(row) => Loaded::Row(row),
                ReadOutcome::Deleted => Loaded::Deleted,
                ReadOutcome::Missing { token } => {
                    missed.push((loaded.len(), key));
                    Loaded::Missing(token)
                }
            });
        }
        let (places, keys): (Vec<usize>, Vec<RowKey>) = missed.into_iter().unzip();
        if keys.is_empty() {
            return Ok(loaded);
        }
        let fetched = self.stores.fetch(self.model, &keys).await;
        let fetched = fetched.map_err(|error| Error::from_durable(at, error))?;
        let ttl = self.ttl();
        let mut fills = Vec::new();
        let mut absent = Vec::new();
        for ((place, key), fetched) in places.into_iter().zip(keys).zip(fetched) {
            let (Some(Fetched { row, offset }), Loaded::Missing(token)) = (fetched, &loaded[place])
            else {
                absent.push((place, key));
                continue;
            };
            // Without one, nothing is filled.
            if let Some(token) = token.clone() {
                let value_keys = unique::value_keys(&self.stores.keys, self.model, &row);
                fills.push(Fill { key, token, row: row.clone(), offset, ttl, value_keys });
            }
            loaded[place] = Loaded::Row(row);
        }
        if !fills.is_empty()
            && let Err(error) = self.stores.hot.fill(&fills).await
        {
            tracing::debug!(%error, "a row was read, but not brought in");
        }
        if !absent.is_empty() && self.stores.is_taken_for_redis_only(self.model) {
            self.look_again(at, absent, &mut loaded).await?;
        }
        Ok(loaded)
    }

    /// Looks again for rows that neither side had: a switch may have put them into Redis after it
    /// was asked, so that PostgreSQL was not asked any more.
    async fn look_again(
        &self,
        at: Operation,
        absent: Vec<(usize, RowKey)>,
        loaded: &mut [Loaded],
    ) -> Result<(), Error> {
        let (places, keys): (Vec<usize>, Vec<RowKey>) = absent.into_iter().unzip();
        let outcomes = self.stores.read(&keys).await;
        let outcomes = outcomes.map_err(|error| Error::from_hot(at, "", error))?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                ReadOutcome::Row(row) => loaded[place] = Loaded::Row(row),
                ReadOutcome::Deleted => loaded[place] = Loaded::Deleted,
                ReadOutcome::Missing { .. } => {}
            }
        }
        Ok(())
    }
}
