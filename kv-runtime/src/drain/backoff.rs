//! How long to wait after a failure.

use std::time::Duration;

use crate::settings::DrainSettings;

/// Doubles from `backoff_min` to `backoff_max`, each wait between half of that and all of it,
/// so that drainers that failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(settings: &DrainSettings) -> Self {
        Self { min: settings.backoff_min, max: settings.backoff_max, failures: 0 }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let doubled = self.min.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        doubled.min(self.max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over_after_a_success() {
        let settings = DrainSettings::default();
        let mut backoff = Backoff::new(&settings);
        for expected_ms in [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
        {
            let wait = backoff.failed();
            let longest = Duration::from_millis(expected_ms);
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
        }
        backoff.succeeded();
        assert!(backoff.failed() <= settings.backoff_min);
    }
}
