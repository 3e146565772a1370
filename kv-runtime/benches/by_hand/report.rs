//! Figures of several rounds: medians, spread, and ratios within a round.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::Outcome;

/// Rates by row of the table and contender, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Vec<Contender>)>,
}

#[derive(Debug)]
struct Contender {
    name: String,
    rates: Vec<f64>,
}

/// The lowest, the middle and the highest.
#[derive(Debug, Clone, Copy)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { low: at(0), median: at(values.len() / 2), high: at(values.len().saturating_sub(1)) }
    }
}

impl Report {
    /// One figure of one round. The first contender of a row is the one to compare with.
    pub(crate) fn add(&mut self, row: &str, contender: &str, rate: f64) {
        let at = self.rows.iter().position(|(name, _)| name == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), Vec::new()));
            self.rows.len() - 1
        });
        let contenders = &mut self.rows[at].1;
        match contenders.iter_mut().find(|other| other.name == contender) {
            Some(other) => other.rates.push(rate),
            None => {
                contenders.push(Contender { name: contender.to_owned(), rates: vec![rate] });
            }
        }
    }

    /// The table, for a person.
    pub(crate) fn print(&self) {
        println!(
            "{:26} {:26} {:>10} {:>10} {:>10}  {:>6} {:>13}",
            "what", "who", "low /s", "median /s", "high /s", "ratio", "spread"
        );
        for (row, contenders) in &self.rows {
            let Some(base) = contenders.first() else { continue };
            for contender in contenders {
                let rate = Spread::of(contender.rates.clone());
                let ratio = ratio(contender, base);
                println!(
                    "{row:26} {:26} {:>10.0} {:>10.0} {:>10.0}  {:>6.2} {:>6.2}–{:.2}",
                    contender.name,
                    rate.low,
                    rate.median,
                    rate.high,
                    ratio.median,
                    ratio.low,
                    ratio.high
                );
            }
        }
    }

    /// The same for a program, in `target/bench/summary.json`.
    pub(crate) fn write_json(&self) -> Outcome<()> {
        let rows: Vec<Value> =
            self.rows.iter().flat_map(|(row, all)| Self::json(row, all)).collect();
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
            PathBuf::from,
        );
        let folder = target.join("bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("summary.json"), serde_json::to_string_pretty(&rows)?)?;
        Ok(())
    }

    fn json(row: &str, contenders: &[Contender]) -> Vec<Value> {
        let Some(base) = contenders.first() else { return Vec::new() };
        let object = |contender: &Contender| {
            let rate = Spread::of(contender.rates.clone());
            let ratio = ratio(contender, base);
            let fields: BTreeMap<&str, Value> = BTreeMap::from([
                ("name", json!(row)),
                ("contender", json!(contender.name)),
                ("per_second", json!(rate.median)),
                ("low", json!(rate.low)),
                ("high", json!(rate.high)),
                ("ratio", json!(ratio.median)),
            ]);
            json!(fields)
        };
        contenders.iter().map(object).collect()
    }
}

/// Of two contenders, round by round, so that what slows both down cancels out.
fn ratio(contender: &Contender, base: &Contender) -> Spread {
    Spread::of(contender.rates.iter().zip(&base.rates).map(|(own, other)| own / other).collect())
}
