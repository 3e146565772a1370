//! The same work written by hand for PostgreSQL, over one connection.

use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::pin_mut;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::ride::{Ride, TABLE};
use crate::{Bench, Outcome};

/// A database of its own with the table.
pub(crate) async fn database(bench: &Bench, name: &str) -> Outcome<String> {
    let url = bench.postgres.create_database(&format!("{name}_{}", bench.round))?;
    AsyncPgConnection::establish(&url).await?.batch_execute(TABLE).await?;
    Ok(url)
}

pub(crate) async fn connect(url: &str) -> Outcome<AsyncPgConnection> {
    Ok(AsyncPgConnection::establish(url).await?)
}

/// Inserts rows by one statement, an array a column.
pub(crate) async fn unnest(connection: &mut AsyncPgConnection, rides: &[Ride]) -> Outcome<()> {
    diesel::sql_query(
        "INSERT INTO rides (id, rider, status, fare_cents, seats, created_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    )
    .bind::<Array<SqlUuid>, _>(ids(rides))
    .bind::<Array<Text>, _>(rides.iter().map(|ride| ride.rider.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rides.iter().map(|ride| ride.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(rides.iter().map(|ride| ride.fare_cents).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(rides.iter().map(|ride| ride.seats).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rides.iter().map(|ride| ride.created_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets two columns of rows by one statement.
pub(crate) async fn unnest_update(
    connection: &mut AsyncPgConnection,
    rides: &[Ride],
) -> Outcome<()> {
    diesel::sql_query(
        "UPDATE rides AS t SET status = u.status, fare_cents = u.fare_cents \
         FROM unnest($1, $2, $3) AS u (id, status, fare_cents) WHERE t.id = u.id",
    )
    .bind::<Array<SqlUuid>, _>(ids(rides))
    .bind::<Array<Text>, _>(vec!["done"; rides.len()])
    .bind::<Array<BigInt>, _>(rides.iter().map(|ride| ride.fare_cents + 1).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes rows by one statement.
pub(crate) async fn delete(connection: &mut AsyncPgConnection, rides: &[Ride]) -> Outcome<()> {
    let statement = diesel::sql_query("DELETE FROM rides WHERE id = ANY($1)");
    statement.bind::<Array<SqlUuid>, _>(ids(rides)).execute(connection).await?;
    Ok(())
}

/// Inserts one row, in a transaction of its own.
pub(crate) async fn insert(connection: &mut AsyncPgConnection, ride: &Ride) -> Outcome<()> {
    diesel::sql_query(
        "INSERT INTO rides (id, rider, status, fare_cents, seats, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind::<SqlUuid, _>(ride.id)
    .bind::<Text, _>(&ride.rider)
    .bind::<Text, _>(&ride.status)
    .bind::<BigInt, _>(ride.fare_cents)
    .bind::<Integer, _>(ride.seats)
    .bind::<Timestamptz, _>(ride.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

fn ids(rides: &[Ride]) -> Vec<Uuid> {
    rides.iter().map(|ride| ride.id).collect()
}

/// Rows by binary COPY into a table beside, and from there.
pub(crate) struct Copy {
    client: Client,
}

impl Copy {
    pub(crate) async fn connect(url: &str) -> Outcome<Self> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        // It ends with the client.
        drop(tokio::spawn(connection));
        let staging = "CREATE TEMPORARY TABLE staging (LIKE rides) ON COMMIT DELETE ROWS";
        client.batch_execute(staging).await?;
        Ok(Self { client })
    }

    pub(crate) async fn upsert(&mut self, rides: &[Ride]) -> Outcome<()> {
        let transaction = self.client.transaction().await?;
        let sink = transaction.copy_in("COPY staging FROM STDIN BINARY").await?;
        let types = [Type::UUID, Type::TEXT, Type::TEXT, Type::INT8, Type::INT4, Type::TIMESTAMPTZ];
        let writer = BinaryCopyInWriter::new(sink, &types);
        pin_mut!(writer);
        for ride in rides {
            let Ride { id, rider, status, fare_cents, seats, created_at } = ride;
            writer.as_mut().write(&[id, rider, status, fare_cents, seats, created_at]).await?;
        }
        writer.finish().await?;
        let upsert = "INSERT INTO rides SELECT * FROM staging ON CONFLICT (id) DO UPDATE SET \
            rider = EXCLUDED.rider, status = EXCLUDED.status, fare_cents = EXCLUDED.fare_cents, \
            seats = EXCLUDED.seats, created_at = EXCLUDED.created_at";
        transaction.batch_execute(upsert).await?;
        Ok(transaction.commit().await?)
    }
}
