//! Changes of many rows that are there, in few calls.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::Rows;
use super::read::Loaded;
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::hot_store::Write;
use crate::key::RowKey;
use crate::receipt::Receipt;
use crate::room::RoomWait;
use crate::unique;

/// How many rows with unique values are written at once: each may need a connection to PostgreSQL.
const AT_ONCE: usize = 32;

type Answer = Result<Receipt, Error>;

impl Rows {
    /// Makes patches and deletes, in as few calls as the hot side takes, and those of one row in
    /// their order.
    pub(crate) async fn change_many(
        &self,
        at: Operation,
        changes: Vec<Result<(RowKey, Change), Error>>,
    ) -> Vec<Answer> {
        if self.concern_unique_values(changes.iter().flatten().map(|(_, change)| change)) {
            return self.write_each(at, changes).await;
        }
        let checked = self.stores.check_durability(self.model, self.durability).await;
        let new_write = |change: Result<(RowKey, Change), Error>| {
            let (key, change) = change?;
            let write = self.new_write(at, key, change)?;
            match &checked {
                Ok(()) => Ok(Arc::new(write)),
                Err(error) => Err(Error::from_hot(at, &write.key.id, error.repeat())),
            }
        };
        let new: Vec<Result<Arc<Write>, Error>> = changes.into_iter().map(new_write).collect();
        let writes: Vec<Arc<Write>> = new.iter().flatten().map(Arc::clone).collect();
        let answers = self.write_in_order(at, &writes).await;
        let mut answers = self.make_safe(at, &writes, answers).await.into_iter();
        let answer = |write: Result<Arc<Write>, Error>| match write {
            Ok(_) => answers.next(),
            Err(error) => Some(Err(error)),
        };
        new.into_iter().filter_map(answer).collect()
    }

    /// Whether changes are about unique values, so that each is a unit of work.
    pub(super) fn concern_unique_values<'a>(
        &self,
        mut changes: impl Iterator<Item = &'a Change>,
    ) -> bool {
        changes.any(|change| unique::concerns(self.model, change))
    }

    /// Makes each change by itself, all rows at once and those of one row in their order.
    pub(super) async fn write_each(
        &self,
        at: Operation,
        changes: Vec<Result<(RowKey, Change), Error>>,
    ) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = changes.iter().map(|_| None).collect();
        let mut by_row: HashMap<String, Vec<(usize, RowKey, Change)>> = HashMap::new();
        for (place, change) in changes.into_iter().enumerate() {
            match change {
                Ok((key, change)) => {
                    by_row.entry(key.key.clone()).or_default().push((place, key, change));
                }
                Err(error) => answers[place] = Some(Err(error)),
            }
        }
        let rows = by_row.into_values().map(async |changes| {
            let mut done = Vec::with_capacity(changes.len());
            for (place, key, change) in changes {
                done.push((place, self.write_by_id(at, key, change).await));
            }
            done
        });
        let mut done = stream::iter(rows).buffer_unordered(AT_ONCE);
        while let Some(done) = done.next().await {
            for (place, answer) in done {
                answers[place] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// The second change of a row waits for the answer to the first, because that may have to be
    /// tried again.
    async fn write_in_order(&self, at: Operation, writes: &[Arc<Write>]) -> Vec<Answer> {
        let mut room = RoomWait::new(self.stores.settings.on_full);
        let mut answers: Vec<Option<Answer>> = writes.iter().map(|_| None).collect();
        for places in rounds(writes) {
            let round: Vec<Arc<Write>> = places.iter().map(|&at| Arc::clone(&writes[at])).collect();
            let done = self.write_all(at, &round, &mut room).await;
            for (place, answer) in places.into_iter().zip(done) {
                answers[place] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    /// Makes changes of different rows; those that the hot side does not have are brought in
    /// together.
    async fn write_all(
        &self,
        at: Operation,
        writes: &[Arc<Write>],
        room: &mut RoomWait,
    ) -> Vec<Answer> {
        let mut answers = self.try_all(at, writes, room).await;
        let absent: Vec<usize> = (0..writes.len()).filter(|&at| answers[at].is_none()).collect();
        let mut again = Vec::new();
        let loaded = if absent.is_empty() {
            Ok(Vec::new())
        } else {
            self.load(at, absent.iter().map(|&at| writes[at].key.clone()).collect()).await
        };
        match loaded {
            Ok(loaded) => {
                for (place, loaded) in absent.into_iter().zip(loaded) {
                    match loaded {
                        Loaded::Row(_) => again.push(place),
                        Loaded::Deleted | Loaded::Missing(_) => {
                            let id = writes[place].key.id.clone();
                            answers[place] = Some(Err(Error::NotFound { at, id }));
                        }
                    }
                }
            }
            // Each row then asks by itself, and tells its caller what it met.
            Err(error) => tracing::debug!(%error, "rows could not be brought in together"),
        }
        let tried: Vec<Arc<Write>> = again.iter().map(|&at| Arc::clone(&writes[at])).collect();
        for (place, answer) in again.into_iter().zip(self.try_all(at, &tried, room).await) {
            answers[place] = answer;
        }
        let mut all = Vec::with_capacity(writes.len());
        for (write, answer) in writes.iter().zip(answers) {
            all.push(match answer {
                Some(answer) => answer,
                None => self.write_one(at, Arc::clone(write), room).await,
            });
        }
        all
    }

    /// One call for all; `None` where the row has to be brought in first.
    async fn try_all(
        &self,
        at: Operation,
        writes: &[Arc<Write>],
        room: &mut RoomWait,
    ) -> Vec<Option<Answer>> {
        let outcomes = room.write(&self.stores, writes).await;
        let answers = writes.iter().zip(outcomes);
        answers.map(|(write, outcome)| self.answer(at, write, outcome, room)).collect()
    }
}

/// Places of writes, such that no row comes twice in a round.
fn rounds(writes: &[Arc<Write>]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let mut times: HashMap<&str, usize> = HashMap::with_capacity(writes.len());
    for (place, write) in writes.iter().enumerate() {
        let round = times.entry(&write.key.key).or_default();
        match rounds.get_mut(*round) {
            Some(places) => places.push(place),
            None => rounds.push(vec![place]),
        }
        *round += 1;
    }
    rounds
}
