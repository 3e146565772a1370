//! Gives the queue of bookings another number of partitions while services and drainers use it: a
//! command of your own would do the same for your models.
//!
//! ```sh
//! REDIS_URL=redis://localhost DATABASE_URL=postgres://localhost/rides \
//!     cargo run --example partitions -- 128
//! ```
//!
//! It waits for the drainers, so let one of all models on the queue be running. If it fails, or is
//! killed, call it again with the same number.

use anyhow::{Context, Result};
use kv_runtime::{Kv, KvModel, Settings};

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bookings")]
struct Booking {
    #[kv(id, fresh)]
    id: i64,
    status: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let count = std::env::args().nth(1).context("say how many partitions there are to be")?;
    let count: u16 = count.parse().context("the number of partitions is from 1 to 1024")?;
    let kv = Kv::connect(Settings::from_env()?).await?;
    // All models on the queue have to be known.
    kv.repository::<Booking>();
    let before = kv.partitions::<Booking>().await?;
    kv.change_partitions::<Booking>(count).await?;
    println!("the queue of bookings had {before} partitions, and has {count} now");
    Ok(())
}
