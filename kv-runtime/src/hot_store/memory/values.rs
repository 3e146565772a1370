//! Unique values in memory: the rules of `values.lua` and of `write_unit.lua` about them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::data::{Content, Data};
use crate::entry::{Change, Dependency, EntryId};
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
    /// Of those that it has given up, until that is drained.
    freed: Vec<String>,
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

    /// The entry by which a row has given a value up, if it has.
    fn given_up(&mut self, value_key: &str, row_key: &str) -> Option<EntryId> {
        let (by, of_row) = self.value(value_key)?.free()?;
        (of_row == row_key).then_some(by.entry)
    }

    fn put_value(&mut self, key: &str, content: ValueContent) {
        self.values.insert(key.to_owned(), Value { content, expires_at: None });
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

    /// What the unit has to take effect after; or why it cannot have one of the values that it claims.
    pub(super) fn check_claims(&mut self, unit: &Unit) -> Result<Vec<Dependency>, UnitOutcome> {
        let mut freed = HashSet::new();
        for row in &unit.rows {
            let (Some(change), Some(claims)) = (&row.change, &row.claims) else { continue };
            for key in self.values_of(&row.key.key).own {
                if is_replaced(&key, change, claims) && self.is_own(&key, &row.key.key) {
                    freed.insert(key);
                }
            }
        }
        let mut after = Vec::new();
        for (place, row) in unit.rows.iter().enumerate() {
            for (claim_place, claim) in row.claims.iter().flatten().enumerate() {
                let Some(key) = &claim.key else { continue };
                let found = self.value(key);
                if let Some((by, _)) = found.and_then(ValueContent::free) {
                    after.push(by);
                    continue;
                }
                let is_free = found.is_some_and(|found| {
                    found.row_key() == Some(&row.key.key) || claim.probe.as_ref() == Some(found)
                });
                if !is_free && !freed.contains(key) {
                    return Err(UnitOutcome::ValueRefused { row: place, claim: claim_place });
                }
            }
        }
        after.retain(|by| by.partition != unit.partition.number);
        Ok(after)
    }

    /// Gives up values and takes others: the keys of those that the row has then.
    pub(super) fn take_values(
        &mut self,
        row_key: &str,
        change: &Change,
        by: Dependency,
        claims: &[Claim],
    ) -> Values {
        let mut values = self.values_of(row_key);
        for key in std::mem::take(&mut values.own) {
            if !is_replaced(&key, change, claims) {
                values.own.push(key);
                continue;
            }
            let is_others =
                |found: &ValueContent| !found.is_token() && found.row_key() != Some(row_key);
            if !self.value(&key).is_some_and(is_others) {
                self.put_value(&key, ValueContent::given_up(by, row_key));
                values.freed.push(key);
            }
        }
        for key in claims.iter().filter_map(|claim| claim.key.as_ref()) {
            self.put_value(key, ValueContent::taken(by.entry, row_key));
            values.own.push(key.clone());
        }
        let mut seen = HashSet::new();
        values
            .freed
            .retain(|key| self.given_up(key, row_key).is_some() && seen.insert(key.clone()));
        values
    }

    /// Forgets what a row has given up by entries that are drained.
    pub(super) fn forget_freed(&mut self, row_key: &str, up_to: EntryId) {
        let mut values = self.values_of(row_key);
        values.freed.retain(|key| match self.given_up(key, row_key) {
            Some(entry) if entry > up_to => true,
            Some(_) => {
                self.values.remove(key);
                false
            }
            None => false,
        });
        if let Some(Content::Row(stored) | Content::Tombstone(stored)) =
            self.slot(row_key).map(|slot| &mut slot.content)
        {
            stored.values = values;
        }
    }

    /// Lets a row's values go with it.
    pub(super) fn release_values(&mut self, row_key: &str) {
        let values = self.values_of(row_key);
        for key in values.own.iter().chain(&values.freed) {
            if self.is_own(key, row_key) || self.given_up(key, row_key).is_some() {
                self.values.remove(key);
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
