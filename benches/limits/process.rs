//! What processes have used: processor time and memory.

use std::fs;

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use crate::{Bench, Outcome, by_hand};

/// Ticks of `/proc` a second: Linux has shown 100 to all programs for as long as there is `/proc`.
const TICKS: f64 = 100.0;

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

/// The process id of the PostgreSQL server.
pub(crate) async fn postmaster(bench: &Bench) -> Outcome<u32> {
    let mut connection = AsyncPgConnection::establish(bench.postgres.url()).await?;
    let query = sql_query("SELECT current_setting('data_directory') AS value");
    let Setting { value } = query.get_result(&mut connection).await?;
    let file = fs::read_to_string(format!("{value}/postmaster.pid"))?;
    Ok(file.lines().next().unwrap_or_default().parse()?)
}

/// The process id of the Redis server.
pub(crate) async fn redis(bench: &Bench) -> Outcome<u32> {
    let mut connection = by_hand::connection(bench).await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let line = info.lines().find_map(|line| line.strip_prefix("process_id:"));
    Ok(line.unwrap_or_default().trim().parse()?)
}

/// The seconds of processor time that this process has used, without those that it has started.
pub(crate) fn own_cpu_seconds() -> Outcome<f64> {
    let stat = Stat::of(std::process::id()).ok_or("there is no /proc")?;
    Ok(stat.own_ticks as f64 / TICKS)
}

/// The seconds of processor time that a process, its children and those that have ended have used.
pub(crate) fn cpu_seconds(process: u32) -> Outcome<f64> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended since the folder was read counts with its parent.
        let Some(stat) = Stat::of(number) else { continue };
        if number == process || stat.parent == process {
            ticks += stat.ticks;
        }
    }
    Ok(ticks as f64 / TICKS)
}

/// A line of `/proc/<process>/stat`.
struct Stat {
    parent: u32,
    own_ticks: u64,
    /// With those of children that have ended.
    ticks: u64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name of the program, in parentheses, may have spaces.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u64>().unwrap_or(0));
        let ticks: Vec<u64> = ticks.collect();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: ticks[..2].iter().sum(),
            ticks: ticks.iter().sum(),
        })
    }
}

/// The memory of a process, in megabytes.
pub(crate) fn megabytes(process: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    Ok(kilobytes.parse::<f64>()? / 1024.0)
}
