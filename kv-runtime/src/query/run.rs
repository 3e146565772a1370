//! What a query does, without the model's type.

use std::sync::Arc;
use std::time::Duration;

use super::consistency::Behind;
use super::cursor::Cursor;
use super::overlay;
use super::predicate::{ConditionError, Predicate};
use super::select::{Aggregate, Answer, Select};
use crate::error::{Error, Operation};
use crate::model::ModelDescriptor;
use crate::receipt::Receipt;
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;
use crate::stores::Stores;

/// How long an answer that PostgreSQL can give alone waits for Redis.
const BEHIND_TIMEOUT: Duration = Duration::from_secs(2);

/// A query that is not asked yet.
#[derive(Debug, Clone)]
pub(super) struct Question {
    stores: Arc<Stores>,
    pub(super) select: Select,
    pub(super) after: Option<Cursor>,
    pub(super) receipts: Vec<Receipt>,
    /// The first thing that is wrong in its conditions.
    problem: Option<ConditionError>,
}

/// What the rows or groups are, and how far behind that may be.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) rows: Vec<EncodedRow>,
    pub(super) behind: Option<Behind>,
}

impl Question {
    pub(super) fn new(stores: Arc<Stores>, model: &'static ModelDescriptor) -> Self {
        let select = Select::new(model);
        Self { stores, select, after: None, receipts: Vec::new(), problem: None }
    }

    pub(super) fn at(&self, verb: &'static str) -> Operation {
        Operation::new(self.select.model, verb)
    }

    pub(super) fn add(&mut self, predicate: Result<Predicate, ConditionError>) {
        match predicate {
            Ok(predicate) => self.select.add(predicate),
            Err(problem) => self.problem = self.problem.take().or(Some(problem)),
        }
    }

    /// Asks for aggregates; the order matters where only some of the rows are meant.
    pub(super) async fn aggregate(
        mut self,
        at: Operation,
        aggregates: Vec<Aggregate>,
        groups: Vec<usize>,
        lays_over: bool,
    ) -> Result<Answered, Error> {
        self.select.answer = Answer::Aggregate { aggregates, groups };
        self.ask(at, lays_over).await
    }

    /// Asks for rows: for one more than a page has, and where it ends if there is one more.
    pub(super) async fn page(
        mut self,
        at: Operation,
        lays_over: bool,
    ) -> Result<(Answered, bool), Error> {
        let limit = self.select.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        self.select.limit = self.select.limit.map(|limit| limit.saturating_add(1));
        let mut answered = self.ask(at, lays_over).await?;
        let has_more = limit.is_some_and(|limit| answered.rows.len() > limit);
        if let Some(limit) = limit {
            answered.rows.truncate(limit);
        }
        Ok((answered, has_more))
    }

    pub(super) async fn ask(mut self, at: Operation, lays_over: bool) -> Result<Answered, Error> {
        if let Some(problem) = self.problem {
            return Err(match problem {
                ConditionError::Value(error) => Error::encoding(at, error),
                ConditionError::Depth => Error::QueryRefused { at, source: Box::new(problem) },
            });
        }
        let (stores, select) = (&self.stores, &mut self.select);
        select.put_in_order(self.after.as_ref()).ok_or(Error::Cursor { at })?;
        wait_for(&self.receipts, stores, at).await?;
        let mut behind = None;
        let scheme = stores.scheme(select.model).await;
        if matches!(scheme, Ok(StorageScheme::RedisOnly)) {
            return Err(Error::RedisOnly { at });
        }
        if scheme.is_ok_and(StorageScheme::is_direct)
            && stores
                .is_all_stored(select.model)
                .await
                .map_err(|error| Error::from_hot(at, "", error))?
        {
            behind = Some(Behind::default());
        } else {
            let is_redis_only = if lays_over {
                let (dirty, is_redis_only) = tokio::join!(
                    overlay::dirty_rows(stores, select.model, at),
                    stores.is_in_redis_alone(select.model.queue),
                );
                select.dirty = dirty?;
                is_redis_only
            } else {
                let is_redis_only = stores.is_in_redis_alone(select.model.queue);
                let is_redis_only = tokio::time::timeout(BEHIND_TIMEOUT, is_redis_only);
                let (told, is_redis_only) =
                    tokio::join!(behind_of(stores, select.model), is_redis_only);
                behind = told;
                is_redis_only.unwrap_or_default()
            };
            if is_redis_only {
                return Err(Error::RedisOnly { at });
            }
        }
        // Whom a write was waited for is to see it, which a replica may not have.
        if lays_over || !self.receipts.is_empty() {
            let rows = stores.durable.select(select).await;
            let rows = rows.map_err(|error| Error::from_durable(at, error))?;
            return Ok(Answered { rows, behind });
        }
        let stored = stores.durable.select_stored(select).await;
        let stored = stored.map_err(|error| Error::from_durable(at, error))?;
        let behind = behind.map(|behind| Behind { replica_lag: stored.replica_lag, ..behind });
        Ok(Answered { rows: stored.rows, behind })
    }
}

/// How far PostgreSQL is behind, unless Redis cannot say so soon: PostgreSQL can still answer.
async fn behind_of(stores: &Stores, model: &'static ModelDescriptor) -> Option<Behind> {
    let asked = tokio::time::timeout(BEHIND_TIMEOUT, overlay::behind(stores, model));
    match asked.await {
        Ok(Ok(behind)) => return Some(behind),
        Ok(Err(error)) => tracing::debug!(%error, "a query cannot tell how far behind it may be"),
        Err(_) => tracing::debug!("Redis did not tell in time how far behind a query may be"),
    }
    None
}

/// Waits until writes are drained, all of them together as long as a query waits for the drainer.
async fn wait_for(receipts: &[Receipt], stores: &Stores, at: Operation) -> Result<(), Error> {
    let waited = stores.settings.overlay_timeout;
    let durable = async {
        for receipt in receipts {
            receipt.await_durable().await?;
        }
        Ok(())
    };
    match tokio::time::timeout(waited, durable).await {
        Ok(durable) => durable.map_err(|source| Error::NotDurable { at, source: Box::new(source) }),
        Err(_) => Err(Error::Behind { at, waited }),
    }
}
