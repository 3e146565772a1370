//! `capabilities.md` names tests that exist: by their file below `tests/tests`, or those of an example
//! and benchmarks by their path from the top, as `examples/<name>/tests/…`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The cells of a table's row, without the heading and the line below it.
fn cells(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    cells[0].starts_with(|first: char| first.is_ascii_uppercase()).then_some(cells)
}

/// Where the file of a test is.
fn path_of(file: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    match file.split('/').next() {
        Some("benches" | "examples" | "tests") => tests.join("..").join(file),
        _ => tests.join("tests").join(file),
    }
}

/// Whether a file has a test of this name, or the body of one that a macro makes.
fn has_test(file: &Path, name: &str) -> bool {
    let source = fs::read_to_string(file).unwrap_or_default();
    source.contains(&format!("fn {name}(")) || source.contains(&format!("fn {name}<"))
}

#[test]
fn every_capability_names_tests_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(folder.join("capabilities.md")).expect("the table");
    let mut ids = BTreeSet::new();
    let mut mistakes = Vec::new();
    for row in table.lines().filter_map(cells) {
        let [id, _, tests, ""] = row[..] else { panic!("not three cells: {row:?}") };
        if !ids.insert(id) {
            mistakes.push(format!("{id} is there twice"));
        }
        let names: Vec<&str> =
            tests.split('`').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            mistakes.push(format!("{id} names no test"));
        }
        for name in names {
            let exists =
                name.split_once("::").is_some_and(|(file, test)| has_test(&path_of(file), test));
            if !exists {
                mistakes.push(format!("{id}: there is no test `{name}`"));
            }
        }
    }
    assert!(!ids.is_empty(), "no row of the table was understood");
    assert!(mistakes.is_empty(), "capabilities.md:\n{}", mistakes.join("\n"));
}
