//! Draining what is queued, against statements by hand over rows in memory.

use std::time::Instant;

use diesel_async::AsyncPgConnection;
use kv_runtime::{Kv, Settings};
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, FromRedisValue};

use crate::by_hand::ByHand;
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, per_second, rides};
use crate::{Bench, Outcome, by_hand, durable, process};

const UNIT: &str = "rows/s";
/// Rows of a statement by hand, and of a batch.
const BATCH: usize = 5_000;
const UNNEST: &str = "UNNEST by hand, 5,000";

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    // More of them, so that the first read and the last settling do not weigh much.
    let rows = rides(bench.options.rows() * 5);
    let patched = Kind::Patches;
    for kind in [Kind::Creates, patched, Kind::Mix] {
        one_partition(bench, kind, &rows, report).await?;
    }
    all_partitions(bench, &rows, report).await?;
    as_others_do(bench, &rows[..rows.len() / 50], report).await?;
    by_batch_size(bench, &rows, report).await
}

/// What is queued.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Creates,
    /// Two columns of rows that PostgreSQL has.
    Patches,
    /// For each ten creates four patches of those rows' elders, and one deletion.
    Mix,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Creates => "creates",
            Self::Patches => "patches",
            Self::Mix => "mix",
        }
    }

    /// Rows that PostgreSQL has before, and those that are created by what is queued.
    fn split(self, rows: &[Ride]) -> (&[Ride], &[Ride]) {
        match self {
            Self::Creates => (&[], rows),
            Self::Patches => (rows, &[]),
            Self::Mix => rows.split_at(rows.len() / 3),
        }
    }

    /// Of the rows before, those that are patched and those that are deleted.
    fn changed(self, before: &[Ride]) -> (&[Ride], &[Ride]) {
        match self {
            Self::Creates => (&[], &[]),
            Self::Patches => (before, &[]),
            Self::Mix => before.split_at(before.len() * 4 / 5),
        }
    }
}

async fn one_partition(
    bench: &Bench,
    kind: Kind,
    rows: &[Ride],
    report: &mut Report,
) -> Outcome<()> {
    let name = format!("drain of {}, one partition", kind.name());
    let row = Row::new(name, UNIT, Goal::AtLeast(0.9));
    let (before, new) = kind.split(rows);
    let (patched, deleted) = kind.changed(before);
    let count = new.len() + patched.len() + deleted.len();

    let url = durable::database(bench, &format!("hand_{}", kind.name())).await?;
    let mut connection = durable::connect(&url).await?;
    insert_all(&mut connection, before).await?;
    let started = Instant::now();
    by_statements(&mut connection, new, patched, deleted).await?;
    report.add(&row, UNNEST, per_second(count, started));

    let kv = own_pair(bench, &format!("one_{}", kind.name()), |it| it.partitions = 1).await?;
    queue(&kv, before, &[], &[]).await?;
    kv.drainer().model::<Ride>().spawn().shutdown().await?;
    queue(&kv, new, patched, deleted).await?;
    let before = Costs::now(bench).await?;
    report.add(&row, OURS, drain(&kv, count).await?);
    let costs = Costs::now(bench).await?;
    for (who, before, after) in [
        ("the drainer", before.drainer, costs.drainer),
        ("Redis", before.redis, costs.redis),
        ("PostgreSQL", before.postgres, costs.postgres),
    ] {
        let row = Row::new(format!("drain of {}, CPU of {who}", kind.name()), "µs/row", Goal::None);
        report.add(&row, OURS, (after - before) * 1e6 / count as f64);
    }
    Ok(())
}

/// The seconds of processor time that everybody has used.
struct Costs {
    drainer: f64,
    redis: f64,
    postgres: f64,
}

impl Costs {
    async fn now(bench: &Bench) -> Outcome<Self> {
        Ok(Self {
            drainer: process::own_cpu_seconds()?,
            redis: process::cpu_seconds(process::redis(bench).await?)?,
            postgres: process::cpu_seconds(process::postmaster(bench).await?)?,
        })
    }
}

/// As a batch does it: a statement a kind.
async fn by_statements(
    connection: &mut AsyncPgConnection,
    new: &[Ride],
    patched: &[Ride],
    deleted: &[Ride],
) -> Outcome<()> {
    let count = new.len() + patched.len() + deleted.len();
    let batches = count.div_ceil(BATCH);
    let size = |rows: &[Ride]| rows.len().div_ceil(batches).max(1);
    let mut created = new.chunks(size(new));
    let mut updated = patched.chunks(size(patched));
    let mut removed = deleted.chunks(size(deleted));
    for _ in 0..batches {
        if let Some(rows) = created.next() {
            durable::unnest(connection, rows).await?;
        }
        if let Some(rows) = updated.next() {
            durable::unnest_update(connection, rows).await?;
        }
        if let Some(rows) = removed.next() {
            durable::delete(connection, rows).await?;
        }
    }
    Ok(())
}

async fn insert_all(connection: &mut AsyncPgConnection, rows: &[Ride]) -> Outcome<()> {
    for chunk in rows.chunks(BATCH) {
        durable::unnest(connection, chunk).await?;
    }
    Ok(())
}

