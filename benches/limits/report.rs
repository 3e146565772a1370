//! Figures of several rounds: medians, spread, and ratios within a round.

use serde_json::{Value, json};

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) goal: Goal,
    /// What a contender's figure counts: `rows/s`, `ms`.
    pub(crate) unit: &'static str,
}

/// What the framework's ratio to the first contender is to be; of a row without another contender,
/// its figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Reported alone.
    None,
}

/// The framework's name among the contenders.
pub(crate) const OURS: &str = "kv-runtime";

/// Figures by row and contender, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(Row, Vec<Contender>)>,
    /// What a plot shows; of several rounds the last.
    pub(crate) lag: Vec<LagSample>,
    pub(crate) batches: Vec<(usize, f64)>,
}

/// How far the drainer was behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LagSample {
    /// Seconds since the writers began.
    pub(crate) at: f64,
    /// Milliseconds.
    pub(crate) lag: f64,
    /// Entries.
    pub(crate) undrained: f64,
}

#[derive(Debug)]
struct Contender {
    name: String,
    figures: Vec<f64>,
}

/// The lowest, the middle and the highest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { low: at(0), median: at(values.len() / 2), high: at(values.len().saturating_sub(1)) }
    }
}

/// One line of what was found.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) row: &'a Row,
    pub(crate) contender: &'a str,
    pub(crate) figure: Spread,
    /// To the first contender; of one alone, its figure.
    pub(crate) ratio: Spread,
}

impl Line<'_> {
    pub(crate) fn is_ours(&self) -> bool {
        self.contender.starts_with(OURS)
    }
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, goal: Goal) -> Self {
        Self { name: name.into(), goal, unit }
    }
}

impl Goal {
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal}"),
            Self::AtMost(goal) => format!("≤ {goal}"),
            Self::None => "reported".to_owned(),
        }
    }
}

impl Report {
    /// One figure of one round. The first contender of a row is the one to compare with.
    pub(crate) fn add(&mut self, row: &Row, contender: &str, figure: f64) {
        let at = self.rows.iter().position(|(known, _)| known == row).unwrap_or_else(|| {
            self.rows.push((row.clone(), Vec::new()));
            self.rows.len() - 1
        });
        let contenders = &mut self.rows[at].1;
        match contenders.iter_mut().find(|other| other.name == contender) {
            Some(other) => other.figures.push(figure),
            None => {
                contenders.push(Contender { name: contender.to_owned(), figures: vec![figure] });
            }
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line<'_>> {
        self.rows.iter().flat_map(|(row, contenders)| lines_of(row, contenders)).collect()
    }

    /// The table, for a person.
    pub(crate) fn print(&self) {
        println!(
            "{:34} {:30} {:>11} {:>11} {:>11}  {:>7} {:>15}  goal",
            "what", "who", "low", "median", "high", "ratio", "spread"
        );
        for Line { row, contender, figure, ratio, .. } in self.lines() {
            println!(
                "{:34} {contender:30} {:>11.2} {:>11.2} {:>11.2}  {:>7.2} {:>7.2}–{:<7.2}  {}",
                format!("{}, {}", row.name, row.unit),
                figure.low,
                figure.median,
                figure.high,
                ratio.median,
                ratio.low,
                ratio.high,
                row.goal.text(),
            );
        }
    }

    /// One object a row of the table, for a program.
    pub(crate) fn json(&self) -> Value {
        let ours = self.lines().into_iter().filter(Line::is_ours);
        ours.map(|line| {
            json!({
                "name": name_of(&line),
                "ratio": line.ratio.median,
                "goal": line.row.goal.text(),
                "low": line.ratio.low,
                "high": line.ratio.high,
            })
        })
        .collect()
    }
}

/// A row's name; of several variants of the framework, with the variant.
pub(crate) fn name_of(line: &Line<'_>) -> String {
    let variant = line.contender.strip_prefix(OURS).unwrap_or_default();
    format!("{}{variant}", line.row.name)
}

fn lines_of<'a>(row: &'a Row, contenders: &'a [Contender]) -> Vec<Line<'a>> {
    let base = contenders.first();
    let line = |contender: &'a Contender| {
        let is_alone = contenders.len() == 1;
        let figure = Spread::of(contender.figures.clone());
        let ratio = match base {
            Some(base) if !is_alone => ratio(contender, base),
            _ => figure,
        };
        Line { row, contender: &contender.name, figure, ratio }
    };
    contenders.iter().map(line).collect()
}

/// Of two contenders, round by round, so that what slows both down cancels out.
fn ratio(contender: &Contender, base: &Contender) -> Spread {
    let pairs = contender.figures.iter().zip(&base.figures);
    Spread::of(pairs.map(|(own, other)| own / other).collect())
}
