//! Creates and updates, against one transaction of Redis by hand.

use std::time::Instant;

use kv_runtime::{Kv, Repository, Settings};

use crate::by_hand::ByHand;
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, per_second, rate, rides};
use crate::{Bench, Outcome};

const BY_HAND: &str = "MULTI HSET XADD EXEC";
/// Rows of one `create_many`.
const MANY: usize = 100;

/// A pair of stores over one connection, as the one by hand has it.
pub(crate) async fn connect(bench: &Bench, tenant: &str) -> Outcome<Kv> {
    let mut settings = Settings::new(bench.redis.url(), bench.postgres.url());
    settings.redis.connections = 1;
    settings.tenant = Some(format!("{tenant}{}", bench.round));
    Ok(Kv::connect(settings).await?)
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let by_hand = ByHand::connect(bench).await?;
    let repository = connect(bench, "w").await?.repository::<Ride>();
    for in_flight in [1, 64, 256] {
        let count = if in_flight == 1 { bench.options.rows() / 10 } else { bench.options.rows() };
        one_by_one(&by_hand, &repository, count, in_flight, report).await;
    }
    many(&by_hand, &repository, bench.options.rows(), report).await
}

async fn one_by_one(
    by_hand: &ByHand,
    repository: &Repository<Ride>,
    count: usize,
    in_flight: usize,
    report: &mut Report,
) {
    let goal = Goal::AtLeast(0.9);
    let row = Row::new(format!("create, {in_flight} in flight"), "rows/s", goal);
    let hand_rows = rides(count);
    let hand = rate(&hand_rows, in_flight, |ride| by_hand.create(ride)).await;
    report.add(&row, BY_HAND, hand);
    let own_rows = rides(count);
    let own = rate(&own_rows, in_flight, async |ride| {
        let _ = repository.create(&ride).await.expect("a new row");
    });
    report.add(&row, OURS, own.await);

    let row = Row::new(format!("update, {in_flight} in flight"), "rows/s", goal);
    let hand = rate(&hand_rows, in_flight, |ride| by_hand.update(ride)).await;
    report.add(&row, BY_HAND, hand);
    let own = rate(&own_rows, in_flight, async |ride| {
        let patch = Ride::patch().status("done").fare_cents(ride.fare_cents + 1);
        let _ = repository.update(&ride.id, patch).await.expect("the row is there");
    });
    report.add(&row, OURS, own.await);
}

async fn many(
    by_hand: &ByHand,
    repository: &Repository<Ride>,
    count: usize,
    report: &mut Report,
) -> Outcome<()> {
    let row = Row::new(format!("create_many of {MANY}"), "rows/s", Goal::AtLeast(0.8));
    let rows = rides(count);
    let started = Instant::now();
    for chunk in rows.chunks(MANY) {
        by_hand.create_many(chunk).await?;
    }
    report.add(&row, "the same in one pipeline", per_second(count, started));
    let rows = rides(count);
    let started = Instant::now();
    for chunk in rows.chunks(MANY) {
        for result in repository.create_many(chunk).await {
            let _ = result?;
        }
    }
    report.add(&row, OURS, per_second(count, started));
    Ok(())
}
