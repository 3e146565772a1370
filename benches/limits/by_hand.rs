//! The same work written by hand for Redis, without checks.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, Pipeline};

use crate::ride::Ride;
use crate::{Bench, Outcome};

/// A connection of one's own.
pub(crate) async fn connection(bench: &Bench) -> Outcome<MultiplexedConnection> {
    let client = redis::Client::open(bench.redis.url())?;
    // On a busy machine a call may take longer than the client waits by default.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

/// One multiplexed connection, as a service would have it.
pub(crate) struct ByHand {
    connection: MultiplexedConnection,
}

impl ByHand {
    pub(crate) async fn connect(bench: &Bench) -> Outcome<Self> {
        Ok(Self { connection: connection(bench).await? })
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

    /// Two columns.
    pub(crate) fn update(&self, ride: Ride) -> impl Future<Output = ()> + use<> {
        let mut connection = self.connection.clone();
        async move {
            let id = ride.id.to_string();
            let fare_cents = (ride.fare_cents + 1).to_string();
            let mut transaction = redis::pipe();
            transaction.atomic();
            let fields = [("status", "done"), ("fare_cents", &fare_cents)];
            transaction.hset_multiple(format!("ride:{id}"), &fields).ignore();
            transaction.cmd("XADD").arg(&["ride_queue", "*", "id", &id]).arg(&fields).ignore();
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

    pub(crate) async fn get_many(&self, expected: &[Ride]) -> Outcome<()> {
        let mut pipeline = redis::pipe();
        for ride in expected {
            pipeline.hgetall(format!("ride:{}", ride.id));
        }
        let rows: Vec<Vec<(String, String)>> =
            pipeline.query_async(&mut self.connection.clone()).await?;
        for (fields, ride) in rows.iter().zip(expected) {
            assert_eq!(decode(fields).as_ref(), Some(ride));
        }
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
