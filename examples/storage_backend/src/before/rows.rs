//! The table, and what is read from it and written to it.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::prelude::*;

use super::RepositoryError;
use crate::models::{Bsp, NewBsp};
use crate::values::Digest;

diesel::table! {
    bsps (id) {
        id -> BigInt,
        onchain_bsp_id -> Text,
        account -> Text,
        capacity -> Numeric,
        stake -> Numeric,
        last_tick_proven -> Nullable<BigInt>,
        merkle_root -> Binary,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

/// A row as it is read.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = bsps, check_for_backend(diesel::pg::Pg))]
pub(super) struct BspRow {
    id: i64,
    onchain_bsp_id: String,
    account: String,
    capacity: BigDecimal,
    stake: BigDecimal,
    last_tick_proven: Option<i64>,
    merkle_root: Vec<u8>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A row as it is made: the database gives the id.
#[derive(Debug, Insertable)]
#[diesel(table_name = bsps)]
pub(super) struct NewBspRow {
    onchain_bsp_id: String,
    account: String,
    capacity: BigDecimal,
    stake: BigDecimal,
    last_tick_proven: Option<i64>,
    merkle_root: Vec<u8>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<NewBsp> for NewBspRow {
    fn from(new: NewBsp) -> Self {
        let now = Utc::now();
        Self {
            onchain_bsp_id: new.onchain_bsp_id.to_string(),
            account: new.account,
            capacity: new.capacity.into(),
            stake: new.stake.into(),
            last_tick_proven: None,
            merkle_root: Digest::ZERO.0.to_vec(),
            created_at: now,
            updated_at: now,
        }
    }
}

impl TryFrom<BspRow> for Bsp {
    type Error = RepositoryError;

    fn try_from(row: BspRow) -> Result<Self, RepositoryError> {
        let invalid = RepositoryError::Invalid;
        let root = row.merkle_root.try_into().map_err(|_| invalid("merkle_root"))?;
        Ok(Self {
            id: row.id,
            onchain_bsp_id: row.onchain_bsp_id.parse().map_err(|_| invalid("onchain_bsp_id"))?,
            account: row.account,
            capacity: row.capacity.try_into().map_err(|_| invalid("capacity"))?,
            stake: row.stake.try_into().map_err(|_| invalid("stake"))?,
            last_tick_proven: row.last_tick_proven,
            merkle_root: Digest(root),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
