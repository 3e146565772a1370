//! From the CSV file to what happened, in the order of time.
//!
//! The clock is New York's. Each flight is put on the board a fixed time ahead
//! of its scheduled departure. It departs `dep_delay` minutes after that
//! schedule (a plain `dep_time` would leave open which day it was). When it
//! arrives on New York's clock the file does not say: `arr_time` is that of the
//! destination, and the file has no time zones. They differ by whole hours
//! though, so that the minutes agree, and the arrival is taken to be the first
//! time after the flight's time in the air that shows the minutes of `arr_time`.
//! When a flight was cancelled or diverted the file does not say either: taken
//! are the scheduled departure, and the time the way would have taken.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chrono::{NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use kv_runtime::KvModel;

use crate::input::for_each_line;
use crate::model::{Flight, Status};

/// How long before its scheduled departure a flight appears on the board.
const LEAD: TimeDelta = TimeDelta::hours(6);

/// How far a plane flies in a minute, where its time in the air is not known.
const MILES_A_MINUTE: i32 = 7;

/// The flights of a file, and what happened to them.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// Each flight as it ended.
    pub(crate) flights: Vec<Flight>,
    /// In the order of time; those of one flight in the order they happened in.
    pub(crate) events: Vec<Event>,
}

/// One thing that happened to one flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// When, on New York's clock.
    pub(crate) at: NaiveDateTime,
    /// Whose, as position in [`Replay::flights`].
    pub(crate) flight: usize,
    /// What the flight became.
    pub(crate) status: Status,
}

impl Event {
    /// How many events of the flight come before it.
    pub(crate) fn step(&self) -> u8 {
        match self.status {
            Status::Scheduled => 0,
            Status::Departed | Status::Cancelled => 1,
            Status::Arrived | Status::Diverted => 2,
        }
    }
}

impl Replay {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut replay = Self::default();
        let mut ids = HashSet::new();
        for_each_line(path, |line| {
            let flight = Flight::from_line(line)?;
            // The model says that its ids are fresh; this is what makes it true.
            ensure!(
                ids.insert(flight.row_id()),
                "flight {} of that day is there already; remove one of the two lines",
                flight.name()
            );
            replay.add(flight)
        })?;
        ensure!(
            !replay.flights.is_empty(),
            "{} holds no flights; give a file that does with --input FILE",
            path.display()
        );
        // Stable: events of one flight that share a minute stay as they were added.
        replay.events.sort_by_key(|event| event.at);
        Ok(replay)
    }

    fn add(&mut self, flight: Flight) -> Result<()> {
        let scheduled = scheduled_departure(&flight)?;
        let mut add =
            |at, status| self.events.push(Event { at, flight: self.flights.len(), status });
        let created = scheduled - LEAD;
        add(created, Status::Scheduled);
        match flight.dep_delay {
            None => add(scheduled, Status::Cancelled),
            Some(delay) => {
                // No flight leaves before it is on the board, however early it is.
                let departed = (scheduled + TimeDelta::minutes(delay.into())).max(created);
                add(departed, Status::Departed);
                add(end(&flight, departed), flight.status);
            }
        }
        self.flights.push(flight);
        Ok(())
    }
}

fn scheduled_departure(flight: &Flight) -> Result<NaiveDateTime> {
    let (year, month, day) = (flight.year, flight.month, flight.day);
    let time = flight.sched_dep_time;
    let date = u32::try_from(month)
        .ok()
        .zip(u32::try_from(day).ok())
        .and_then(|(month, day)| NaiveDate::from_ymd_opt(year.into(), month, day))
        .with_context(|| format!("there is no day {year}-{month}-{day}"))?;
    u32::try_from(time)
        .ok()
        .and_then(|time| date.and_hms_opt(time / 100, time % 100, 0))
        .with_context(|| format!("`sched_dep_time` {time} is not a time of day as HHMM"))
}

