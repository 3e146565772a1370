//! What the run comes to, for a person and as JSON.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use indicatif::HumanCount;
use serde::Serialize;

use crate::drain::Drained;
use crate::totals::{CarrierTotals, Totals};

/// The figures of a run, and what the durable side holds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) pair: &'static str,
    pub(crate) input: String,
    pub(crate) flights: u64,
    pub(crate) in_flight: usize,
    /// 0 is flat out.
    pub(crate) rate: u32,
    pub(crate) writes: u64,
    pub(crate) write_seconds: f64,
    pub(crate) writes_per_second: f64,
    pub(crate) write_p50_ms: f64,
    pub(crate) write_p99_ms: f64,
    pub(crate) write_max_ms: f64,
    /// How often a write waited because its queue was full.
    pub(crate) waits_for_room: u64,
    /// From the first write until everything was drained.
    pub(crate) drain_seconds: f64,
    pub(crate) entries_drained: u64,
    pub(crate) entries_drained_per_second: f64,
    pub(crate) entries_folded: u64,
    pub(crate) rows_drained: u64,
    pub(crate) rows_drained_per_second: f64,
    pub(crate) batches: u64,
    /// The same, drainer by drainer.
    pub(crate) drainers: Vec<Drained>,
    /// Of all entries, at their commit.
    pub(crate) lag_max_ms: f64,
    /// At the moment the last write was acknowledged.
    pub(crate) lag_last_ms: f64,
    /// What the durable side holds.
    pub(crate) totals: Totals,
    /// Whether that is what the input says.
    pub(crate) agree: bool,
    pub(crate) differences: Vec<String>,
}

impl Summary {
    /// Writes the summary as one JSON object.
    pub(crate) fn write_json(&self, mut file: File) -> Result<()> {
        serde_json::to_writer_pretty(&mut file, self)?;
        Ok(writeln!(file)?)
    }

    /// What was done, one line a figure.
    fn lines(&self) -> Vec<Line> {
        let line = |name, figure, unit, more| Line { name, figure, unit, more };
        let a_batch = self.entries_drained.checked_div(self.batches).unwrap_or(0);
        let written = format!(
            "{} in {:.2} s, {} in flight",
            count(self.writes),
            self.write_seconds,
            self.in_flight
        );
        let drained = format!(
            "{} rows for {} entries in {:.2} s",
            count(self.rows_drained),
            count(self.entries_drained),
            self.drain_seconds
        );
        let latency =
            format!("{:.3} ms p99, {:.1} ms at most", self.write_p99_ms, self.write_max_ms);
        let folded =
            format!("{} entries shared the write of their row", count(self.entries_folded));
        let batches = format!("a transaction, {} transactions", count(self.batches));
        let lag = format!("at most, {} ms at the last write", count(self.lag_last_ms as u64));
        let mut lines = vec![
            line("written", count(self.writes_per_second as u64), "writes/s", written),
            line("latency", format!("{:.3}", self.write_p50_ms), "ms p50", latency),
            line("drained", count(self.rows_drained_per_second as u64), "rows/s", drained),
            line("folded", percent(self.entries_folded, self.entries_drained), "%", folded),
            line("batches", count(a_batch), "entries", batches),
            line("lag", count(self.lag_max_ms as u64), "ms", lag),
        ];
        if self.waits_for_room > 0 {
            let more = "for room in a full queue".to_owned();
            lines.push(line("waited", count(self.waits_for_room), "times", more));
        }
        lines
    }

    /// Who drained how much, where several could.
    fn write_drainers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [_] = self.drainers.as_slice() {
            return Ok(());
        }
        writeln!(f)?;
        for (position, drainer) in self.drainers.iter().enumerate() {
            let Drained { entries, batches, partitions, trouble, .. } = drainer;
            let (number, entries, batches) = (position + 1, count(*entries), count(*batches));
            write!(
                f,
                "  drainer {number:<2} {entries:>6} entries    in {batches} transactions, \
                 with {partitions} partitions at last"
            )?;
            trouble.iter().try_for_each(|trouble| write!(f, "; {trouble}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A figure with its unit, and what belongs to it.
struct Line {
    name: &'static str,
    figure: String,
    unit: &'static str,
    more: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = Path::new(&self.input).file_name().unwrap_or_default().display();
        writeln!(f, "\n{} flights of {input}, kept in {}\n", count(self.flights), self.pair)?;
        for Line { name, figure, unit, more } in self.lines() {
            writeln!(f, "  {name:<7} {figure:>9} {unit:<8}   {more}")?;
        }
        self.write_drainers(f)?;

        writeln!(
            f,
            "\n  carrier   flights  cancelled  diverted  departure delay    arrival delay"
        )?;
        for (carrier, totals) in &self.totals.0 {
            write_totals(f, carrier, totals)?;
        }
        write_totals(f, "all", &self.totals.sum())?;

        if self.agree {
            return write!(f, "\nThe durable side agrees with the input, carrier by carrier.");
        }
        write!(f, "\nThe durable side DIFFERS from the input:")?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))
    }
}

fn write_totals(f: &mut fmt::Formatter<'_>, carrier: &str, totals: &CarrierTotals) -> fmt::Result {
    writeln!(
        f,
        "  {carrier:<7} {:>9}  {:>9}  {:>8}  {:>11} min  {:>11} min",
        count(totals.flights),
        count(totals.cancelled),
        count(totals.diverted),
        signed(totals.dep_delay_minutes),
        signed(totals.arr_delay_minutes)
    )
}

/// With thousands separators, and a text, so that it can be aligned.
fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn percent(part: u64, whole: u64) -> String {
    (100 * part).checked_div(whole).unwrap_or(0).to_string()
}

fn signed(minutes: i64) -> String {
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{}", count(minutes.unsigned_abs()))
}

/// To the microsecond.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
