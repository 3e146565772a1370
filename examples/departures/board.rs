//! What is seen while it runs: a board on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kv_runtime::DrainError;

use crate::drain::DrainView;
use crate::model::{Flight, Status};
use crate::replay::{Event, Replay};
use crate::writers::Progress;

/// How many of the latest departures the board shows.
const DEPARTURES_SHOWN: usize = 8;

/// How far back to look for them, so that a quiet night costs nothing.
const EVENTS_SEARCHED: usize = 1_000;

/// How soon a plain line is written where there is no terminal; the longer it takes, the rarer
/// they become.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Shows how far the replay and the drain are; it is taken off the terminal when dropped.
pub(crate) struct Board {
    replay: Arc<Replay>,
    progress: Arc<Progress>,
    /// Where there is a terminal.
    bar: Option<ProgressBar>,
    start: Instant,
    last_line: Instant,
}

impl Board {
    pub(crate) fn new(replay: Arc<Replay>, progress: Arc<Progress>) -> Result<Self> {
        let bar = if std::io::stderr().is_terminal() {
            let template = "{prefix:.bold}\n{msg}\n\n  {bar:40.cyan} {percent:>3} %  \
                            {human_pos} of {human_len} writes";
            let style = ProgressStyle::with_template(template)?.progress_chars("━━─");
            Some(ProgressBar::new(replay.events.len() as u64).with_style(style))
        } else {
            None
        };
        let now = Instant::now();
        Ok(Self { replay, progress, bar, start: now, last_line: now })
    }

    /// Shows it all, with the drain as it is now.
    pub(crate) fn update(&mut self, drain: &Result<DrainView, DrainError>) {
        let started = self.progress.started.load(Ordering::Relaxed);
        let written = self.progress.written.load(Ordering::Relaxed);
        let clock = started.checked_sub(1).map(|newest| self.replay.events[newest].at);
        match &self.bar {
            Some(bar) => {
                let clock = clock.map(|at| at.format("%a %e %b %Y  %H:%M").to_string());
                let clock = clock.unwrap_or_else(|| "making room".to_owned());
                bar.set_prefix(format!("\n  NEW YORK DEPARTURES{clock:>41}"));
                let departures = self.latest_departures(started);
                bar.set_message(format!("\n{departures}\n  {}", self.figures(written, drain)));
                bar.set_position(written);
            }
            None if self.last_line.elapsed() >= self.line_interval() => {
                self.last_line = Instant::now();
                let clock = clock.map(|at| at.format("%Y-%m-%d %H:%M").to_string());
                let clock = clock.unwrap_or_else(|| "making room".to_owned());
                let figures = self.figures(written, drain).replace('\n', " ");
                let written = HumanCount(written).to_string();
                eprintln!("{clock:<16}  {written:>9} written  {figures}");
            }
            None => {}
        }
    }

    fn line_interval(&self) -> Duration {
        LINE_INTERVAL.max(self.start.elapsed() / 5)
    }

    fn figures(&self, written: u64, drain: &Result<DrainView, DrainError>) -> String {
        let seconds = self.progress.write_time().as_secs_f64();
        let rate = if seconds > 0.0 { (written as f64 / seconds) as u64 } else { 0 };
        let rate = HumanCount(rate).to_string();
        match drain {
            Ok(drain) => {
                let drained = HumanCount(drain.drained.entries).to_string();
                let undrained = HumanCount(drain.undrained).to_string();
                let lag = HumanCount(drain.lag.as_millis() as u64).to_string();
                let mut figures = format!(
                    "{rate:>7} writes/s  {drained:>9} drained  {undrained:>7} undrained  \
                     {lag:>6} ms lag"
                );
                if let Some(trouble) = &drain.drained.trouble {
                    // Writing to a `String` cannot fail.
                    let _ = write!(figures, "\n  {trouble}");
                }
                figures
            }
            Err(error) => format!("{rate:>7} writes/s  {error}"),
        }
    }

    /// As many lines as ever, so that the board stands still.
    fn latest_departures(&self, started: usize) -> String {
        let latest = self.replay.events[..started].iter().rev().take(EVENTS_SEARCHED);
        let mut departures =
            latest.filter(|event| matches!(event.status, Status::Departed | Status::Cancelled));
        let mut text = String::new();
        for _ in 0..DEPARTURES_SHOWN {
            if let Some(event) = departures.next() {
                text += &describe(event, &self.replay.flights[event.flight]);
            }
            text.push('\n');
        }
        text
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn describe(event: &Event, flight: &Flight) -> String {
    let remark = match (event.status, flight.dep_delay) {
        (Status::Cancelled, _) => "cancelled".to_owned(),
        (_, Some(minutes @ 1..)) => format!("departed {minutes:>4} min late"),
        (_, Some(minutes @ ..=-1)) => format!("departed {:>4} min early", -minutes),
        _ => "departed  on time".to_owned(),
    };
    let Flight { carrier, flight, origin, dest, .. } = flight;
    let at = event.at.format("%H:%M");
    format!("  {at}   {carrier} {flight:<5}   {origin} → {dest}   {remark}")
}
