//! Reads of rows that Redis has, against HGETALL by hand.

use std::time::Instant;

use crate::by_hand::ByHand;
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, per_second, rate, rides};
use crate::writes::connect;
use crate::{Bench, Outcome};

/// Rows of one `get_many`.
const MANY: usize = 100;

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let by_hand = ByHand::connect(bench).await?;
    let repository = connect(bench, "r").await?.repository::<Ride>();
    let rows = rides(bench.options.rows());
    for chunk in rows.chunks(MANY) {
        by_hand.create_many(chunk).await?;
        for result in repository.create_many(chunk).await {
            let _ = result?;
        }
    }
    for in_flight in [1, 64, 256] {
        let rows = if in_flight == 1 { &rows[..rows.len() / 10] } else { &rows[..] };
        let name = format!("get_by_id, {in_flight} in flight");
        let row = Row::new(name, "rows/s", Goal::AtLeast(0.95));
        report.add(&row, "HGETALL", rate(rows, in_flight, |ride| by_hand.get(ride)).await);
        let own = rate(rows, in_flight, async |ride: Ride| {
            assert_eq!(repository.get_by_id(&ride.id).await.expect("the row"), ride);
        });
        report.add(&row, OURS, own.await);
    }

    let row = Row::new(format!("get_many of {MANY}"), "rows/s", Goal::AtLeast(1.0));
    let started = Instant::now();
    for chunk in rows.chunks(MANY) {
        by_hand.get_many(chunk).await?;
    }
    report.add(&row, "HGETALL in one pipeline", per_second(rows.len(), started));
    let started = Instant::now();
    for chunk in rows.chunks(MANY) {
        let ids: Vec<_> = chunk.iter().map(|ride| ride.id).collect();
        let found = repository.get_many(&ids).await?;
        assert!(found.iter().zip(chunk).all(|(found, ride)| found.as_ref() == Some(ride)));
    }
    report.add(&row, OURS, per_second(rows.len(), started));
    Ok(())
}
