//! What a run came to, with the contest's score.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;

use super::audit::Audits;
use super::users::{Answered, SLICES, quantile_ms};
use crate::processor::LedgerSummary;

/// Below this 99th percentile, in milliseconds, there is a bonus.
const BONUS_BELOW_MS: f64 = 11.0;

/// The bonus for each millisecond.
const BONUS: f64 = 0.02;

/// What any inconsistency costs.
const FINE: f64 = 0.35;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The schedule.
    pub schedule: &'static str,
    /// How long it took.
    pub length: Duration,
    /// What came of the users' requests.
    pub service: Arc<Answered>,
    /// The same of somebody who answers at once, on the same machine at the same time.
    pub floor: Arc<Answered>,
    /// What the audits found.
    pub audits: Audits,
    /// What the processors had when the time was over: the default, the fallback.
    pub at_end: [LedgerSummary; 2],
    /// What they had when nothing was under way any more.
    pub settled: [LedgerSummary; 2],
}

/// The contest's score, and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// What was paid.
    pub amount: Decimal,
    /// What the processors took of it.
    pub fee: Decimal,
    /// What quick answers add, as a part of what is left.
    pub bonus: Decimal,
    /// What inconsistencies take, as a part of what is left.
    pub fine: Decimal,
    /// What is left in the end.
    pub total: Decimal,
}

impl Report {
    /// How many accepted payments the processors did not have when the time was over; negative
    /// where they had more than were accepted.
    pub fn lag(&self) -> i64 {
        self.lag_of(&self.at_end)
    }

    /// The same when nothing was under way any more.
    pub fn undelivered(&self) -> i64 {
        self.lag_of(&self.settled)
    }

    fn lag_of(&self, ledgers: &[LedgerSummary; 2]) -> i64 {
        let recorded: u64 = ledgers.iter().map(|ledger| ledger.total_requests).sum();
        self.service.successes.cast_signed() - recorded.cast_signed()
    }

    /// By the rules of the contest: what is left of the payments that the processors had in time.
    pub fn score(&self) -> Score {
        let sum = |of: fn(&LedgerSummary) -> Decimal| self.at_end.iter().map(of).sum::<Decimal>();
        let amount = sum(|ledger| ledger.total_amount.0);
        let fee = sum(|ledger| ledger.total_fee.0);
        let bonus = ((BONUS_BELOW_MS - self.service.quantile_ms(0.99)) * BONUS).max(0.0);
        let fine = if self.audits.inconsistencies > 0 { FINE } else { 0.0 };
        let [bonus, fine] =
            [bonus, fine].map(|part| Decimal::from_f64(part).unwrap_or_default().round_dp(2));
        let total = ((amount - fee) * (Decimal::ONE + bonus - fine)).round_dp(2);
        Score { amount, fee, bonus, fine, total }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedule, service, floor, audits, at_end, .. } = self;
        let score = self.score();
        let percent = |part: Decimal| (part * Decimal::ONE_HUNDRED).normalize();
        let [default, fallback] = at_end.map(|ledger| ledger.total_requests);
        writeln!(f, "schedule          {schedule}")?;
        writeln!(f, "requests          {} ({} accepted)", service.requests, service.successes)?;
        for (name, answered) in [("service", service), ("floor", floor)] {
            let [p50, p99] = [0.5, 0.99].map(|quantile| answered.quantile_ms(quantile));
            writeln!(f, "{name:<17} p50 {p50:.2} ms, p99 {p99:.2} ms")?;
        }
        writeln!(f, "processors        {default} default, {fallback} fallback")?;
        writeln!(f, "lag               {} at the end, {} later", self.lag(), self.undelivered())?;
        writeln!(f, "inconsistencies   {} in {} audits", audits.inconsistencies, audits.number)?;
        writeln!(f, "amount, fees      {}, {}", score.amount, score.fee.normalize())?;
        writeln!(f, "bonus, fine       {} %, {} %", percent(score.bonus), percent(score.fine))?;
        writeln!(f, "score             {}", score.total)?;
        write!(f, "\n  time   accepted   p50 ms   p99 ms")?;
        for (number, latencies) in service.slices.iter().enumerate() {
            let seconds = (self.length * number as u32 / SLICES).as_secs_f64();
            let [p50, p99] = [0.5, 0.99].map(|quantile| quantile_ms(latencies, quantile));
            // By its logarithm, so that a good one can be told from a better one.
            let bar = "█".repeat((8.0 * (1.0 + p99).log10()).round() as usize);
            let accepted = latencies.len();
            write!(f, "\n{seconds:>4.0} s {accepted:>10} {p50:>8.2} {p99:>8.2} {bar}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::amount::Amount;

    fn answered(successes: u64, latency_ms: u64) -> Arc<Answered> {
        let mut latencies = Histogram::new_with_max(1_000_000, 3).expect("it is valid");
        latencies.saturating_record_n(latency_ms * 1_000, successes);
        let slices = vec![latencies.clone(); 1];
        Arc::new(Answered { requests: successes, successes, latencies, slices })
    }

    fn ledger(number: u64, amount: &str, fee: &str) -> LedgerSummary {
        let [amount, fee]: [Decimal; 2] = [amount, fee].map(|text| text.parse().expect("a number"));
        LedgerSummary {
            total_requests: number,
            total_amount: Amount(amount),
            total_fee: Amount(amount * fee),
            fee_per_transaction: Amount(fee),
        }
    }

    fn report(latency_ms: u64, inconsistencies: u64) -> Report {
        let ledgers = [ledger(60, "1194.00", "0.05"), ledger(30, "597.00", "0.15")];
        Report {
            schedule: "preview",
            length: Duration::from_secs(60),
            service: answered(100, latency_ms),
            floor: answered(10, 1),
            audits: Audits { number: 6, inconsistencies },
            at_end: ledgers,
            settled: [ledger(70, "1393.00", "0.05"), ledgers[1]],
        }
    }

    #[test]
    fn the_score_is_that_of_the_contest() {
        // 1791.00 without 59.70 and 89.55 of fees.
        let decimal = |text: &str| text.parse::<Decimal>().expect("a number");
        let slow = report(50, 0).score();
        assert_eq!((slow.amount, slow.fee), (decimal("1791.00"), decimal("149.25")));
        assert_eq!(slow.total, decimal("1641.75"));
        assert_eq!(report(6, 0).score().total, decimal("1805.92"), "a tenth more");
        assert_eq!(report(50, 1).score().total, decimal("1067.14"), "35 percent less");
    }

    #[test]
    fn the_lag_is_what_was_accepted_and_is_not_recorded() {
        let report = report(50, 0);
        assert_eq!((report.lag(), report.undelivered()), (10, 0));
        let text = report.to_string();
        assert!(text.contains("lag               10 at the end, 0 later"), "{text}");
        assert!(text.contains("p99 50."), "{text}");
        assert!(text.contains("   0 s        100    50."), "{text}");
    }
}
