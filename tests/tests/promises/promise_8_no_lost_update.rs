//! Patches of one row never undo each other's fields.

use std::sync::Arc;
use std::time::Duration;

use kv_runtime::{Error, KvModel, Repository};
use kv_tests::contract;
use kv_tests::models::Booking;
use kv_tests::pair::Pair;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

contract!(in parallel: concurrent_patches_keep_each_others_fields);

const PATCHES: i32 = 200;
/// How often all writers wait until the row was drained and evicted.
const PAUSE_EVERY: i32 = 20;

/// One writer's field: how to set it to a number, and whether it has that number.
#[derive(Clone, Copy)]
struct Field {
    patch: fn(i32) -> <Booking as KvModel>::Patch,
    has: fn(&Booking, i32) -> bool,
}

const FIELDS: [Field; 3] = [
    Field { patch: |number| Booking::patch().seats(number), has: |row, n| row.seats == n },
    Field {
        patch: |number| Booking::patch().reference(format!("R-{number}")),
        has: |row, number| row.reference == format!("R-{number}"),
    },
    // NULL every third time.
    Field {
        patch: |number| Booking::patch().driver_id(driver(number)),
        has: |row, number| row.driver_id == driver(number),
    },
];

fn driver(number: i32) -> Option<Uuid> {
    (number % 3 != 0).then(|| Uuid::from_u128(number.unsigned_abs().into()))
}

async fn concurrent_patches_keep_each_others_fields(pair: Pair) {
    let pair = pair.with(|settings| settings.drain.batch_entries = 10).await;
    let bookings = pair.kv.repository::<Booking>();
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("a new row");
    let drainer = pair.spawn_drainer();
    let pause = Arc::new(Barrier::new(FIELDS.len() + 1));
    let evictor = tokio::spawn({
        let bookings = bookings.clone();
        async move {
            loop {
                // Left alone where it is dirty.
                let _ = bookings.invalidate(&booking.id).await;
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000))).await;
            }
        }
    });
    let mut writers = JoinSet::new();
    for field in FIELDS {
        writers.spawn(write(bookings.clone(), booking.id, field, Arc::clone(&pause)));
    }
    for _ in 0..PATCHES / PAUSE_EVERY {
        // On a busy machine, chance alone might never find the row clean.
        tokio::select! {
            _ = pause.wait() => {}
            // One that has failed does not come to the pause.
            Some(writer) = writers.join_next() => writer.expect("every patch is kept"),
        }
        drainer.flush().await.expect("it drains");
        bookings.invalidate(&booking.id).await.expect("a clean row");
        pause.wait().await;
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("every patch is kept");
    }
    evictor.abort();
    drainer.shutdown().await.expect("everything can be drained");
    let rows = pair.kv.durable_rows::<Booking>().await.expect("the rows");
    assert_eq!(rows.len(), 1);
    bookings.invalidate(&booking.id).await.expect("a clean row");
    for row in [&rows[0], &bookings.get_by_id(&booking.id).await.expect("the row")] {
        assert!(FIELDS.iter().all(|field| (field.has)(row, PATCHES)), "{row:?}");
        assert_eq!((row.fare, row.created_at), (booking.fare, booking.created_at));
    }
}

/// Patches one field, which no one else does, so it must always be what it was set to last.
async fn write(bookings: Repository<Booking>, id: Uuid, field: Field, pause: Arc<Barrier>) {
    for number in 1..=PATCHES {
        while let Err(error) = bookings.update(&id, (field.patch)(number)).await {
            assert!(matches!(error, Error::Conflict { .. }), "{error}");
        }
        if number % PAUSE_EVERY == 0 {
            pause.wait().await;
            pause.wait().await;
        }
        let row = bookings.get_by_id(&id).await.expect("the row");
        assert!((field.has)(&row, number), "patch {number} is undone: {row:?}");
    }
}
