//! Ten times the models, each with a table and a queue of its own.

use std::time::Instant;

use chrono::{DateTime, Utc};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::{BoxFuture, join_all};
use kv_runtime::{DrainerBuilder, Kv, KvModel};
use uuid::Uuid;

use crate::drain::own_pair;
use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, TABLE, per_second, rate, rides};
use crate::{Bench, Outcome};

/// Writers of a model, of which there are ten in any case.
const IN_FLIGHT: usize = 6;

macro_rules! models {
    ($($model:ident $table:literal)*) => {
        $(
            #[derive(Debug, Clone, KvModel)]
            #[kv(table = $table)]
            struct $model {
                #[kv(id)]
                id: Uuid,
                rider: String,
                status: String,
                fare_cents: i64,
                seats: i32,
                created_at: DateTime<Utc>,
            }

            impl From<Ride> for $model {
                fn from(ride: Ride) -> Self {
                    let Ride { id, rider, status, fare_cents, seats, created_at } = ride;
                    Self { id, rider, status, fare_cents, seats, created_at }
                }
            }
        )*

        const TABLES: &[&str] = &[$($table),*];

        /// Writers of each model, and a drainer of all.
        fn several<'a>(kv: &'a Kv, rows: &'a [Ride]) -> (Vec<BoxFuture<'a, ()>>, DrainerBuilder) {
            let mut chunks = rows.chunks(rows.len() / TABLES.len());
            let mut chunk = || chunks.next().unwrap_or_default();
            let writers = vec![$(Box::pin(create::<$model>(kv, chunk())) as BoxFuture<'a, ()>),*];
            (writers, kv.drainer()$(.model::<$model>())*)
        }
    };
}

models! {
    First "rides_1"
    Second "rides_2"
    Third "rides_3"
    Fourth "rides_4"
    Fifth "rides_5"
    Sixth "rides_6"
    Seventh "rides_7"
    Eighth "rides_8"
    Ninth "rides_9"
    Tenth "rides_10"
}

/// The same of one model.
fn one<'a>(kv: &'a Kv, rows: &'a [Ride]) -> (Vec<BoxFuture<'a, ()>>, DrainerBuilder) {
    let chunks = rows.chunks(rows.len() / TABLES.len());
    let writers = chunks.map(|chunk| Box::pin(create::<Ride>(kv, chunk)) as BoxFuture<'a, ()>);
    (writers.collect(), kv.drainer().model::<Ride>())
}

async fn create<M: KvModel + From<Ride>>(kv: &Kv, rows: &[Ride]) {
    let repository = kv.repository::<M>();
    rate(rows, IN_FLIGHT, async |ride: Ride| {
        let _ = repository.create(&M::from(ride)).await.expect("a new row");
    })
    .await;
}

pub(super) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let rows = rides(bench.options.rows());
    for (name, is_one) in [("one model", true), (OURS, false)] {
        let kv = own_pair(bench, if is_one { "m1" } else { "m10" }, |_| ()).await?;
        let mut connection = kv.connection().await?;
        for table in TABLES {
            connection.batch_execute(&TABLE.replace("rides", table)).await?;
        }
        drop(connection);
        let (writers, drainer) = if is_one { one(&kv, &rows) } else { several(&kv, &rows) };
        let started = Instant::now();
        join_all(writers).await;
        let row = Row::new("10 × the models: create", "rows/s", Goal::None);
        report.add(&row, name, per_second(rows.len(), started));

        let started = Instant::now();
        let drainer = drainer.spawn();
        drainer.flush().await?;
        let row = Row::new("10 × the models: drain", "rows/s", Goal::None);
        report.add(&row, name, per_second(rows.len(), started));
        let status = drainer.shutdown().await?;
        assert_eq!(status.entries_drained, rows.len() as u64, "all of it is drained");
    }
    Ok(())
}
