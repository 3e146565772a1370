//! Ten times the partitions, the models, and the row's size.

mod models;

use crate::drain::{drain, own_pair, queue};
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, rate, rides};
use crate::{Bench, Outcome};

const IN_FLIGHT: usize = 64;

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    partitions(bench, report).await?;
    models::run(bench, report).await?;
    row_size(bench, report).await
}

async fn partitions(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let creates = Row::new("10 × the partitions: create", "rows/s", Goal::None);
    let drains = Row::new("10 × the partitions: drain", "rows/s", Goal::None);
    for (name, partitions) in [("64 partitions", 64), (OURS, 640)] {
        let pair_name = format!("p{partitions}");
        let kv = own_pair(bench, &pair_name, |it| it.partitions = partitions).await?;
        let repository = kv.repository::<Ride>();
        let rows = rides(bench.options.rows());
        let created = rate(&rows, IN_FLIGHT, async |ride| {
            let _ = repository.create(&ride).await.expect("a new row");
        });
        report.add(&creates, name, created.await);
        report.add(&drains, name, drain(&kv, rows.len()).await?);
    }
    Ok(())
}

/// The cost a byte, by a text that makes the row ten times as long.
async fn row_size(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let row = Row::new("10 × the row's size: drain", "MB/s", Goal::None);
    for (name, bytes) in [("130 bytes", 130), (OURS, 1_300)] {
        let kv = own_pair(bench, &format!("s{bytes}"), |_| ()).await?;
        let mut rows = rides(bench.options.rows());
        for ride in &mut rows {
            ride.rider.push_str(&"x".repeat(bytes - 130));
        }
        queue(&kv, &rows, &[], &[]).await?;
        let rate = drain(&kv, rows.len()).await?;
        report.add(&row, name, rate * bytes as f64 / 1e6);
    }
    Ok(())
}
