//! What an instance counts, in the text form of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use kv_runtime::QueueStatus;

use crate::board::Board;
use crate::model::Processor;

/// Counters since the start of the instance.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Payments that were accepted.
    pub(crate) accepted: AtomicU64,
    /// Requests for payments that are there already.
    pub(crate) duplicates: AtomicU64,
    /// Requests that could not be stored.
    pub(crate) failed: AtomicU64,
    /// Payments that a processor was found to have, by processor.
    pub(crate) processed: [AtomicU64; 2],
    /// Attempts that a processor refused, by processor.
    pub(crate) refused: [AtomicU64; 2],
    /// Attempts of which it is not clear what became of them, by processor.
    pub(crate) unclear: [AtomicU64; 2],
    /// Payments that were taken over after their lease.
    pub(crate) taken_over: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, with the state of the queue where it is known.
    pub(crate) fn render(&self, board: &Board, queue: Option<QueueStatus>) -> String {
        let mut text = String::new();
        let single = [
            ("payments_accepted_total", "Payments that were accepted.", &self.accepted),
            ("payments_duplicate_total", "Requests for known payments.", &self.duplicates),
            ("payments_failed_total", "Requests that could not be stored.", &self.failed),
            ("payments_taken_over_total", "Payments taken over.", &self.taken_over),
        ];
        for (name, help, counter) in single {
            let value = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let by_processor = [
            ("payments_processed_total", "Payments at a processor.", &self.processed),
            ("payments_refused_total", "Attempts that were refused.", &self.refused),
            ("payments_unclear_total", "Attempts without a clear end.", &self.unclear),
        ];
        for (name, help, counters) in by_processor {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
            for processor in Processor::ALL {
                let (label, counter) = (processor.name(), &counters[processor as usize]);
                let value = counter.load(Ordering::Relaxed);
                let _ = writeln!(text, "{name}{{processor=\"{label}\"}} {value}");
            }
        }
        let name = "processor_healthy";
        let _ = writeln!(text, "# HELP {name} Whether it takes payments.\n# TYPE {name} gauge");
        for processor in Processor::ALL {
            let value = u8::from(board.is_healthy(processor));
            let _ = writeln!(text, "{name}{{processor=\"{}\"}} {value}", processor.name());
        }
        if let Some(QueueStatus { undrained, lag, .. }) = queue {
            let _ = writeln!(
                text,
                "# HELP payments_undrained Entries that PostgreSQL does not have yet.\n\
                 # TYPE payments_undrained gauge\npayments_undrained {undrained}\n\
                 # HELP payments_drain_lag_seconds The age of the oldest of them.\n\
                 # TYPE payments_drain_lag_seconds gauge\n\
                 payments_drain_lag_seconds {}",
                lag.as_secs_f64()
            );
        }
        text
    }
}
