//! The same work written by hand, without checks.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Pipeline};

use crate::{Outcome, Ride};

/// One multiplexed connection, as a service would have it.
pub(crate) struct ByHand {
    connection: MultiplexedConnection,
}

impl ByHand {
    pub(crate) async fn connect(url: &str) -> Outcome<Self> {
        let client = redis::Client::open(url)?;
        Ok(Self { connection: client.get_multiplexed_async_connection().await? })
    }

    pub(crate) fn create(&self, ride: Ride) -> impl Future<Output = ()> + use<> {
        let mut connection = self.connection.clone();
        async move {
            let mut transaction = redis::pipe();
            transaction.atomic();
            append(&mut transaction, &ride);
            transaction.exec_async(&mut connection).await.expect("the server is up");
        }
    }

    pub(crate) async fn create_many(&self, rides: &[Ride]) -> Outcome<()> {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for ride in rides {
            append(&mut pipeline, ride);
        }
        pipeline.exec_async(&mut self.connection.clone()).await?;
        Ok(())
    }

    pub(crate) fn get(&self, expected: Ride) -> impl Future<Output = ()> + use<> {
        let mut connection = self.connection.clone();
        async move {
            let key = format!("ride:{}", expected.id);
            let fields: Vec<(String, String)> =
                connection.hgetall(key).await.expect("the server is up");
            assert_eq!(decode(&fields), Some(expected));
        }
    }

    pub(crate) async fn flush_all(&self) -> Outcome<()> {
        redis::cmd("FLUSHALL").exec_async(&mut self.connection.clone()).await?;
        Ok(())
    }
}

fn append(pipeline: &mut Pipeline, ride: &Ride) {
    let id = ride.id.to_string();
    let created_at = ride.created_at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let key = format!("ride:{id}");
    let fare_cents = ride.fare_cents.to_string();
    let seats = ride.seats.to_string();
    let fields = [
        ("id", id.as_str()),
        ("rider", &ride.rider),
        ("status", &ride.status),
        ("fare_cents", &fare_cents),
        ("seats", &seats),
        ("created_at", &created_at),
    ];
    pipeline.hset_multiple(key, &fields).ignore();
    pipeline.cmd("XADD").arg("ride_queue").arg("*").arg(&fields).ignore();
}

fn decode(fields: &[(String, String)]) -> Option<Ride> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    Some(Ride {
        id: field("id")?.parse().ok()?,
        rider: field("rider")?.clone(),
        status: field("status")?.clone(),
        fare_cents: field("fare_cents")?.parse().ok()?,
        seats: field("seats")?.parse().ok()?,
        created_at: field("created_at")?.parse().ok()?,
    })
}
