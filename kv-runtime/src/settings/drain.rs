//! The drainer's choices.

use std::time::Duration;

/// How the drainer works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrainSettings {
    /// How long it waits for more entries when a batch was not full. Default 100 ms.
    pub interval: Duration,
    /// How long it waits at most where the entries since its last wait, a tenth of `batch_entries` or
    /// more, were about the same rows again and again: for ten entries a row ten times the interval,
    /// so that PostgreSQL has one write for many. Default 1 s; what is not longer than the interval
    /// makes no wait longer. Where writers wait (`write_through`) and where a queue would become half
    /// full meanwhile, it does not wait for longer either, and a flush and a shutdown cut it short;
    /// who awaits receipts of such rows waits with it.
    pub interval_max: Duration,
    /// The most entries of a batch, which is one transaction; twice as many where most of the last
    /// ones were about the same rows. Default 5,000.
    pub batch_entries: usize,
    /// The most bytes of a batch's entries; one entry alone may have more. Default 16 MiB.
    pub batch_bytes: usize,
    /// How long a claim on a partition outlives its drainer. Within this time the drainers share
    /// the partitions anew after one has joined or died. Default 10 s.
    pub lease: Duration,
    /// After how long an entry of a model that no drainer knows becomes a dead letter. Default
    /// `None`: never, it waits for a drainer that knows the model.
    pub refuse_unknown_after: Option<Duration>,
    /// How many batches are on their way at once; each worker has its own share of the
    /// partitions and its own connection. Default 4.
    pub workers: usize,
    /// How long drained entries are kept on the queue. Default 10 s.
    pub retention: Duration,
    /// The first wait after a failure; it doubles up to `backoff_max`. Default 100 ms.
    pub backoff_min: Duration,
    /// The longest wait between two tries. Default 30 s.
    pub backoff_max: Duration,
    /// How long a shutdown may take to drain what is queued. Default 30 s.
    pub shutdown_timeout: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            interval_max: Duration::from_secs(1),
            batch_entries: 5_000,
            batch_bytes: 16 << 20,
            lease: Duration::from_secs(10),
            refuse_unknown_after: None,
            workers: 4,
            retention: Duration::from_secs(10),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}
