//! Unique values: which ones a change is about, and whose a value is.

use std::sync::Arc;
use std::time::Duration;

use crate::entry::{Change, Dependency};
use crate::error::{Error, Operation};
use crate::hot_store::{Claim, FreeValue, Unit, UnitRow, ValueContent, ValueFill};
use crate::key::{KeySpace, Layout, Partition, RowKey, one_form};
use crate::model::{IndexDescriptor, ModelDescriptor};
use crate::row::EncodedRow;
use crate::rows::{Rows, random_id};
use crate::stores::Stores;

/// How often it is looked whether another write has taken a value that it is at, and the pause before
/// each look: longer together than such a write may take.
const TAKING_TRIES: u32 = 500;
const TAKING_PAUSE: Duration = Duration::from_millis(10);

/// The unique indexes that Redis knows the values of, with their positions. Which rows a partial one
/// is about, only PostgreSQL can say.
fn known(
    model: &'static ModelDescriptor,
) -> impl Iterator<Item = (usize, &'static IndexDescriptor)> {
    model.unique.iter().enumerate().filter(|(_, index)| index.when.is_none())
}

/// Whether a change is about unique values: of a patch, those that it sets.
pub(crate) fn concerns(model: &'static ModelDescriptor, change: &Change) -> bool {
    known(model).any(|(_, index)| match change {
        Change::Patch(patch) => index.columns.iter().any(|at| patch.columns().contains(at)),
        _ => true,
    })
}

/// Whether a patch sets a part of a unique value, so that the row has to say the rest.
pub(crate) fn needs_row(model: &'static ModelDescriptor, change: &Change) -> bool {
    let Change::Patch(patch) = change else { return false };
    known(model).any(|(_, index)| {
        let set = index.columns.iter().filter(|at| patch.columns().contains(at)).count();
        (1..index.columns.len()).contains(&set)
    })
}

/// What a change wants of unique values; `None` where it is about none. `before` is the row, where
/// the change needs it.
pub(crate) fn claims(
    keys: &KeySpace,
    model: &'static ModelDescriptor,
    change: &Change,
    before: Option<&EncodedRow>,
) -> Option<Vec<Claim>> {
    if !concerns(model, change) {
        return None;
    }
    let claim = |(position, index): (usize, &'static IndexDescriptor)| {
        let values: EncodedRow = match change {
            Change::Create(row) | Change::Upsert(row) => model.select(index.columns, row),
            Change::Patch(patch) if index.columns.iter().any(|at| patch.columns().contains(at)) => {
                let of_column = |at: &usize| match patch.iter().find(|(column, _)| column == at) {
                    Some((_, value)) => value,
                    None => before.and_then(|row| row.get(*at)),
                };
                index.columns.iter().map(of_column).collect()
            }
            Change::Patch(_) | Change::Delete => return None,
        };
        let is_null = values.iter().any(|value| value.is_none());
        Some(Claim {
            index: position,
            key: (!is_null).then(|| keys.value_key(model, index, &values)),
            prefix: keys.value_prefix(model, index),
            values,
            probe: None,
        })
    };
    Some(known(model).filter_map(claim).collect())
}

/// The keys of all unique values of a row.
pub(crate) fn value_keys(
    keys: &KeySpace,
    model: &'static ModelDescriptor,
    row: &EncodedRow,
) -> Vec<String> {
    value_keys_of(keys, keys.layout(model.queue), model, row)
}

/// The same in a layout that its queue is on the way to.
pub(crate) fn value_keys_of(
    keys: &KeySpace,
    layout: Layout,
    model: &'static ModelDescriptor,
    row: &EncodedRow,
) -> Vec<String> {
    let values = known(model).map(|(_, index)| (index, model.select(index.columns, row)));
    let not_null = values.filter(|(_, values)| values.iter().all(|value| value.is_some()));
    not_null.map(|(index, values)| keys.value_key_of(layout, model, index, &values)).collect()
}

/// Whether a row has these values in these columns.
pub(crate) fn has_values(
    model: &'static ModelDescriptor,
    index: &IndexDescriptor,
    row: &EncodedRow,
    values: &EncodedRow,
) -> bool {
    index.columns.iter().zip(values.iter()).all(|(&at, value)| match (row.get(at), value) {
        (Some(own), Some(value)) => {
            let ty = model.columns[at].ty;
            one_form(ty, own) == one_form(ty, value)
        }
        _ => false,
    })
}

/// Whose a unique value is.
#[derive(Debug)]
pub(crate) struct Owner {
    /// What is under the value's key, by which a claim on it is made.
    pub(crate) found: ValueContent,
    /// `None` if it is nobody's.
    pub(crate) row: Option<(RowKey, EncodedRow)>,
    /// The row that has given it up, if one has lately.
    had_by: Option<RowKey>,
}

/// Looks for the owner of a value on both sides.
///
/// Redis knows every value that is not drained, and under the key of any other is a token while
/// PostgreSQL is asked. PostgreSQL may still have a value that its row has given up; so the row
/// itself, as Redis has it, is asked last.
pub(crate) async fn owner(
    stores: &Arc<Stores>,
    at: Operation,
    model: &'static ModelDescriptor,
    position: usize,
    values: &EncodedRow,
) -> Result<Owner, Error> {
    let found = reserve(stores, at, model, position, values).await?;
    owner_of(stores, at, model, position, values, found).await
}