async fn all_partitions(bench: &Bench, rows: &[Ride], report: &mut Report) -> Outcome<()> {
    let row = Row::new("drain of creates, all partitions", UNIT, Goal::AtLeast(1.2));
    let url = durable::database(bench, "copy").await?;
    let mut copy = durable::Copy::connect(&url).await?;
    let started = Instant::now();
    for chunk in rows.chunks(BATCH) {
        copy.upsert(chunk).await?;
    }
    report.add(&row, "binary COPY, staging, upsert", per_second(rows.len(), started));
    let kv = own_pair(bench, "all", |_| ()).await?;
    queue(&kv, rows, &[], &[]).await?;
    report.add(&row, OURS, drain(&kv, rows.len()).await?);
    Ok(())
}

/// The way of the known drainers: entries a hundred at a time, each inserted by itself.
async fn as_others_do(bench: &Bench, rows: &[Ride], report: &mut Report) -> Outcome<()> {
    let row = Row::new("drain, one process", UNIT, Goal::AtLeast(30.0));
    let by_hand = ByHand::connect(bench).await?;
    for chunk in rows.chunks(100) {
        by_hand.create_many(chunk).await?;
    }
    let url = durable::database(bench, "others").await?;
    let mut connection = durable::connect(&url).await?;
    let mut redis = by_hand::connection(bench).await?;
    let (mut drained, mut position) = (0, "0-0".to_owned());
    let started = Instant::now();
    while drained < rows.len() {
        let options = StreamReadOptions::default().count(100);
        let reply: StreamReadReply =
            redis.xread_options(&["ride_queue"], &[&position], &options).await?;
        let entries = reply.keys.into_iter().flat_map(|stream| stream.ids);
        for entry in entries {
            let column = |name: &str| -> Outcome<String> {
                let value = entry.map.get(name).ok_or("a column is missing")?;
                Ok(String::from_redis_value_ref(value)?)
            };
            let ride = Ride {
                id: column("id")?.parse()?,
                rider: column("rider")?,
                status: column("status")?,
                fare_cents: column("fare_cents")?.parse()?,
                seats: column("seats")?.parse()?,
                created_at: column("created_at")?.parse()?,
            };
            durable::insert(&mut connection, &ride).await?;
            position = entry.id;
            drained += 1;
        }
        let trim = redis::cmd("XTRIM").arg(&["ride_queue", "MINID", &position]).to_owned();
        trim.exec_async(&mut redis).await?;
    }
    report.add(&row, "XREAD 100, INSERT each, XTRIM", per_second(drained, started));
    let kv = own_pair(bench, "process", |_| ()).await?;
    let rows = rides(bench.options.rows() * 5);
    queue(&kv, &rows, &[], &[]).await?;
    report.add(&row, OURS, drain(&kv, rows.len()).await?);
    Ok(())
}

/// For the plot.
async fn by_batch_size(bench: &Bench, rows: &[Ride], report: &mut Report) -> Outcome<()> {
    if bench.round > 1 {
        return Ok(());
    }
    for size in [100, 500, 1_000, 2_500, 5_000, 10_000] {
        let count = (size * 20).min(rows.len());
        let name = format!("batch_{size}");
        let kv = own_pair(bench, &name, |settings| settings.drain.batch_entries = size).await?;
        queue(&kv, &rows[..count], &[], &[]).await?;
        report.batches.push((size, drain(&kv, count).await?));
    }
    Ok(())
}

/// A pair of stores over a database of its own.
pub(crate) async fn own_pair(
    bench: &Bench,
    name: &str,
    change: impl FnOnce(&mut Settings),
) -> Outcome<Kv> {
    let url = durable::database(bench, &format!("kv_{name}")).await?;
    let mut settings = Settings::new(bench.redis.url(), url.as_str());
    settings.tenant = Some(format!("{name}-{}", bench.round));
    settings.drain.batch_entries = BATCH;
    settings.queue_capacity = 10_000_000;
    change(&mut settings);
    let kv = Kv::connect(settings).await?;
    kv.migrate().await?;
    Ok(kv)
}

/// Writes that stay on the queue: no drainer is there yet.
pub(crate) async fn queue(
    kv: &Kv,
    new: &[Ride],
    patched: &[Ride],
    deleted: &[Ride],
) -> Outcome<()> {
    let repository = kv.repository::<Ride>();
    let mut results = Vec::new();
    for chunk in new.chunks(500) {
        results.extend(repository.create_many(chunk).await);
    }
    let patch = |ride: &Ride| {
        let patch = Ride::patch().status("done").fare_cents(ride.fare_cents + 1);
        (ride.id, patch)
    };
    for chunk in patched.chunks(500) {
        let patches: Vec<_> = chunk.iter().map(patch).collect();
        results.extend(repository.update_many(&patches).await);
    }
    for chunk in deleted.chunks(500) {
        let ids: Vec<_> = chunk.iter().map(|ride| ride.id).collect();
        results.extend(repository.delete_many(&ids).await);
    }
    for result in results {
        let _ = result?;
    }
    Ok(())
}

/// Drains what is queued, and answers entries per second.
pub(crate) async fn drain(kv: &Kv, count: usize) -> Outcome<f64> {
    let started = Instant::now();
    let drainer = kv.drainer().model::<Ride>().spawn();
    drainer.flush().await?;
    let rate = per_second(count, started);
    let status = drainer.shutdown().await?;
    assert_eq!(status.entries_drained, count as u64, "all of it is drained");
    assert_eq!(status.dead_letters, 0, "nothing is refused");
    Ok(rate)
}
