//! The model: one struct, and the table its rows are drained to.

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use kv_runtime::{KvModel, KvValue};

use crate::input::Line;

/// A flight on the board.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "flights")]
pub(crate) struct Flight {
    // Fresh: the schedule alone makes flights, and each only once, so that a create need not ask
    // PostgreSQL whether it knows the id already.
    #[kv(id, fresh)]
    pub(crate) year: i16,
    #[kv(id)]
    pub(crate) month: i16,
    #[kv(id)]
    pub(crate) day: i16,
    #[kv(id)]
    pub(crate) carrier: String,
    #[kv(id)]
    pub(crate) flight: i32,
    #[kv(id)]
    pub(crate) origin: String,
    /// Local time as `HHMM`, as are the other times.
    #[kv(id)]
    pub(crate) sched_dep_time: i16,
    pub(crate) dest: String,
    pub(crate) sched_arr_time: i16,
    pub(crate) tailnum: Option<String>,
    /// In miles.
    pub(crate) distance: i32,
    /// The hour of the scheduled departure.
    pub(crate) time_hour: DateTime<Utc>,
    pub(crate) status: Status,
    pub(crate) dep_time: Option<i16>,
    /// In minutes, as are the other lengths of time; negative when early.
    pub(crate) dep_delay: Option<i32>,
    pub(crate) arr_time: Option<i16>,
    pub(crate) arr_delay: Option<i32>,
    pub(crate) air_time: Option<i32>,
}

/// Where a flight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, KvValue)]
pub(crate) enum Status {
    Scheduled,
    Departed,
    Arrived,
    /// It never left.
    Cancelled,
    /// It left and did not arrive where, or as, it should have.
    Diverted,
}

/// Creates the table where it is not there yet.
pub(crate) const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS flights (
    year smallint NOT NULL,
    month smallint NOT NULL,
    day smallint NOT NULL,
    carrier text NOT NULL,
    flight integer NOT NULL,
    origin text NOT NULL,
    sched_dep_time smallint NOT NULL,
    dest text NOT NULL,
    sched_arr_time smallint NOT NULL,
    tailnum text,
    distance integer NOT NULL,
    time_hour timestamptz NOT NULL,
    status text NOT NULL,
    dep_time smallint,
    dep_delay integer,
    arr_time smallint,
    arr_delay integer,
    air_time integer,
    PRIMARY KEY (year, month, day, carrier, flight, origin, sched_dep_time)
)";

impl Flight {
    /// The flight as it ended, read from its line.
    pub(crate) fn from_line(line: &Line<'_>) -> Result<Self> {
        let dep_time: Option<i16> = line.optional("dep_time")?;
        let dep_delay = line.optional("dep_delay")?;
        let arr_delay = line.optional("arr_delay")?;
        ensure!(
            dep_time.is_some() == dep_delay.is_some(),
            "`dep_time` and `dep_delay` must both be there, or neither"
        );
        ensure!(
            dep_time.is_some() || arr_delay.is_none(),
            "`arr_delay` is there, but `dep_time` says the flight was cancelled"
        );
        let status = match (dep_time, arr_delay) {
            (None, _) => Status::Cancelled,
            (Some(_), None) => Status::Diverted,
            (Some(_), Some(_)) => Status::Arrived,
        };
        Ok(Self {
            year: line.required("year")?,
            month: line.required("month")?,
            day: line.required("day")?,
            carrier: line.required("carrier")?,
            flight: line.required("flight")?,
            origin: line.required("origin")?,
            sched_dep_time: line.required("sched_dep_time")?,
            dest: line.required("dest")?,
            sched_arr_time: line.required("sched_arr_time")?,
            tailnum: line.optional("tailnum")?,
            distance: line.required("distance")?,
            time_hour: line.required("time_hour")?,
            status,
            dep_time,
            dep_delay,
            arr_time: line.optional("arr_time")?,
            arr_delay,
            air_time: line.optional("air_time")?,
        })
    }

    /// The flight as it was put on the board: nothing has happened yet.
    pub(crate) fn as_scheduled(&self) -> Self {
        Self {
            status: Status::Scheduled,
            dep_time: None,
            dep_delay: None,
            arr_time: None,
            arr_delay: None,
            air_time: None,
            ..self.clone()
        }
    }

    /// How people call it, such as `UA 1545 EWR–IAH`.
    pub(crate) fn name(&self) -> String {
        format!("{} {} {}–{}", self.carrier, self.flight, self.origin, self.dest)
    }
}
