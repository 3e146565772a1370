//! A short run of the torture; its seed chooses the same faults and writes each time. A long one:
//! `cargo run -p kv-tests --bin torture -- --seconds 600`.

use std::process::Command;

use serde_json::Value;

const FAULTS: [&str; 9] = [
    "writers killed",
    "writers paused",
    "drainers killed",
    "drainers paused",
    "PostgreSQL restarted at once",
    "Redis killed",
    "connections cut",
    "connections stalled",
    "answers lost",
];

#[test]
fn nothing_differs_after_a_minute_of_faults() {
    let directory = tempfile::tempdir().expect("a directory");
    let json = directory.path().join("report.json");
    let status = Command::new(env!("CARGO_BIN_EXE_torture"))
        .args(["--seed", "7", "--seconds", "45", "--writers", "3", "--drainers", "3", "--json"])
        .arg(&json)
        .status()
        .expect("the program is built");
    let report = std::fs::read(&json).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("a JSON object");
    let count = |place: &str| report.pointer(place).and_then(Value::as_u64).expect("a number");

    assert_eq!(report["differences"], Value::Array(Vec::new()));
    assert!(status.success(), "{status}");
    for fault in FAULTS {
        assert!(count(&format!("/faults/{fault}")) > 0, "{fault}");
    }
    assert!(count("/writes/acknowledged") > 3_000, "{report:#}");
    assert!(count("/writes/unknown") > 0, "{report:#}");
    assert!(count("/writes/held") > 0, "{report:#}");
    assert!(count("/compared/rows_there") > 200, "{report:#}");
    assert!(count("/compared/letters_refused") > 0, "{report:#}");
    assert!(count("/compared/letters_behind") > 0, "{report:#}");
    assert!(count("/compared/partitions") > 0, "{report:#}");
}