/// When a flight that departed arrives, or is known to be diverted.
fn end(flight: &Flight, departed: NaiveDateTime) -> NaiveDateTime {
    let minutes = flight.air_time.unwrap_or(flight.distance / MILES_A_MINUTE).max(1);
    let landed = departed + TimeDelta::minutes(minutes.into());
    let taxi = flight
        .arr_time
        .map_or(0, |time| (i64::from(time % 100) - i64::from(landed.minute())).rem_euclid(60));
    landed + TimeDelta::minutes(taxi)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::tests::TestFile;

    fn read(name: &str, lines: &[&str]) -> Replay {
        let file = TestFile::new(name, lines);
        Replay::read(&file.0).expect("the lines are fine")
    }

    fn told(replay: &Replay) -> Vec<String> {
        let tell = |event: &Event| {
            let number = replay.flights[event.flight].flight;
            format!("{} {number} {:?}", event.at.format("%d %H:%M"), event.status)
        };
        replay.events.iter().map(tell).collect()
    }

    #[test]
    fn events_of_several_flights_come_in_the_order_of_time() {
        let replay = read(
            "order",
            &[
                "2013,1,2,1010,1000,10,1300,1250,10,UA,1,N1,EWR,IAH,200,1400,10,0,2013-01-02T15:00:00Z",
                "2013,1,2,NA,1005,NA,NA,1100,NA,AA,2,NA,JFK,BOS,NA,187,10,5,2013-01-02T15:00:00Z",
                "2013,1,2,955,1000,-5,1100,1110,NA,DL,3,N3,LGA,BOS,NA,187,10,0,2013-01-02T15:00:00Z",
            ],
        );
        let expected = [
            "02 04:00 1 Scheduled",
            "02 04:00 3 Scheduled",
            "02 04:05 2 Scheduled",
            "02 09:55 3 Departed",
            "02 10:05 2 Cancelled",
            "02 10:10 1 Departed",
            "02 11:00 3 Diverted",
            "02 14:00 1 Arrived",
        ];
        assert_eq!(told(&replay), expected);
    }

    #[test]
    fn a_late_flight_departs_and_arrives_on_the_next_day() {
        let late =
            "2013,1,31,15,2250,85,140,2359,101,B6,4,N4,JFK,BOS,40,187,22,50,2013-02-01T03:00:00Z";
        let replay = read("midnight", &[late]);
        // In the air until 00:55, at the gate at 01:40: both of February.
        assert_eq!(
            told(&replay),
            ["31 16:50 4 Scheduled", "01 00:15 4 Departed", "01 01:40 4 Arrived"]
        );
    }

    #[test]
    fn an_early_flight_after_midnight_departs_on_the_day_before() {
        let early =
            "2013,1,2,2355,5,-10,130,200,-30,B6,5,N5,JFK,BQN,80,600,0,5,2013-01-02T05:00:00Z";
        let replay = read("early", &[early]);
        assert_eq!(
            told(&replay),
            ["01 18:05 5 Scheduled", "01 23:55 5 Departed", "02 01:30 5 Arrived"]
        );
    }

    #[test]
    fn a_flight_keeps_its_order_however_early_it_left() {
        let odd =
            "2013,1,2,200,1000,-480,NA,1100,-400,B6,6,N6,JFK,BOS,0,0,10,0,2013-01-02T15:00:00Z";
        let replay = read("odd", &[odd]);
        assert_eq!(
            told(&replay),
            ["02 04:00 6 Scheduled", "02 04:00 6 Departed", "02 04:01 6 Arrived"]
        );
    }

    #[test]
    fn a_day_that_never_was_is_told() {
        let bad =
            "2013,2,30,NA,1000,NA,NA,1100,NA,B6,7,NA,JFK,BOS,NA,187,10,0,2013-01-02T15:00:00Z";
        let file = TestFile::new("day", &[bad]);
        let message = format!("{:#}", Replay::read(&file.0).expect_err("no such day"));
        assert!(message.contains("line 2: there is no day 2013-2-30"), "{message}");
    }

    #[test]
    fn january_has_a_start_and_an_end_for_every_flight() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights-2013-01.csv.gz"));
        let replay = Replay::read(path).expect("the shipped file is fine");
        let has = |status| move |event: &&Event| event.status == status;
        let count = |status| replay.events.iter().filter(has(status)).count();
        assert_eq!(count(Status::Scheduled), 27_004);
        assert_eq!(count(Status::Cancelled), 521);
        assert_eq!(count(Status::Departed), 27_004 - 521);
        assert_eq!(count(Status::Arrived), 26_398);
        assert_eq!(count(Status::Diverted), 85);
        assert!(replay.events.is_sorted_by_key(|event| event.at));
        let mut done = vec![0; replay.flights.len()];
        for event in &replay.events {
            assert_eq!(done[event.flight], event.step(), "{event:?}");
            done[event.flight] += 1;
        }
    }
}
