//! Rows by other values than their ids: what the derive's `find_by_…` methods call.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::entry::{self, Change};
use crate::error::{Error, Operation};
use crate::hot_store::ValueContent;
use crate::model::{FieldError, KvModel};
use crate::query::Query;
use crate::receipt::Receipt;
use crate::row::{self, EncodedPatch, EncodedRow, RowEncoder};
use crate::rows::{LOADS_MAX, Rows};
use crate::unique;

/// Finds rows of a model by other values than their ids.
///
/// A model has methods for it on its [`Repository`](crate::Repository), one for each index that it
/// declares: see [`KvModel`](macro@crate::KvModel#unique).
pub struct Lookup<M> {
    rows: Rows,
    model: PhantomData<fn() -> M>,
}

impl<M> Clone for Lookup<M> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), model: PhantomData }
    }
}

impl<M> fmt::Debug for Lookup<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

/// What `get_or_create_by_…` answers.
#[derive(Debug)]
#[non_exhaustive]
pub struct GotOrCreated<M> {
    /// The row that has the value.
    pub row: M,
    /// Where its entry stands, if the row was created by this call.
    pub created: Option<Receipt>,
}

/// What a value can be given as: itself, a reference to it, or a text for a `String` and for an
/// `Option` of one.
pub trait IntoValue<T> {
    /// The value.
    fn into_value(self) -> T;
}

impl<T> IntoValue<T> for T {
    fn into_value(self) -> T {
        self
    }
}

impl<T: Clone> IntoValue<T> for &T {
    fn into_value(self) -> T {
        self.clone()
    }
}

impl IntoValue<String> for &str {
    fn into_value(self) -> String {
        self.to_owned()
    }
}

