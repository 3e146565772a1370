//! Latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// How long each of many operations took, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    microseconds: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        // Three digits are within what it can have.
        let microseconds = Histogram::new(3).expect("three digits");
        Self { microseconds }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // It grows as it has to.
        self.microseconds.record(microseconds).expect("it grows");
    }

    /// In milliseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.microseconds.value_at_quantile(quantile) as f64 / 1_000.0
    }
}
