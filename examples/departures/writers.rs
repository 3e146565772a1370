//! Makes the writes: the events in order of time, by several lanes at once.
//!
//! A lane takes the next event, makes its write, and takes the next one again.
//! Two events of one flight are hours apart, so they seldom meet; where they
//! do, the later one waits until the earlier one is written.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use kv_runtime::{Error, KvModel, Receipt, Repository};
use tokio::task::JoinSet;

use crate::model::{Flight, Status};
use crate::replay::{Event, Replay};

/// How long to wait before looking again whether a flight's earlier event is written.
const PAUSE_FOR_EARLIER: Duration = Duration::from_millis(1);

/// How long to wait before a write that found its queue full is tried again.
const PAUSE_WHEN_FULL: Duration = Duration::from_millis(2);

/// How far the replay is, for the board to look at.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How many events are begun: the replay's clock stands at the last of them.
    pub(crate) started: AtomicUsize,
    /// How many writes were acknowledged.
    pub(crate) written: AtomicU64,
    /// How often a write had to wait because its queue was full.
    pub(crate) waited: AtomicU64,
    /// When the first write began, and how long it took until the last was acknowledged.
    first: OnceLock<Instant>,
    duration: OnceLock<Duration>,
}

impl Progress {
    /// How long it has been writing.
    pub(crate) fn write_time(&self) -> Duration {
        let so_far = || self.first.get().map_or(Duration::ZERO, Instant::elapsed);
        self.duration.get().copied().unwrap_or_else(so_far)
    }
}

/// How the writes are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Writes under way at once.
    pub(crate) in_flight: usize,
    /// Writes per second; 0 is as fast as it goes.
    pub(crate) rate: u32,
}

/// What the lanes share.
struct Lanes {
    flights: Repository<Flight>,
    replay: Arc<Replay>,
    progress: Arc<Progress>,
    rate: u32,
    start: Instant,
    /// The position of the event that the next lane takes.
    next: AtomicUsize,
    /// How many events of each flight are written.
    done: Vec<AtomicU8>,
}

/// Writes all events and answers how long each write took, in nanoseconds.
pub(crate) async fn write_all(
    flights: Repository<Flight>,
    replay: Arc<Replay>,
    pace: Pace,
    progress: Arc<Progress>,
) -> Result<Histogram<u64>> {
    let start = *progress.first.get_or_init(Instant::now);
    let done = replay.flights.iter().map(|_| AtomicU8::new(0)).collect();
    let (rate, next) = (pace.rate, AtomicUsize::new(0));
    let lanes = Arc::new(Lanes { flights, replay, progress, rate, start, next, done });
    // Dropped with this future, and the lanes with it, when the replay is interrupted.
    let mut tasks = JoinSet::new();
    for _ in 0..pace.in_flight {
        tasks.spawn(Arc::clone(&lanes).run());
    }
    let mut latencies = new_histogram()?;
    while let Some(lane) = tasks.join_next().await {
        latencies.add(lane.context("a lane of the replay broke")??)?;
    }
    lanes.progress.duration.get_or_init(|| start.elapsed());
    Ok(latencies)
}

impl Lanes {
    /// One lane, until no event is left.
    async fn run(self: Arc<Self>) -> Result<Histogram<u64>> {
        let mut latencies = new_histogram()?;
        loop {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&event) = self.replay.events.get(position) else { return Ok(latencies) };
            self.wait_until_due(position).await;
            let done = &self.done[event.flight];
            while done.load(Ordering::Acquire) < event.step() {
                tokio::time::sleep(PAUSE_FOR_EARLIER).await;
            }
            self.progress.started.fetch_max(position + 1, Ordering::Relaxed);
            let start = Instant::now();
            self.write(event).await?;
            latencies.record(u64::try_from(start.elapsed().as_nanos())?)?;
            done.store(event.step() + 1, Ordering::Release);
            self.progress.written.fetch_add(1, Ordering::Relaxed);
            // In memory a write never has to wait: others would get no turn.
            tokio::task::coop::consume_budget().await;
        }
    }

    async fn wait_until_due(&self, position: usize) {
        if self.rate > 0 {
            let due = Duration::from_secs_f64(position as f64 / f64::from(self.rate));
            tokio::time::sleep_until((self.start + due).into()).await;
        }
    }

    async fn write(&self, event: Event) -> Result<()> {
        let flight = &self.replay.flights[event.flight];
        loop {
            match write(&self.flights, flight, event.status).await {
                // The drain is waited for once, at the end, so no receipt is needed.
                Ok(_) => return Ok(()),
                // The writes outrun the drain; it is at work, so there will be room.
                Err(Error::Full { .. }) => {
                    self.progress.waited.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE_WHEN_FULL).await;
                }
                Err(error) if error.is_duplicate() => bail!(
                    "{error}; an earlier run left {} in Redis: give a Redis without it",
                    flight.name()
                ),
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("flight {} could not be written", flight.name()));
                }
            }
        }
    }
}

/// Makes the one write that tells what the flight became.
async fn write(
    flights: &Repository<Flight>,
    flight: &Flight,
    status: Status,
) -> Result<Receipt, Error> {
    let patch = Flight::patch().status(status);
    let patch = match status {
        Status::Scheduled => return flights.create(&flight.as_scheduled()).await,
        Status::Cancelled => patch,
        Status::Departed => patch.dep_time(flight.dep_time).dep_delay(flight.dep_delay),
        Status::Diverted => patch.arr_time(flight.arr_time),
        Status::Arrived => {
            patch.arr_time(flight.arr_time).arr_delay(flight.arr_delay).air_time(flight.air_time)
        }
    };
    flights.update(&flight.row_id(), patch).await
}

fn new_histogram() -> Result<Histogram<u64>> {
    // To three digits; it grows with the longest latency.
    Histogram::new(3).context("the histogram of latencies cannot be made")
}