impl IntoValue<Option<String>> for &str {
    fn into_value(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl IntoValue<Option<String>> for String {
    fn into_value(self) -> Option<String> {
        Some(self)
    }
}

/// For the derive's methods alone.
#[doc(hidden)]
impl<M: KvModel> Lookup<M> {
    pub(crate) fn new(rows: Rows) -> Self {
        Self { rows, model: PhantomData }
    }

    pub fn query(&self) -> Query<M> {
        Query::new(Arc::clone(self.rows.stores()))
    }

    /// The row with these values in the columns of a unique index, given by its position.
    pub async fn find_by(
        &self,
        index: usize,
        values: impl FnOnce(&mut RowEncoder) -> Result<(), FieldError>,
    ) -> Result<Option<M>, Error> {
        let at = Operation::new(M::DESCRIPTOR, "find_by");
        self.find(at, index, &encode::<M>(at, index, values)?).await
    }

    /// The same of a row that has to be there.
    pub async fn get_by(
        &self,
        index: usize,
        values: impl FnOnce(&mut RowEncoder) -> Result<(), FieldError>,
    ) -> Result<M, Error> {
        let at = Operation::new(M::DESCRIPTOR, "get_by");
        let found = self.find(at, index, &encode::<M>(at, index, values)?).await?;
        found.ok_or(Error::NotFoundBy { at, fields: M::DESCRIPTOR.unique[index].name })
    }

    /// The row that has what the given one has in those columns; creates the given one if none has.
    pub async fn get_or_create_by(&self, index: usize, row: &M) -> Result<GotOrCreated<M>, Error> {
        let at = Operation::new(M::DESCRIPTOR, "get_or_create_by");
        let encoded = row::encode(row).map_err(|error| Error::encoding(at, error))?;
        let values = M::DESCRIPTOR.select(M::DESCRIPTOR.unique[index].columns, &encoded);
        for _ in 0..LOADS_MAX {
            // First created: who calls this mostly expects that the row is not there.
            let error = match self.rows.write_row(at, Change::Create(encoded.clone())).await {
                Ok(receipt) => {
                    let row = stored(at, encoded, &receipt)?;
                    return Ok(GotOrCreated { row, created: Some(receipt) });
                }
                Err(error) if error.is_duplicate() => error,
                Err(error) => return Err(error),
            };
            if let Some(row) = self.find(at, index, &values).await? {
                return Ok(GotOrCreated { row, created: None });
            }
            // By another value than this one.
            if !is_clash(&error, M::DESCRIPTOR.unique[index].name) {
                return Err(error);
            }
        }
        Err(busy::<M>(at, index))
    }

    /// Replaces the row that has what the given one has in those columns, but for its id; creates
    /// the given one if none has.
    pub async fn upsert_by(&self, index: usize, row: &M) -> Result<(M, Receipt), Error> {
        let at = Operation::new(M::DESCRIPTOR, "upsert_by");
        let model = M::DESCRIPTOR;
        let encoded = row::encode(row).map_err(|error| Error::encoding(at, error))?;
        let values = model.select(model.unique[index].columns, &encoded);
        for _ in 0..LOADS_MAX {
            let found = match values.iter().all(|value| value.is_some()) {
                true => unique::owner(self.rows.stores(), at, model, index, &values).await?.row,
                false => None,
            };
            let (written, answer) = match found {
                Some((key, _)) => {
                    let id: Vec<_> = key.id_columns().collect();
                    let row = EncodedPatch::from_changes(id).apply_to(&encoded);
                    (row.clone(), self.rows.replace_owner(at, key, row, index).await)
                }
                None => {
                    let created = self.rows.write_row(at, Change::Create(encoded.clone())).await;
                    (encoded.clone(), created.map(Some))
                }
            };
            match answer {
                Ok(Some(receipt)) => return Ok((stored(at, written, &receipt)?, receipt)),
                // It was given to another row, or taken, meanwhile.
                Ok(None) => {}
                Err(error) if is_clash(&error, model.unique[index].name) => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy::<M>(at, index))
    }

    async fn find(
        &self,
        at: Operation,
        index: usize,
        values: &EncodedRow,
    ) -> Result<Option<M>, Error> {
        if values.iter().any(|value| value.is_none()) {
            return Ok(None);
        }
        let (stores, model) = (self.rows.stores(), M::DESCRIPTOR);
        let was_redis_only = stores.is_taken_for_redis_only(model);
        let found =
            unique::reserve(stores, at, model, index, values).await.unwrap_or_else(|error| {
                // A Redis that is full takes no token. PostgreSQL can still answer.
                tracing::debug!(%error, "a value is looked up without being noted");
                ValueContent::default()
            });
        let owner = unique::owner_of(stores, at, model, index, values, found).await?;
        if owner.row.is_none() && !was_redis_only && stores.is_taken_for_redis_only(model) {
            // A switch may have put it into Redis after that was asked, so that PostgreSQL was not
            // asked any more.
            return Box::pin(self.find(at, index, values)).await;
        }
        owner.row.map(|(_, row)| decode(at, &row)).transpose()
    }
}

/// The values of a unique index.
fn encode<M: KvModel>(
    at: Operation,
    index: usize,
    values: impl FnOnce(&mut RowEncoder) -> Result<(), FieldError>,
) -> Result<EncodedRow, Error> {
    let mut encoder = RowEncoder::with_capacity(M::DESCRIPTOR.unique[index].columns.len());
    values(&mut encoder).map_err(|error| Error::encoding(at, error))?;
    Ok(encoder.finish())
}

/// A row that was written, as it is stored.
fn stored<M: KvModel>(at: Operation, row: EncodedRow, receipt: &Receipt) -> Result<M, Error> {
    let row = entry::without_foreign(M::DESCRIPTOR, row);
    decode(at, &entry::set_version(M::DESCRIPTOR, row, receipt.entry))
}

fn busy<M: KvModel>(at: Operation, index: usize) -> Error {
    Error::Conflict {
        at,
        id: M::DESCRIPTOR.unique[index].name.to_owned(),
        reason: "is by a value that went from row to row while it was looked for; try again",
    }
}

fn decode<M: KvModel>(at: Operation, row: &EncodedRow) -> Result<M, Error> {
    row::decode(row).map_err(|error| Error::encoding(at, error))
}

/// Whether another row has the value.
fn is_clash(error: &Error, name: &str) -> bool {
    matches!(error, Error::NotUnique { fields, .. } if *fields == name)
}
