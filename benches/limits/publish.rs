//! Where the figures go: `summary.json` always, `BENCHMARKS.md` and its plots when asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::options::Options;
use crate::report::{Goal, Line, Report, name_of};
use crate::{Outcome, plot};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const BEGIN: &str = "<!-- figures: written by the benchmark -->\n";
const END: &str = "<!-- end of figures -->";

pub(crate) fn write(options: &Options, report: &Report) -> Outcome<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from);
    let folder = target.join("bench");
    fs::create_dir_all(&folder)?;
    let summary = serde_json::to_string_pretty(&report.json())?;
    fs::write(folder.join("summary.json"), summary + "\n")?;
    let plots = if options.publish { Path::new(ROOT).join("docs/benchmarks") } else { folder };
    fs::create_dir_all(&plots)?;
    // A run of some sections has nothing to draw of the others.
    if !report.lag.is_empty() {
        plot::lag(&plots.join("lag.svg"), &report.lag)?;
    }
    if !report.batches.is_empty() {
        plot::batches(&plots.join("batches.svg"), &report.batches)?;
    }
    if options.publish { publish(options, report) } else { Ok(()) }
}

fn publish(options: &Options, report: &Report) -> Outcome<()> {
    let path = Path::new(ROOT).join("BENCHMARKS.md");
    let page = fs::read_to_string(&path)?;
    let missing = "BENCHMARKS.md has no place for figures";
    let (before, rest) = page.split_once(BEGIN).ok_or(missing)?;
    let (known, after) = rest.split_once(END).ok_or(missing)?;
    // A run of some sections leaves what it has not measured as it is.
    let (machine, known) = match known.find("| what ") {
        Some(at) if options.is_partial() => (known[..at].to_owned(), &known[at..]),
        _ => (format!("\n{}\n", machine(options)), ""),
    };
    let table = table(report, known);
    fs::write(path, format!("{before}{BEGIN}{machine}{table}\n{END}{after}"))?;
    Ok(())
}

fn machine(options: &Options) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {model}; {}; {}; {}; {} rounds of {} rows.\n",
        version("Redis", "redis-server"),
        version("PostgreSQL", "postgres"),
        version("Rust", "rustc"),
        options.rounds(),
        options.rows(),
    )
}

/// A program with the version that it says of itself.
fn version(name: &str, program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let mut words = said.split_whitespace().map(|word| word.trim_start_matches("v="));
    let number = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    format!("{name} {}", number.unwrap_or("of an unknown version"))
}

/// The table. Of rows that this run has none of, those that are known stay.
fn table(report: &Report, known: &str) -> String {
    let name = |line: &str| line.split(" | ").next().map(str::to_owned);
    let mut table: Vec<String> =
        known.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect();
    if table.is_empty() {
        table.push("| what | beside | that | kv-runtime | ratio | spread | goal |".to_owned());
        table.push("| --- | --- | ---: | ---: | ---: | ---: | ---: |".to_owned());
    }
    let lines = report.lines();
    for line in lines.iter().filter(|line| line.is_ours()) {
        let line = table_line(line, &lines);
        match table.iter_mut().find(|known| name(known) == name(&line)) {
            Some(known) => *known = line,
            None => table.push(line),
        }
    }
    table.join("\n") + "\n"
}

fn table_line(line: &Line<'_>, lines: &[Line<'_>]) -> String {
    let bases = lines.iter().filter(|other| other.row == line.row && !other.is_ours());
    let bases: Vec<&Line<'_>> = bases.collect();
    let names: Vec<&str> = bases.iter().map(|base| base.contender).collect();
    let figures: Vec<String> = bases.iter().map(|base| digits(base.figure.median)).collect();
    format!(
        "| {}, {} | {} | {} | {} | {:.2} | {:.2}–{:.2} | {} |",
        name_of(line),
        line.row.unit,
        names.join("; "),
        figures.join("; "),
        digits(line.figure.median),
        line.ratio.median,
        line.ratio.low,
        line.ratio.high,
        goal(line),
    )
}

/// With a mark where it is met.
fn goal(line: &Line<'_>) -> String {
    // As the table shows it.
    let ratio = (line.ratio.median * 100.0).round() / 100.0;
    let is_met = match line.row.goal {
        Goal::AtLeast(goal) => ratio >= goal,
        Goal::AtMost(goal) => ratio <= goal,
        Goal::None => return line.row.goal.text(),
    };
    format!("{} {}", line.row.goal.text(), if is_met { "✓" } else { "✗" })
}

/// Three digits at least, and no more than are known.
fn digits(figure: f64) -> String {
    if figure >= 100.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}
