//! Draining: entries on a queue against rows in memory.

use std::time::Instant;

use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, RedisServer};
use kv_runtime::{Kv, Settings};

use crate::report::Report;
use crate::{Outcome, Ride, TABLE, per_second, rides};

const ROW: &str = "drain of creates";

pub(crate) async fn run(
    count: usize,
    redis: &RedisServer,
    postgres: &PostgresServer,
    round: usize,
    report: &mut Report,
) -> Outcome<()> {
    let url = postgres.create_database(&format!("drain{round}"))?;
    let mut connection = AsyncPgConnection::establish(&url).await?;
    connection.batch_execute(TABLE).await?;

    let rows = rides(count);
    let started = Instant::now();
    for chunk in rows.chunks(5_000) {
        unnest(&mut connection, chunk).await?;
    }
    report.add(ROW, "UNNEST by hand, 5,000", per_second(rows.len(), started.elapsed()));

    // As slow as it is, fewer rows tell the rate.
    let rows = rides(count / 50);
    let started = Instant::now();
    for ride in &rows {
        insert(&mut connection, ride).await?;
    }
    report.add(ROW, "one INSERT an entry", per_second(rows.len(), started.elapsed()));

    for (name, partitions) in [("kv-runtime, 1 partition", 1), ("kv-runtime, 64 partitions", 64)] {
        let url = postgres.create_database(&format!("kv{partitions}_{round}"))?;
        let mut connection = AsyncPgConnection::establish(&url).await?;
        connection.batch_execute(TABLE).await?;
        let mut settings = Settings::new(redis.url(), url.as_str());
        settings.partitions = partitions;
        settings.tenant = Some(format!("d{round}-{partitions}"));
        let kv = Kv::connect(settings).await?;
        kv.migrate().await?;
        let rows = rides(count);
        for chunk in rows.chunks(500) {
            for result in kv.repository::<Ride>().create_many(chunk).await {
                let _ = result?;
            }
        }
        let started = Instant::now();
        let drainer = kv.drainer().model::<Ride>().spawn();
        drainer.flush().await?;
        report.add(ROW, name, per_second(rows.len(), started.elapsed()));
        drainer.shutdown().await?;
        assert_eq!(kv.durable_rows::<Ride>().await?.len(), rows.len());
    }
    Ok(())
}

async fn unnest(connection: &mut AsyncPgConnection, rides: &[Ride]) -> Outcome<()> {
    diesel::sql_query(
        "INSERT INTO rides (id, rider, status, fare_cents, seats, created_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6)",
    )
    .bind::<Array<SqlUuid>, _>(rides.iter().map(|ride| ride.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rides.iter().map(|ride| ride.rider.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(rides.iter().map(|ride| ride.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(rides.iter().map(|ride| ride.fare_cents).collect::<Vec<_>>())
    .bind::<Array<Integer>, _>(rides.iter().map(|ride| ride.seats).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(rides.iter().map(|ride| ride.created_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert(connection: &mut AsyncPgConnection, ride: &Ride) -> Outcome<()> {
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
