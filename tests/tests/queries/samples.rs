//! A model of nullable columns of most types, with few values each, so that rows meet in them.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use fastrand::Rng;
use kv_runtime::{Drainer, KvModel, KvValue, Repository};
use kv_tests::pair::Pair;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Its table. What is not given its own collation has that of the database.
const TABLE: &str = r#"
CREATE TYPE sample_mood AS ENUM ('happy', 'so-so', 'angry');
CREATE TABLE samples (
    id bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    flag boolean,
    tiny smallint,
    number integer,
    big bigint,
    unsigned numeric,
    "real" real,
    double double precision,
    decimal numeric,
    large numeric,
    text text COLLATE "C",
    label text COLLATE "C",
    mood sample_mood,
    bytes bytea,
    uuid uuid,
    date date,
    time time,
    timestamp timestamp,
    timestamptz timestamptz,
    list integer[],
    json jsonb
)"#;

/// A row of most types.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "samples")]
pub(crate) struct Sample {
    #[kv(id, fresh)]
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) flag: Option<bool>,
    pub(crate) tiny: Option<u8>,
    pub(crate) number: Option<i32>,
    pub(crate) big: Option<i64>,
    pub(crate) unsigned: Option<u64>,
    pub(crate) real: Option<f32>,
    pub(crate) double: Option<f64>,
    pub(crate) decimal: Option<Decimal>,
    pub(crate) large: Option<BigDecimal>,
    pub(crate) text: Option<String>,
    pub(crate) label: Option<Label>,
    pub(crate) mood: Option<Mood>,
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) uuid: Option<Uuid>,
    pub(crate) date: Option<NaiveDate>,
    pub(crate) time: Option<NaiveTime>,
    pub(crate) timestamp: Option<NaiveDateTime>,
    pub(crate) timestamptz: Option<DateTime<Utc>>,
    pub(crate) list: Option<Vec<i32>>,
    pub(crate) json: Option<serde_json::Value>,
}

/// A PostgreSQL enum, whose labels are not in the order of their texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, KvValue)]
#[kv(pg_type = "sample_mood")]
pub(crate) enum Mood {
    Happy,
    #[kv(rename = "so-so")]
    SoSo,
    Angry,
}

/// A newtype over text.
#[derive(Debug, Clone, PartialEq, Eq, KvValue)]
pub(crate) struct Label(pub(crate) String);

/// A pair with the table.
pub(crate) async fn with_samples(pair: &Pair) -> Repository<Sample> {
    pair.sql(TABLE).await;
    pair.kv.repository()
}

pub(crate) fn spawn_drainer(pair: &Pair) -> Drainer {
    pair.kv.drainer().model::<Sample>().spawn()
}

/// Drains everything that was written.
pub(crate) async fn drain(pair: &Pair) {
    let _ = spawn_drainer(pair).shutdown().await.expect("everything can be drained");
}

/// The values that rows and literals have.
pub(crate) mod pool {
    use super::*;

    /// One of some values.
    pub(crate) fn one<T: Clone>(rng: &mut Rng, values: &[T]) -> T {
        values[rng.usize(..values.len())].clone()
    }

    pub(crate) const TINY: [u8; 4] = [0, 1, 7, 255];
    pub(crate) const NUMBERS: [i32; 6] = [i32::MIN, -1, 0, 1, 10, i32::MAX];
    pub(crate) const BIG: [i64; 6] = [i64::MIN, -1_000_000_007, 0, 9, 10, i64::MAX];
    pub(crate) const UNSIGNED: [u64; 5] = [0, 2, 10, 10_000, u64::MAX];
    pub(crate) const REALS: [f32; 7] = [f32::NAN, f32::INFINITY, -0.0, 0.0, 0.5, 0.1, -1e30];
    pub(crate) const DOUBLES: [f64; 8] =
        [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -0.0, 0.0, 0.5, -2.25, 1e100];
    pub(crate) const TEXTS: [&str; 14] =
        ["", "a", "A", "b", "ab", "AB", "aé", "é", "%", "a%", "_", "\\", "a\\b", "🚕 a"];
    pub(crate) const PATTERNS: [&str; 16] = [
        "", "%", "_", "a", "a%", "%b", "%a%", "_b", "\\%", "a\\%", "\\_", "\\\\", "%\\\\_", "A%",
        "_ a", "é",
    ];
    pub(crate) const MOODS: [Mood; 3] = [Mood::Happy, Mood::SoSo, Mood::Angry];

