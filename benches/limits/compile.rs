//! What one more model costs to compile, and in the program: the derive beside those of Diesel and
//! serde on the same struct.
//!
//! A program with many copies of a model is built, and one with a single copy; the difference counts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::report::{Goal, OURS, Report, Row};
use crate::{Bench, Outcome};

// They are built here as well, so that what is copied is known to compile.
#[allow(dead_code, unreachable_pub)]
mod by_hand;
#[allow(dead_code, unreachable_pub)]
mod derived;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// How many models the large program has.
const MODELS: usize = 50;

/// A way to write a model.
struct Way {
    /// In the report.
    name: &'static str,
    package: &'static str,
    model: &'static str,
    dependencies: &'static str,
    /// The beginning of the program's `main`.
    beginning: &'static str,
    /// What the models of a program are run with.
    argument: &'static str,
}

const BY_HAND: Way = Way {
    name: "Diesel and serde",
    package: "models-by-hand",
    model: include_str!("compile/by_hand.rs"),
    dependencies: r#"
chrono = { version = "0.4", features = ["serde"] }
diesel = { version = "2.3", default-features = false, features = ["postgres_backend", "chrono", "uuid", "32-column-tables"] }
diesel-async = { version = "0.9", features = ["postgres"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt"] }
uuid = { version = "1", features = ["serde"] }
"#,
    beginning: "use diesel_async::AsyncConnection;
    let connection = &mut diesel_async::AsyncPgConnection::establish(&url).await?;",
    argument: "connection",
};

const DERIVED: Way = Way {
    name: OURS,
    package: "models-derived",
    model: include_str!("compile/derived.rs"),
    dependencies: r#"
chrono = "0.4"
kv-runtime = { path = "../../../../kv-runtime" }
tokio = { version = "1", features = ["macros", "rt"] }
uuid = "1"
"#,
    beginning: "let kv = &kv_runtime::Kv::connect(kv_runtime::Settings::new(&*url, &*url)).await?;",
    argument: "kv",
};

/// In a short run nothing is built: that the models compile is known by this program's being there.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    if bench.options.is_short() {
        return Ok(());
    }
    let goal = Goal::AtMost(1.0);
    let clean = Row::new("one more model: compile time, clean", "ms", goal);
    let incremental = Row::new("one more model: compile time, incremental", "ms", goal);
    let size = Row::new("one more model: size in the program", "kB", goal);
    for way in [BY_HAND, DERIVED] {
        let program = Program::new(way)?;
        let each = |one: f64, all: f64| (all - one) / (MODELS - 1) as f64;
        let (one, all) = (program.build_anew(1)?, program.build_anew(MODELS)?);
        report.add(&clean, program.way.name, each(milliseconds(one), milliseconds(all)));
        report.add(&incremental, program.way.name, milliseconds(program.build_one_more()?));
        let (one, all) = (program.size(1)?, program.size(MODELS)?);
        report.add(&size, program.way.name, each(one as f64, all as f64) / 1e3);
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A package below the target directory.
struct Program {
    way: Way,
    directory: PathBuf,
}

impl Program {
    /// With all that it depends on compiled.
    fn new(way: Way) -> Outcome<Self> {
        let directory = Path::new(ROOT).join("target/bench/compile").join(way.package);
        fs::create_dir_all(directory.join("src"))?;
        let Way { package, dependencies, .. } = way;
        let manifest = format!(
            "[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dependencies]{dependencies}\n[profile.dev]\ndebug = \"line-tables-only\"\n\n\
             [profile.release]\nstrip = true\n\n[workspace]\n"
        );
        fs::write(directory.join("Cargo.toml"), manifest)?;
        // The versions of this workspace.
        fs::copy(Path::new(ROOT).join("Cargo.lock"), directory.join("Cargo.lock"))?;
        let program = Self { way, directory };
        program.write(1)?;
        program.cargo(&["build"], "0")?;
        program.cargo(&["build", "--release"], "0")?;
        Ok(program)
    }

    /// A program of so many models.
    fn write(&self, models: usize) -> Outcome<()> {
        let Way { model, beginning, argument, .. } = self.way;
        let (mut modules, mut calls) = (String::new(), String::new());
        for number in 0..models {
            let path = self.directory.join(format!("src/model_{number}.rs"));
            // One that is there already has not changed.
            if !path.exists() {
                fs::write(path, model)?;
            }
            modules.push_str(&format!("mod model_{number};\n"));
            calls.push_str(&format!("    model_{number}::run({argument}).await?;\n"));
        }
        let main = format!(
            "{modules}\n#[tokio::main(flavor = \"current_thread\")]\n\
             async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {{\n    \
             let url = std::env::args().nth(1).unwrap_or_default();\n    {beginning}\n{calls}    \
             Ok(())\n}}\n"
        );
        fs::write(self.directory.join("src/main.rs"), main)?;
        Ok(())
    }

    /// How long the package itself takes without anything compiled before.
    fn build_anew(&self, models: usize) -> Outcome<Duration> {
        self.write(models)?;
        self.cargo(&["clean", "--package", self.way.package], "0")?;
        self.cargo(&["build"], "0")
    }

    /// How long it takes when one model is added to many.
    fn build_one_more(&self) -> Outcome<Duration> {
        self.write(MODELS)?;
        self.cargo(&["build"], "1")?;
        self.write(MODELS + 1)?;
        self.cargo(&["build"], "1")
    }

    /// In bytes, optimised and without symbols.
    fn size(&self, models: usize) -> Outcome<u64> {
        self.write(models)?;
        self.cargo(&["build", "--release"], "0")?;
        Ok(fs::metadata(self.directory.join("target/release").join(self.way.package))?.len())
    }

    fn cargo(&self, arguments: &[&str], incremental: &str) -> Outcome<Duration> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).arg("--quiet").current_dir(&self.directory);
        cargo.env("CARGO_INCREMENTAL", incremental).env_remove("CARGO_TARGET_DIR");
        let began = Instant::now();
        let status = cargo.status()?;
        match status.success() {
            true => Ok(began.elapsed()),
            false => Err(format!("`cargo {}` failed: {status}", arguments.join(" ")).into()),
        }
    }
}
