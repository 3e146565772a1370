//! Against JSON in a string by `redis-macros`, which keeps no queue.

use redis::AsyncCommands;

use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, rate, rides};
use crate::writes::connect;
use crate::{Bench, Outcome, by_hand};

const IN_FLIGHT: usize = 64;
const OTHER: &str = "redis-macros, JSON";

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let connection = by_hand::connection(bench).await?;
    let repository = connect(bench, "m").await?.repository::<Ride>();
    let rows = rides(bench.options.rows());

    let goal = Goal::AtLeast(1.0);
    let row = Row::new(format!("create beside redis-macros, {IN_FLIGHT}"), "rows/s", goal);
    let other = rate(&rows, IN_FLIGHT, |ride| {
        let mut connection = connection.clone();
        async move {
            let key = format!("json:{}", ride.id);
            let _: () = connection.set(key, ride).await.expect("the server is up");
        }
    });
    report.add(&row, OTHER, other.await);
    let own = rate(&rows, IN_FLIGHT, async |ride: Ride| {
        let _ = repository.create(&ride).await.expect("a new row");
    });
    report.add(&row, OURS, own.await);

    let row = Row::new(format!("get beside redis-macros, {IN_FLIGHT}"), "rows/s", goal);
    let other = rate(&rows, IN_FLIGHT, |ride| {
        let mut connection = connection.clone();
        async move {
            let found: Ride = connection.get(format!("json:{}", ride.id)).await.expect("the row");
            assert_eq!(found, ride);
        }
    });
    report.add(&row, OTHER, other.await);
    let own = rate(&rows, IN_FLIGHT, async |ride: Ride| {
        assert_eq!(repository.get_by_id(&ride.id).await.expect("the row"), ride);
    });
    report.add(&row, OURS, own.await);
    Ok(())
}
