//! Every key that is left in Redis is accounted for.

use std::collections::{BTreeMap, BTreeSet};

use super::history::possible_in_redis;
use super::stored::{Hot, Letter, Offset, Partition};
use crate::Failure;
use crate::change::Row;
use crate::ledger::History;
use crate::report::{Difference, Report};

const MODELS: [&str; 3] = ["account", "seat", "parcel"];

/// What a key is, by its name and type.
enum Kind {
    /// A row, with its key as the ledgers have it.
    Row(String),
    Stream(Partition),
    State,
    Other,
}

fn kind_of(key: &str, key_type: &str) -> Kind {
    let name = key.split('{').next().unwrap_or_default();
    match (key_type, Partition::of_key(key)) {
        ("hash", Some(_)) if name.ends_with(".state") => Kind::State,
        ("hash", _) if MODELS.iter().any(|model| name.starts_with(&format!("{model}:"))) => {
            Kind::Row(name.to_owned())
        }
        ("stream", Some(partition)) if !name.contains('.') => Kind::Stream(partition),
        _ => Kind::Other,
    }
}

/// What the keys are compared with.
struct Comparison<'a> {
    offsets: &'a BTreeMap<Partition, Offset>,
    rows: &'a BTreeMap<String, Row>,
    letters: &'a BTreeMap<String, Vec<Letter>>,
    histories: &'a BTreeMap<String, History>,
    held: BTreeSet<String>,
    report: &'a mut Report,
}

/// Compares all keys with what PostgreSQL has and with the ledgers.
pub(super) async fn compare(
    hot: &mut Hot,
    offsets: &BTreeMap<Partition, Offset>,
    rows: &BTreeMap<String, Row>,
    letters: &BTreeMap<String, Vec<Letter>>,
    histories: &BTreeMap<String, History>,
    report: &mut Report,
) -> Result<(), Failure> {
    let held = BTreeSet::new();
    let mut comparison = Comparison { offsets, rows, letters, histories, held, report };
    for (key, key_type) in hot.keys().await? {
        match kind_of(&key, &key_type) {
            Kind::Row(row) => comparison.row(hot, &key, row).await?,
            Kind::Stream(partition) => comparison.stream(hot, &key, &partition).await?,
            Kind::State => comparison.count("partitions' states", 1),
            Kind::Other => comparison.differ(&key, format!("a {key_type} that should not be left")),
        }
    }
    for key in letters.keys() {
        if !comparison.held.contains(key) {
            comparison.differ(key, "has dead letters, and is not held in Redis".to_owned());
        }
    }
    Ok(())
}

impl Comparison<'_> {
    fn count(&mut self, kind: &'static str, count: u64) {
        *self.report.keys_in_redis.entry(kind).or_default() += count;
    }

    fn differ(&mut self, key: &str, what: String) {
        let row = key.split('{').next().unwrap_or_default();
        let ledger = self.histories.get(row).map(super::told).unwrap_or_default();
        self.report.differences.push(Difference { key: key.to_owned(), what, ledger });
    }

    async fn row(&mut self, hot: &mut Hot, key: &str, name: String) -> Result<(), Failure> {
        let ttl_ms: i64 = hot.ask(&["PTTL", key]).await?;
        let mut row: Row = hot.ask(&["HGETALL", key]).await?;
        // What could expire has done so since the keys were listed.
        let Some(meta) = row.remove("@") else { return Ok(()) };
        let is_deleted = meta.contains(" deleted");
        if meta.ends_with(" held") {
            self.count("held rows", 1);
            if ttl_ms != -1 {
                self.differ(key, format!("is held, and expires in {ttl_ms} ms"));
            }
            if !self.letters.contains_key(&name) {
                self.differ(key, "is held, and has no dead letter".to_owned());
            }
            let history = self.histories.get(&name).map(Vec::as_slice).unwrap_or_default();
            let possible = possible_in_redis(history);
            let state = (!is_deleted).then_some(row);
            if !possible.contains(&state) {
                self.differ(key, format!("Redis holds {state:?}, which the ledger does not allow"));
            }
            self.held.insert(name);
            return Ok(());
        }
        if ttl_ms == -1 || is_deleted {
            self.differ(key, format!("is left dirty: `{meta}`, time to live {ttl_ms} ms"));
        }
        if meta.starts_with("reading ") {
            self.count("readers' tokens with a time to live", 1);
            return Ok(());
        }
        self.count("clean rows with a time to live", 1);
        if self.rows.get(&name) != Some(&row) {
            let durable = self.rows.get(&name);
            self.differ(key, format!("Redis has {row:?}, and PostgreSQL {durable:?}"));
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        hot: &mut Hot,
        key: &str,
        partition: &Partition,
    ) -> Result<(), Failure> {
        self.report.compared.partitions += 1;
        let length: u64 = hot.ask(&["XLEN", key]).await?;
        let state = key.replacen('{', ".state{", 1);
        let retained: Option<u64> = hot.ask(&["HGET", &state, "retained"]).await?;
        if retained != Some(length) {
            self.differ(key, format!("has {length} entries, and {retained:?} that are retained"));
        }
        self.count("retained entries", length);
        self.count("streams", 1);
        let newest = hot.newest(key).await?;
        let settled: Option<String> = hot.ask(&["HGET", &state, "position"]).await?;
        let offset = self.offsets.get(partition);
        let position = offset.map(|offset| offset.position.clone());
        if newest != position || settled != position {
            let what = format!("ends at {newest:?}, committed {position:?}, settled {settled:?}");
            self.differ(key, what);
        }
        let of_partition = |letter: &&Letter| letter.partition() == *partition;
        let letters = self.letters.values().flatten().filter(of_partition).count() as i64;
        let held = offset.map_or(0, |offset| offset.held);
        if held != letters {
            self.differ(key, format!("{held} dead letters are counted, and {letters} are there"));
        }
        Ok(())
    }
}