/// What is under a value's key; a token, if nothing was.
pub(crate) async fn reserve(
    stores: &Arc<Stores>,
    at: Operation,
    model: &'static ModelDescriptor,
    position: usize,
    values: &EncodedRow,
) -> Result<ValueContent, Error> {
    let index = &model.unique[position];
    let reserved = stores.reserve_value(model, index, values, &random_id()).await;
    reserved.map_err(|error| Error::from_hot(at, "", error))
}

/// [`owner`], after it was looked what is under the value's key.
pub(crate) async fn owner_of(
    stores: &Arc<Stores>,
    at: Operation,
    model: &'static ModelDescriptor,
    position: usize,
    values: &EncodedRow,
    found: ValueContent,
) -> Result<Owner, Error> {
    let index = &model.unique[position];
    let rows = Rows::new(Arc::clone(stores), model);
    let has_value = async |key: &RowKey| {
        let row = rows.read(at, vec![key.clone()]).await?.pop().flatten();
        Ok::<_, Error>(row.filter(|row| has_values(model, index, row, values)))
    };
    let mut had_by = None;
    if let Some(known) = found.row_key().and_then(|key| stores.keys.parse_row(model, key)) {
        if let Some(row) = has_value(&known).await? {
            return Ok(Owner { found, row: Some((known, row)), had_by: None });
        }
        had_by = Some(known);
    }
    // Nothing is known, or what was has changed since.
    let fetched = stores.find_by(model, position, values).await;
    let fetched = fetched.map_err(|error| Error::from_durable(at, error))?;
    let Some(fetched) = fetched else { return Ok(Owner { found, row: None, had_by }) };
    let candidate = stores.keys.row(model, model.id_of(&fetched));
    let Some(row) = has_value(&candidate).await? else {
        return Ok(Owner { found, row: None, had_by: had_by.or(Some(candidate)) });
    };
    if found.taking().is_some() {
        // That write will find out.
        return Ok(Owner { found, row: Some((candidate, row)), had_by: None });
    }
    let key = stores.keys.value_key(model, index, values);
    let fill = ValueFill { key, found: found.clone(), row: candidate.clone() };
    if let Err(error) = stores.fill_value(&fill, rows.ttl()).await {
        tracing::debug!(%error, "the owner of a unique value was not noted");
    }
    Ok(Owner { found, row: Some((candidate, row)), had_by: None })
}

/// Asks whose the value of a unit's claim is: what the claim can go by, if it needs anything; an
/// error if it is that of a row which keeps it.
pub(crate) async fn probe(
    stores: &Arc<Stores>,
    at: Operation,
    unit: &Unit,
    row: &RowKey,
    claim: &Claim,
) -> Result<Option<FreeValue>, Error> {
    let mut tries = 0..TAKING_TRIES;
    loop {
        let Owner { mut found, row: owner, mut had_by } =
            owner(stores, at, row.model, claim.index, &claim.values).await?;
        if let Some((owner, _)) = owner {
            let is_others = owner.key != row.key && !gives_up(unit, &owner, claim.index);
            return match is_others {
                true => Err(not_unique(at, row, claim)),
                false => Ok(Some(FreeValue { found, after: None })),
            };
        }
        match found.taking().filter(|taking| taking.row_key != row.key) {
            Some(taking) if taking.is_late => {
                let partition = Partition { queue: row.model.queue, number: taking.partition };
                let revoked = stores.hot.revoke(partition, taking.nonce).await;
                revoked.map_err(|error| Error::from_hot(at, &row.id, error))?;
                // It may have been written before that.
                let owner =
                    owner_of(stores, at, row.model, claim.index, &claim.values, found).await?;
                if owner.row.is_some_and(|(owner, _)| owner.key != row.key) {
                    return Err(not_unique(at, row, claim));
                }
                (found, had_by) = (owner.found, owner.had_by);
            }
            Some(_) if tries.next().is_some() => {
                tokio::time::sleep(TAKING_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                continue;
            }
            Some(_) => return Err(Error::busy(at, &row.id)),
            None => {}
        }
        let after = match had_by {
            Some(key) => newest_entry(stores, at, &key).await?,
            None => None,
        };
        return Ok(Some(FreeValue { found, after }));
    }
}

/// The newest entry of a row that has given a value up, where Redis has the row: not older than the
/// one by which it did.
async fn newest_entry(
    stores: &Arc<Stores>,
    at: Operation,
    key: &RowKey,
) -> Result<Option<Dependency>, Error> {
    let observed = stores.observe(key, &random_id()).await;
    let observed = observed.map_err(|error| Error::from_hot(at, &key.id, error))?;
    let entry = observed.stamp.entry();
    Ok(entry.map(|entry| Dependency { partition: key.partition, entry }))
}

/// Whether a unit makes a row give up the value that it has by an index.
fn gives_up(unit: &Unit, owner: &RowKey, index: usize) -> bool {
    let is_owner = |row: &&UnitRow| row.key.key == owner.key;
    unit.rows.iter().find(is_owner).is_some_and(|row| match (&row.change, &row.claims) {
        (Some(Change::Patch(_)), Some(claims)) => claims.iter().any(|claim| claim.index == index),
        (Some(_), Some(_)) => true,
        _ => false,
    })
}

pub(crate) fn not_unique(at: Operation, row: &RowKey, claim: &Claim) -> Error {
    Error::NotUnique { at, id: row.id.clone(), fields: row.model.unique[claim.index].name }
}
