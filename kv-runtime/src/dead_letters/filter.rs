//! Which dead letters are meant.

use super::DeadLetter;
use crate::durable_store::HeldRow;
use crate::entry::EntryId;
use crate::key::Partition;
use crate::model::{FieldError, KvModel};
use crate::row;

/// Chooses dead letters; by default all of them.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct DeadLetterFilter {
    pub(crate) id: Option<i64>,
    pub(crate) model: Option<String>,
    pub(crate) row_id: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) entry: Option<EntryId>,
    pub(crate) partitions: Option<Vec<Partition>>,
    pub(crate) released: bool,
    pub(crate) limit: Option<u32>,
}

impl DeadLetterFilter {
    /// All dead letters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of one model.
    pub fn model<M: KvModel>(self) -> Self {
        Self { model: Some(M::DESCRIPTOR.key_prefix.to_owned()), ..self }
    }

    /// Those of one row.
    ///
    /// # Errors
    /// A value of the id that cannot be stored.
    pub fn row<M: KvModel>(self, id: &M::Id) -> Result<Self, FieldError> {
        let id = crate::key::format_id(&row::encode_id::<M>(id)?);
        Ok(Self { row_id: Some(id), ..self.model::<M>() })
    }

    /// Those with this SQLSTATE or constraint, or with this text in their message.
    pub fn error(self, text: impl Into<String>) -> Self {
        Self { error: Some(text.into()), ..self }
    }

    /// At most so many, the oldest first.
    pub fn limit(self, limit: u32) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(super) fn id(self, id: i64) -> Self {
        Self { id: Some(id), ..self }
    }

    pub(crate) fn of_entry(partition: Partition, entry: EntryId) -> Self {
        Self { entry: Some(entry), partitions: Some(vec![partition]), ..Self::default() }
    }

    pub(super) fn of_row(row: &HeldRow) -> Self {
        Self {
            model: Some(row.model.to_string()),
            row_id: Some(row.row_id.clone()),
            partitions: Some(vec![row.partition]),
            ..Self::default()
        }
    }

    /// Whether it chooses a letter, its limit left aside.
    pub(crate) fn matches(&self, letter: &DeadLetter, released: bool) -> bool {
        let is_error = |text: &String| {
            letter.sqlstate.as_ref() == Some(text)
                || letter.constraint.as_ref() == Some(text)
                || letter.message.contains(text)
        };
        let is_there = |partition: &Partition| {
            partition.queue == letter.queue && partition.number == letter.partition
        };
        let is_row = |(model, row_id): &(String, String)| {
            self.model.as_ref().is_none_or(|wanted| wanted == model)
                && self.row_id.as_ref().is_none_or(|wanted| wanted == row_id)
        };
        let any_row = self.model.is_none() && self.row_id.is_none();
        self.released == released
            && self.id.is_none_or(|id| id == letter.id)
            && (any_row || letter.rows().iter().any(is_row))
            && self.entry.is_none_or(|entry| letter.entry == entry)
            && self.error.as_ref().is_none_or(is_error)
            && self.partitions.as_ref().is_none_or(|all| all.iter().any(is_there))
    }
}
