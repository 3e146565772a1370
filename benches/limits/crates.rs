//! Against crates that keep structs in Redis, and no queue.

use std::path::Path;
use std::process::Command;
use std::{env, str};

use redis::AsyncCommands;

use crate::report::{Goal, OURS, Report, Row};
use crate::ride::{Ride, rate, rides};
use crate::writes::connect;
use crate::{Bench, Outcome, by_hand};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const IN_FLIGHT: usize = 64;

/// Rows a second.
struct Rates {
    create: f64,
    get: f64,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let rows = rides(bench.options.rows());
    let macros = redis_macros(bench, &rows).await?;
    let redis_om = match bench.options.is_short() {
        // It would have to be built.
        true => None,
        false => Some(redis_om(bench, rows.len())?),
    };
    let own = own(bench, &rows).await?;
    let others =
        [("redis-macros", "JSON in a string", Some(macros)), ("redis-om", "a hash", redis_om)];
    for (name, form, rates) in others {
        let Some(rates) = rates else { continue };
        for (verb, other, own) in
            [("create", rates.create, own.create), ("get", rates.get, own.get)]
        {
            let what = format!("{verb} beside {name}, {IN_FLIGHT}");
            let row = Row::new(what, "rows/s", Goal::AtLeast(1.0));
            report.add(&row, &format!("{name}, {form}"), other);
            report.add(&row, OURS, own);
        }
    }
    Ok(())
}

async fn own(bench: &Bench, rows: &[Ride]) -> Outcome<Rates> {
    let repository = connect(bench, "m").await?.repository::<Ride>();
    let create = rate(rows, IN_FLIGHT, async |ride: Ride| {
        let _ = repository.create(&ride).await.expect("a new row");
    });
    let create = create.await;
    let get = rate(rows, IN_FLIGHT, async |ride: Ride| {
        assert_eq!(repository.get_by_id(&ride.id).await.expect("the row"), ride);
    });
    Ok(Rates { create, get: get.await })
}

async fn redis_macros(bench: &Bench, rows: &[Ride]) -> Outcome<Rates> {
    let connection = by_hand::connection(bench).await?;
    let create = rate(rows, IN_FLIGHT, |ride| {
        let mut connection = connection.clone();
        async move {
            let key = format!("json:{}", ride.id);
            let _: () = connection.set(key, ride).await.expect("the server is up");
        }
    });
    let create = create.await;
    let get = rate(rows, IN_FLIGHT, |ride| {
        let mut connection = connection.clone();
        async move {
            let found: Ride = connection.get(format!("json:{}", ride.id)).await.expect("the row");
            assert_eq!(found, ride);
        }
    });
    Ok(Rates { create, get: get.await })
}

/// By a program of its own: that crate depends on a `redis` of years ago.
fn redis_om(bench: &Bench, rows: usize) -> Outcome<Rates> {
    let target = Path::new(ROOT).join("target/bench/redis_om");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(Path::new(ROOT).join("benches/redis_om/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .args(["--", bench.redis.url(), &rows.to_string(), &IN_FLIGHT.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut rates = str::from_utf8(&output.stdout)?.split_whitespace().map(str::parse);
    let mut rate = || rates.next().ok_or("the program of redis-om says nothing");
    Ok(Rates { create: rate()??, get: rate()?? })
}