    pub(crate) fn texts() -> Vec<String> {
        TEXTS.map(str::to_owned).to_vec()
    }

    pub(crate) fn labels() -> Vec<Label> {
        TEXTS.map(|text| Label(text.to_owned())).to_vec()
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().expect("a value")).collect()
    }

    pub(crate) fn decimals() -> Vec<Decimal> {
        parsed(&["-10", "0", "0.0", "0.10", "0.1", "9.99", "10", "10.00", "12345678901234.5"])
    }

    pub(crate) fn large() -> Vec<BigDecimal> {
        parsed(&[
            "0",
            "-0.00000000000000000000000000000000000001",
            "123456789012345678901234567890123456789012345678901234567890",
            "123456789012345678901234567890123456789012345678901234567890.1",
            "1.50",
            "1.5",
            "0.00012",
        ])
    }

    pub(crate) fn bytes() -> Vec<Vec<u8>> {
        vec![vec![], vec![0], vec![0, 1], vec![10], vec![255]]
    }

    pub(crate) fn uuids() -> Vec<Uuid> {
        [0, 1, 10, 1 << 127, u128::MAX].map(Uuid::from_u128).to_vec()
    }

    pub(crate) fn dates() -> Vec<NaiveDate> {
        parsed(&["0001-01-01", "1999-12-31", "2000-01-01", "9999-12-31"])
    }

    pub(crate) fn times() -> Vec<NaiveTime> {
        parsed(&["00:00:00", "00:00:00.000001", "12:30:00", "23:59:59.999999"])
    }

    pub(crate) fn timestamps() -> Vec<NaiveDateTime> {
        dates().into_iter().zip(times()).map(|(date, time)| date.and_time(time)).collect()
    }

    pub(crate) fn timestamptzs() -> Vec<DateTime<Utc>> {
        timestamps().into_iter().map(|timestamp| timestamp.and_utc()).collect()
    }
}

impl Sample {
    /// A row with nothing but an id and a name.
    pub(crate) fn empty(id: i64) -> Self {
        Self {
            id,
            name: String::new(),
            flag: None,
            tiny: None,
            number: None,
            big: None,
            unsigned: None,
            real: None,
            double: None,
            decimal: None,
            large: None,
            text: None,
            label: None,
            mood: None,
            bytes: None,
            uuid: None,
            date: None,
            time: None,
            timestamp: None,
            timestamptz: None,
            list: None,
            json: None,
        }
    }

    /// A row of random values, a quarter of them NULL.
    pub(crate) fn random(rng: &mut Rng, id: i64) -> Self {
        fn maybe<T: Clone>(rng: &mut Rng, values: &[T]) -> Option<T> {
            (rng.u8(..4) > 0).then(|| pool::one(rng, values))
        }
        Self {
            id,
            name: pool::one(rng, &pool::TEXTS).to_owned(),
            flag: maybe(rng, &[true, false]),
            tiny: maybe(rng, &pool::TINY),
            number: maybe(rng, &pool::NUMBERS),
            big: maybe(rng, &pool::BIG),
            unsigned: maybe(rng, &pool::UNSIGNED),
            real: maybe(rng, &pool::REALS),
            double: maybe(rng, &pool::DOUBLES),
            decimal: maybe(rng, &pool::decimals()),
            large: maybe(rng, &pool::large()),
            text: maybe(rng, &pool::texts()),
            label: maybe(rng, &pool::labels()),
            mood: maybe(rng, &pool::MOODS),
            bytes: maybe(rng, &pool::bytes()),
            uuid: maybe(rng, &pool::uuids()),
            date: maybe(rng, &pool::dates()),
            time: maybe(rng, &pool::times()),
            timestamp: maybe(rng, &pool::timestamps()),
            timestamptz: maybe(rng, &pool::timestamptzs()),
            list: maybe(rng, &[vec![], vec![1, 2]]),
            json: maybe(rng, &[serde_json::json!({ "a": 1 }), serde_json::json!([])]),
        }
    }
}
