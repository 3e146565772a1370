//! What the fuzz targets do with their bytes: `tests/fuzz` feeds them new ones for as long as it
//! is let, `tests/fuzz_corpus.rs` those that it has kept.

use std::fmt::Debug;
use std::sync::LazyLock;

use kv_runtime::{ColumnType, Kv, KvModel, Repository, Settings, fuzzing};

use crate::models::{Account, Booking, Counter, Everything, Place, Seat};

/// A target: it panics where it finds a fault.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 4] =
    [("entry", entry), ("key", key), ("reply", reply), ("row", row)];

/// An entry: its id, its header and its values, a line each.
pub fn entry(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (id, header, values) = (line(), line(), line());
    if let Ok(id) = std::str::from_utf8(id) {
        fuzzing::entry_id(id);
    }
    let models =
        [Booking::DESCRIPTOR, Seat::DESCRIPTOR, Counter::DESCRIPTOR, Everything::DESCRIPTOR];
    fuzzing::entry(&models, header, values);
}

/// An answer of Redis, as it comes over the wire.
pub fn reply(bytes: &[u8]) {
    fuzzing::reply(bytes);
}

/// A row of every type: changes of one that is well-formed, separated by bytes that no text has.
///
/// A change is a byte for the column, and the new value. With the byte's highest bit set it is
/// NULL. So the fuzzer need not make a whole row well-formed to come to its last column.
pub fn row(bytes: &[u8]) {
    let columns = Everything::DESCRIPTOR.columns;
    let mut values: Vec<Option<&str>> =
        columns.iter().map(|column| Some(sample(column.ty))).collect();
    for change in bytes.split(|byte| *byte == 0xff) {
        let Some((column, value)) = change.split_first() else { continue };
        let Ok(value) = std::str::from_utf8(value) else { continue };
        values[usize::from(column & 0x7f) % columns.len()] = (*column < 0x80).then_some(value);
    }
    fuzzing::row::<Everything>(values);
}

/// A well-formed text of a type.
fn sample(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Bool => "true",
        ColumnType::Text => "text",
        ColumnType::Bytea => "\\x00ff",
        ColumnType::Uuid => "00010203-0405-0607-0809-0a0b0c0d0e0f",
        ColumnType::Date => "2026-01-31",
        ColumnType::Time => "23:59:59.123456",
        ColumnType::Timestamp => "2026-01-31T23:59:59.123456",
        ColumnType::Timestamptz => "2026-01-31T23:59:59.123456Z",
        ColumnType::Jsonb => "{}",
        ColumnType::Array(_) => "[]",
        ColumnType::Enum { labels, .. } => labels.first().copied().unwrap_or_default(),
        // The numbers.
        _ => "7",
    }
}

/// A key, or what stands behind its prefix.
pub fn key(bytes: &[u8]) {
    static LAYOUTS: LazyLock<[Kv; 2]> = LazyLock::new(|| [1, 8].map(layout));

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for kv in &*LAYOUTS {
        read_key(&kv.repository::<Account>(), text);
        read_key(&kv.repository::<Booking>(), text);
        read_key(&kv.repository::<Place>(), text);
        read_key(&kv.repository::<Seat>(), text);
        let (region, name) = text.split_once('\n').unwrap_or_default();
        write_key(&kv.repository::<Place>(), &(region.to_owned(), name.to_owned()));
    }
}

fn layout(partitions: u16) -> Kv {
    let mut settings = Settings::in_memory();
    settings.partitions = partitions;
    Kv::memory_with(settings).expect("valid settings")
}

fn read_key<M: KvModel>(rows: &Repository<M>, text: &str) {
    let prefix = M::DESCRIPTOR.key_prefix;
    for candidate in [text, &format!("{prefix}:{text}")] {
        if let Some(id) = rows.parse_key(candidate) {
            assert_eq!(rows.key(&id).expect("a key"), candidate, "one row, two keys");
            write_key(rows, &id);
        }
    }
}

fn write_key<M: KvModel<Id: Debug>>(rows: &Repository<M>, id: &M::Id) {
    // A text with NUL is no id.
    let Ok(key) = rows.key(id) else { return };
    assert_eq!(rows.parse_key(&key).as_ref(), Some(id), "a key is not read back");
}
