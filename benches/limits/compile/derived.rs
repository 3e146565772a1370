//! A model of 20 columns, and a service's use of it.

use chrono::{DateTime, Utc};
use kv_runtime::{Error, Kv, KvModel};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "rides")]
pub struct Ride {
    #[kv(id)]
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

pub async fn run(kv: &Kv) -> Result<(), Error> {
    let rides = kv.repository::<Ride>();
    let ride = sample();
    let _ = rides.create(&ride).await?;
    let _ = rides.update(&ride.id, Ride::patch().status("done").seats(3)).await?;
    println!("{:?}", rides.get_by_id(&ride.id).await?);
    let _ = rides.delete(&ride.id).await?;
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
