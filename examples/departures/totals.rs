//! The totals by carrier, counted twice: straight from the CSV file, and from
//! the rows of the durable side. They must agree.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::input::for_each_line;
use crate::model::{Flight, Status};

/// The totals of every carrier, by its code.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Totals(pub(crate) BTreeMap<String, CarrierTotals>);

/// What is counted of one carrier.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CarrierTotals {
    pub(crate) flights: u64,
    pub(crate) cancelled: u64,
    pub(crate) diverted: u64,
    pub(crate) dep_delay_minutes: i64,
    pub(crate) arr_delay_minutes: i64,
}

impl Totals {
    /// Counts the lines of the file; the replay has no part in it.
    pub(crate) fn from_csv(path: &Path) -> Result<Self> {
        let mut totals = Self::default();
        for_each_line(path, |line| {
            let carrier = totals.0.entry(line.required("carrier")?).or_default();
            let departed = line.optional::<String>("dep_time")?.is_some();
            let arr_delay: Option<i64> = line.optional("arr_delay")?;
            carrier.flights += 1;
            carrier.cancelled += u64::from(!departed);
            carrier.diverted += u64::from(departed && arr_delay.is_none());
            carrier.dep_delay_minutes += line.optional::<i64>("dep_delay")?.unwrap_or(0);
            carrier.arr_delay_minutes += arr_delay.unwrap_or(0);
            Ok(())
        })?;
        Ok(totals)
    }

    /// Counts rows, going by their status.
    pub(crate) fn from_rows(rows: &[Flight]) -> Self {
        let mut totals = Self::default();
        for row in rows {
            let carrier = totals.0.entry(row.carrier.clone()).or_default();
            carrier.flights += 1;
            carrier.cancelled += u64::from(row.status == Status::Cancelled);
            carrier.diverted += u64::from(row.status == Status::Diverted);
            carrier.dep_delay_minutes += row.dep_delay.map_or(0, i64::from);
            carrier.arr_delay_minutes += row.arr_delay.map_or(0, i64::from);
        }
        totals
    }

    /// All carriers together.
    pub(crate) fn sum(&self) -> CarrierTotals {
        self.0.values().fold(CarrierTotals::default(), |sum, carrier| CarrierTotals {
            flights: sum.flights + carrier.flights,
            cancelled: sum.cancelled + carrier.cancelled,
            diverted: sum.diverted + carrier.diverted,
            dep_delay_minutes: sum.dep_delay_minutes + carrier.dep_delay_minutes,
            arr_delay_minutes: sum.arr_delay_minutes + carrier.arr_delay_minutes,
        })
    }

    /// Where the durable side differs from this, the input: one sentence a figure.
    pub(crate) fn differences(&self, durable: &Self) -> Vec<String> {
        let nothing = CarrierTotals::default();
        let mut carriers: Vec<_> = self.0.keys().chain(durable.0.keys()).collect();
        carriers.sort_unstable();
        carriers.dedup();
        let mut differences = Vec::new();
        for carrier in carriers {
            let input = self.0.get(carrier).unwrap_or(&nothing).figures();
            let durable = durable.0.get(carrier).unwrap_or(&nothing).figures();
            for ((name, expected), (_, found)) in input.into_iter().zip(durable) {
                if expected != found {
                    differences.push(format!(
                        "{carrier}: {name}: {expected} in the input, {found} on the durable side"
                    ));
                }
            }
        }
        differences
    }
}

impl CarrierTotals {
    fn figures(&self) -> [(&'static str, i128); 5] {
        [
            ("flights", self.flights.into()),
            ("cancelled", self.cancelled.into()),
            ("diverted", self.diverted.into()),
            ("sum of departure delays", self.dep_delay_minutes.into()),
            ("sum of arrival delays", self.arr_delay_minutes.into()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Replay;

    const JANUARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights-2013-01.csv.gz");

    #[test]
    fn january_is_what_is_known_of_it() {
        let totals = Totals::from_csv(Path::new(JANUARY)).expect("the shipped file is fine");
        let sum = totals.sum();
        assert_eq!(totals.0.len(), 16);
        assert_eq!((sum.flights, sum.cancelled, sum.diverted), (27_004, 521, 85));
        assert_eq!((sum.dep_delay_minutes, sum.arr_delay_minutes), (265_801, 161_819));
    }

    #[test]
    fn rows_as_they_ended_have_the_totals_of_the_file() {
        let totals = Totals::from_csv(Path::new(JANUARY)).expect("the shipped file is fine");
        let mut rows = Replay::read(Path::new(JANUARY)).expect("the shipped file is fine").flights;
        assert_eq!(totals.differences(&Totals::from_rows(&rows)), Vec::<String>::new());

        rows.retain(|row| row.carrier != "HA");
        rows[0].dep_delay = rows[0].dep_delay.map(|minutes| minutes + 1);
        let differences = totals.differences(&Totals::from_rows(&rows));
        assert!(
            differences[0].starts_with("HA: flights: 31 in the input, 0 on"),
            "{differences:?}"
        );
        assert_eq!(
            differences.last().map(|last| last.starts_with("UA: sum of departure delays")),
            Some(true)
        );
    }

    #[test]
    fn rows_that_nobody_wrote_are_a_difference() {
        let rows = Replay::read(Path::new(JANUARY)).expect("the shipped file is fine").flights;
        let differences = Totals::default().differences(&Totals::from_rows(&rows[..1]));
        assert!(differences[0].starts_with("UA: flights: 0 in the input, 1 on"), "{differences:?}");
    }
}
