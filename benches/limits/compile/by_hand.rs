//! The same with the five derives of Diesel and the two of serde.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

diesel::table! {
    rides (id) {
        id -> Uuid,
        reference -> Text,
        rider_id -> Uuid,
        driver_id -> Nullable<Uuid>,
        status -> Text,
        city -> Text,
        fare_cents -> BigInt,
        tip_cents -> Nullable<BigInt>,
        currency -> Text,
        seats -> Integer,
        distance_m -> Integer,
        rating -> Nullable<Integer>,
        surge -> Double,
        is_paid -> Bool,
        is_shared -> Bool,
        note -> Nullable<Text>,
        requested_at -> Timestamptz,
        started_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

#[derive(
    Debug,
    Clone,
    PartialEq,
    Queryable,
    Selectable,
    Insertable,
    AsChangeset,
    Identifiable,
    Serialize,
    Deserialize,
)]
#[diesel(table_name = rides, check_for_backend(diesel::pg::Pg))]
pub struct Ride {
    pub id: Uuid,
    pub reference: String,
    pub rider_id: Uuid,
    pub driver_id: Option<Uuid>,
    pub status: String,
    pub city: String,
    pub fare_cents: i64,
    pub tip_cents: Option<i64>,
    pub currency: String,
    pub seats: i32,
    pub distance_m: i32,
    pub rating: Option<i32>,
    pub surge: f64,
    pub is_paid: bool,
    pub is_shared: bool,
    pub note: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub updated_at: DateTime<Utc>,
}

pub async fn run(
    connection: &mut AsyncPgConnection,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let ride = sample();
    diesel::insert_into(rides::table).values(&ride).execute(connection).await?;
    diesel::update(&ride).set(&ride).execute(connection).await?;
    let found: Ride =
        rides::table.find(ride.id).select(Ride::as_select()).first(connection).await?;
    let cached: Ride = serde_json::from_str(&serde_json::to_string(&found)?)?;
    println!("{cached:?}");
    diesel::delete(rides::table.find(ride.id)).execute(connection).await?;
    Ok(())
}

fn sample() -> Ride {
    Ride {
        id: Uuid::nil(),
        reference: "AB-12".to_owned(),
        rider_id: Uuid::nil(),
        driver_id: None,
        status: "new".to_owned(),
        city: "Rome".to_owned(),
        fare_cents: 1_250,
        tip_cents: None,
        currency: "EUR".to_owned(),
        seats: 2,
        distance_m: 7_300,
        rating: None,
        surge: 1.0,
        is_paid: false,
        is_shared: false,
        note: None,
        requested_at: DateTime::UNIX_EPOCH,
        started_at: None,
        ended_at: None,
        updated_at: DateTime::UNIX_EPOCH,
    }
}
