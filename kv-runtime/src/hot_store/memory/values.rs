//! Unique values in memory: the rules of `values.lua` and of `write_unit.lua` about them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::data::{Content, Data};
use crate::entry::{Change, EntryId};
use crate::hot_store::{Claim, Unit, UnitOutcome, ValueContent, ValueFill};

/// What is under the key of a unique value.
#[derive(Debug)]
pub(super) struct Value {
    content: ValueContent,
    /// `None` pins it.
    expires_at: Option<Instant>,
}

/// The keys of a row's unique values.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub(super) own: Vec<String>,
    /// Of those that it has given up, with the entry by which it did, until that is drained.
    freed: Vec<(EntryId, String)>,
}

impl Values {
    pub(super) fn of(own: Vec<String>) -> Self {
        Self { own, freed: Vec::new() }
    }
}

/// What the keys of an index begin with.
fn prefix(key: &str) -> &str {
    key.split_once(':').map_or(key, |(prefix, _)| prefix)
}

/// Whether a change makes its row give a value up.
fn is_replaced(key: &str, change: &Change, claims: &[Claim]) -> bool {
    let is_claimed = claims.iter().any(|claim| prefix(&claim.prefix) == prefix(key));
    is_claimed || !matches!(change, Change::Patch(_))
}

impl Data {
    fn value(&mut self, key: &str) -> Option<&ValueContent> {
        let has_expired = |value: &Value| value.expires_at.is_some_and(|at| at <= Instant::now());
        if self.values.get(key).is_some_and(has_expired) {
            self.values.remove(key);
        }
        self.values.get(key).map(|value| &value.content)
    }

    fn is_own(&mut self, value_key: &str, row_key: &str) -> bool {
        self.value(value_key).is_some_and(|found| found.row_key() == Some(row_key))
    }

    fn values_of(&mut self, row_key: &str) -> Values {
        match self.slot(row_key).map(|slot| &slot.content) {
            Some(Content::Row(stored) | Content::Tombstone(stored)) => stored.values.clone(),
            _ => Values::default(),
        }
    }

    pub(super) fn reserve_value(&mut self, key: &str, token: &str, ttl: Duration) -> ValueContent {
        if let Some(found) = self.value(key) {
            return found.clone();
        }
        let content = ValueContent::token(token);
        let expires_at = Some(Instant::now() + ttl);
        self.values.insert(key.to_owned(), Value { content: content.clone(), expires_at });
        content
    }

    pub(super) fn fill_value(&mut self, fill: &ValueFill, ttl: Duration) {
        if self.value(&fill.key) == Some(&fill.found) {
            let content = ValueContent::taken(EntryId::ZERO, &fill.row.key);
            let expires_at = Some(Instant::now() + ttl);
            self.values.insert(fill.key.clone(), Value { content, expires_at });
        }
    }

    /// Why a unit cannot have one of the values that it claims, if it cannot.
    pub(super) fn claim_refusal(&mut self, unit: &Unit) -> Option<UnitOutcome> {
        let mut freed = HashSet::new();
        for row in &unit.rows {
            let (Some(change), Some(claims)) = (&row.change, &row.claims) else { continue };
            for key in self.values_of(&row.key.key).own {
                if is_replaced(&key, change, claims) && self.is_own(&key, &row.key.key) {
                    freed.insert(key);
                }
            }
        }
        for (place, row) in unit.rows.iter().enumerate() {
            for (claim_place, claim) in row.claims.iter().flatten().enumerate() {
                let Some(key) = &claim.key else { continue };
                let free = claim.probe.as_ref().map(|free| &free.found);
                let is_free = self.value(key).is_some_and(|found| {
                    found.row_key() == Some(&row.key.key) || free == Some(found)
                });
                if !is_free && !freed.contains(key) {
                    return Some(UnitOutcome::ValueRefused { row: place, claim: claim_place });
                }
            }
        }
        None
    }

    /// Gives up values and takes others: the keys of those that the row has then.
    pub(super) fn take_values(
        &mut self,
        row_key: &str,
        change: &Change,
        entry: EntryId,
        claims: &[Claim],
    ) -> Values {
        let mut values = self.values_of(row_key);
        let claimed: Vec<&String> = claims.iter().filter_map(|claim| claim.key.as_ref()).collect();
        values.freed.retain(|(_, key)| !claimed.contains(&key));
        for key in std::mem::take(&mut values.own) {
            if !is_replaced(&key, change, claims) {
                values.own.push(key);
            } else if !claimed.contains(&&key) && self.is_own(&key, row_key) {
                values.freed.push((entry, key));
            }
        }
        values.own.extend(claimed.iter().map(|key| (*key).clone()));
        self.give_values(row_key, entry, claimed);
        values
    }

    /// Has values be those of a row, by an entry.
    pub(super) fn give_values<'a>(
        &mut self,
        row_key: &str,
        entry: EntryId,
        keys: impl IntoIterator<Item = &'a String>,
    ) {
        for key in keys {
            let content = ValueContent::taken(entry, row_key);
            self.values.insert(key.clone(), Value { content, expires_at: None });
        }
    }

    /// Forgets what a row has given up by entries that are drained.
    pub(super) fn forget_freed(&mut self, row_key: &str, up_to: EntryId) {
        let mut values = self.values_of(row_key);
        let (drained, left) = values.freed.into_iter().partition(|(entry, _)| *entry <= up_to);
        values.freed = left;
        self.release(row_key, drained);
        if let Some(Content::Row(stored) | Content::Tombstone(stored)) =
            self.slot(row_key).map(|slot| &mut slot.content)
        {
            stored.values = values;
        }
    }

    /// Lets a row's values go with it.
    pub(super) fn release_values(&mut self, row_key: &str) {
        let Values { own, freed } = self.values_of(row_key);
        self.release(
            row_key,
            own.into_iter().map(|key| (EntryId::ZERO, key)).chain(freed).collect(),
        );
    }

    fn release(&mut self, row_key: &str, values: Vec<(EntryId, String)>) {
        for (_, key) in values {
            if self.is_own(&key, row_key) {
                self.values.remove(&key);
            }
        }
    }

    /// Lets a row's values expire with it.
    pub(super) fn expire_values(&mut self, row_key: &str, ttl: Duration) {
        for key in self.values_of(row_key).own {
            if self.is_own(&key, row_key)
                && let Some(value) = self.values.get_mut(&key)
            {
                value.expires_at = Some(Instant::now() + ttl);
            }
        }
    }
}
