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

    fn values_of(&mut self, row_key: &str) -> Vec<String> {
        match self.slot(row_key).map(|slot| &slot.content) {
            Some(Content::Row(stored)) => stored.value_keys.clone(),
            _ => Vec::new(),
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
            let content = ValueContent(format!("row {} {}", EntryId::ZERO, fill.row.key));
            let expires_at = Some(Instant::now() + ttl);
            self.values.insert(fill.key.clone(), Value { content, expires_at });
        }
    }

    /// Why a unit cannot have one of the values that it claims, if it cannot.
    pub(super) fn claim_refusal(&mut self, unit: &Unit) -> Option<UnitOutcome> {
        let mut freed = HashSet::new();
        for row in &unit.rows {
            let (Some(change), Some(claims)) = (&row.change, &row.claims) else { continue };
            for key in self.values_of(&row.key.key) {
                if is_replaced(&key, change, claims) && self.is_own(&key, &row.key.key) {
                    freed.insert(key);
                }
            }
        }
        for (place, row) in unit.rows.iter().enumerate() {
            for (claim_place, claim) in row.claims.iter().flatten().enumerate() {
                let Some(key) = &claim.key else { continue };
                let is_free = self.value(key).is_some_and(|found| {
                    found.row_key() == Some(&row.key.key) || claim.probe.as_ref() == Some(found)
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
    ) -> Vec<String> {
        let mut kept = Vec::new();
        for key in self.values_of(row_key) {
            if !is_replaced(&key, change, claims) {
                kept.push(key);
            } else if self.is_own(&key, row_key) {
                self.values.remove(&key);
            }
        }
        for key in claims.iter().filter_map(|claim| claim.key.as_ref()) {
            let content = ValueContent(format!("row {entry} {row_key}"));
            self.values.insert(key.clone(), Value { content, expires_at: None });
            kept.push(key.clone());
        }
        kept
    }

    /// Lets a row's values go with it.
    pub(super) fn release_values(&mut self, row_key: &str) {
        for key in self.values_of(row_key) {
            if self.is_own(&key, row_key) {
                self.values.remove(&key);
            }
        }
    }

    /// Lets a row's values expire with it.
    pub(super) fn expire_values(&mut self, row_key: &str, ttl: Duration) {
        for key in self.values_of(row_key) {
            if self.is_own(&key, row_key)
                && let Some(value) = self.values.get_mut(&key)
            {
                value.expires_at = Some(Instant::now() + ttl);
            }
        }
    }
}
