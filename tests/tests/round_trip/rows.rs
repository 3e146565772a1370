//! Rows of every type: the edges of what the types can hold, and what PostgreSQL makes of them.

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use kv_runtime::KvModel;
use kv_tests::models::{Everything, Label, Mood};
use rust_decimal::Decimal;
use serde_json::json;
use time::macros::{date, datetime, time};
use uuid::Uuid;

/// A patch of all fields of a row but the id.
pub(crate) fn patch_of(row: &Everything) -> <Everything as KvModel>::Patch {
    let row = row.clone();
    Everything::patch()
        .text(row.text)
        .boolean(row.boolean)
        .tiny(row.tiny)
        .small(row.small)
        .int(row.int)
        .big(row.big)
        .unsigned_tiny(row.unsigned_tiny)
        .unsigned_small(row.unsigned_small)
        .unsigned_int(row.unsigned_int)
        .unsigned_big(row.unsigned_big)
        .real(row.real)
        .double(row.double)
        .bytes(row.bytes)
        .decimal(row.decimal)
        .big_decimal(row.big_decimal)
        .date(row.date)
        .time_of_day(row.time_of_day)
        .timestamp(row.timestamp)
        .timestamptz(row.timestamptz)
        .time_date(row.time_date)
        .time_time(row.time_time)
        .time_primitive(row.time_primitive)
        .time_offset(row.time_offset)
        .json(row.json)
        .texts(row.texts)
        .ints(row.ints)
        .doubles(row.doubles)
        .decimals(row.decimals)
        .uuids(row.uuids)
        .stamps(row.stamps)
        .blobs(row.blobs)
        .mood(row.mood)
        .label(row.label)
        .maybe_text(row.maybe_text)
        .maybe_int(row.maybe_int)
        .maybe_double(row.maybe_double)
        .maybe_decimal(row.maybe_decimal)
        .maybe_bytes(row.maybe_bytes)
        .maybe_json(row.maybe_json)
        .maybe_texts(row.maybe_texts)
        .maybe_mood(row.maybe_mood)
        .maybe_label(row.maybe_label)
        .maybe_timestamptz(row.maybe_timestamptz)
}

/// What the columns' types do not tell apart is made the same: the sign of a decimal zero.
pub(crate) fn normal(mut row: Everything) -> Everything {
    let unsigned_zero = |decimal: &mut Decimal| {
        if decimal.is_zero() {
            decimal.set_sign_positive(true);
        }
    };
    unsigned_zero(&mut row.decimal);
    row.decimals.iter_mut().flatten().for_each(unsigned_zero);
    row.maybe_decimal.iter_mut().for_each(unsigned_zero);
    row
}

/// Least values, empty where there is such a thing, and NULL.
fn least() -> Everything {
    let date = NaiveDate::from_ymd_opt(1, 1, 1).expect("a date");
    let timestamp = date.and_time(NaiveTime::MIN);
    Everything {
        id: Uuid::nil(),
        text: String::new(),
        boolean: false,
        tiny: i8::MIN,
        small: i16::MIN,
        int: i32::MIN,
        big: i64::MIN,
        unsigned_tiny: 0,
        unsigned_small: 0,
        unsigned_int: 0,
        unsigned_big: 0,
        real: f32::MIN,
        double: f64::MIN,
        bytes: Vec::new(),
        decimal: Decimal::MIN,
        big_decimal: BigDecimal::from(0),
        date,
        time_of_day: NaiveTime::MIN,
        timestamp,
        timestamptz: timestamp.and_utc(),
        time_date: date!(0001 - 01 - 01),
        time_time: time::Time::MIDNIGHT,
        time_primitive: datetime!(0001-01-01 00:00),
        time_offset: datetime!(0001-01-01 00:00 UTC),
        json: json!(null),
        texts: Vec::new(),
        ints: Vec::new(),
        doubles: Vec::new(),
        decimals: Vec::new(),
        uuids: Vec::new(),
        stamps: Vec::new(),
        blobs: Vec::new(),
        mood: Mood::Happy,
        label: Label(String::new()),
        maybe_text: None,
        maybe_int: None,
        maybe_double: None,
        maybe_decimal: None,
        maybe_bytes: None,
        maybe_json: None,
        maybe_texts: None,
        maybe_mood: None,
        maybe_label: None,
        maybe_timestamptz: None,
    }
}

/// Greatest values, each of several in arrays, and no NULL but in an array.
fn greatest() -> Everything {
    let date = NaiveDate::from_ymd_opt(9_999, 12, 31).expect("a date");
    let time_of_day = NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).expect("a time");
    let timestamp = NaiveDateTime::new(date, time_of_day);
    Everything {
        id: Uuid::max(),
        text: "{}\"\\'\u{1f695}\u{10ffff} NULL\n\r\t\u{1}".to_owned(),
        boolean: true,
        tiny: i8::MAX,
        small: i16::MAX,
        int: i32::MAX,
        big: i64::MAX,
        unsigned_tiny: u8::MAX,
        unsigned_small: u16::MAX,
        unsigned_int: u32::MAX,
        unsigned_big: u64::MAX,
        real: f32::MAX,
        double: f64::MAX,
        bytes: (0..=u8::MAX).collect(),
        decimal: Decimal::MAX,
        big_decimal: format!("-{}.{}", "9".repeat(200), "1".repeat(200)).parse().expect("a number"),
        date,
        time_of_day,
        timestamp,
        timestamptz: timestamp.and_utc(),
        time_date: date!(9999 - 12 - 31),
        time_time: time!(23:59:59.999999),
        time_primitive: datetime!(9999-12-31 23:59:59.999999),
        time_offset: datetime!(9999-12-31 23:59:59.999999 UTC),
        json: json!({
            "": [{}, [], [[null]], {"a": {"b": [1, -1, 0.5, u64::MAX, i64::MIN]}}],
            "\"\\\u{1}\u{7f}/\u{1f695}": "\"\\\u{1}\n",
        }),
        texts: ["", "NULL", "null", "{}", "\"", "\\", "a,b", " ", "\u{1f695}\n"]
            .map(str::to_owned)
            .to_vec(),
        ints: vec![i64::MIN, -1, 0, i64::MAX],
        doubles: vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX],
        decimals: vec![None, Some(Decimal::MAX), None, Some(Decimal::new(-100, 28)), None],
        uuids: vec![Uuid::nil(), Uuid::max()],
        stamps: vec![DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH - TimeDelta::microseconds(1)],
        blobs: vec![Vec::new(), vec![0], b"\\x5c\"".to_vec(), (0..=u8::MAX).collect()],
        mood: Mood::SoSo,
        label: Label("so-so".to_owned()),
        maybe_text: Some(String::new()),
        maybe_int: Some(0),
        maybe_double: Some(f64::NAN),
        maybe_decimal: Some(Decimal::new(0, 28)),
        maybe_bytes: Some(Vec::new()),
        maybe_json: Some(json!({})),
        maybe_texts: Some(Vec::new()),
        maybe_mood: Some(Mood::SoSo),
        maybe_label: Some(Label(String::new())),
        maybe_timestamptz: Some(DateTime::UNIX_EPOCH),
    }
}

/// The edges of the types, where conversions go wrong.
pub(crate) fn edge_cases() -> Vec<Everything> {
    let mut rows = vec![least(), greatest()];
    let mut add = |change: &dyn Fn(&mut Everything)| {
        let mut row = if rows.len() % 2 == 0 { least() } else { greatest() };
        row.id = Uuid::new_v4();
        change(&mut row);
        rows.push(row);
    };
    for real in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MIN_POSITIVE, 1e-45, 0.1] {
        add(&|row| row.real = real);
    }
    let doubles = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MIN_POSITIVE,
        5e-324,
        0.1,
        1e16,
        9_007_199_254_740_993.0,
        1e300,
    ];
    for double in doubles {
        add(&|row| row.double = double);
        add(&|row| row.maybe_double = Some(double));
    }
    for text in ["0", "0.0", "1.50", "-0.00", "100", "0.0000000000000000000000000001", "-7"] {
        let decimal: Decimal = text.parse().expect("a number");
        let big_decimal: BigDecimal = text.parse().expect("a number");
        add(&|row| {
            row.decimal = decimal;
            row.maybe_decimal = Some(decimal);
            row.big_decimal = big_decimal.clone();
        });
    }
    let floats = [
        // The nearest double of each is only found with all digits.
        0.1 + 0.2,
        1.0,
        -2.5,
        1e-7,
        123_456_789.123_456_79,
        5e-324,
        2.225_073_858_507_201_4e-308,
        7.038_531_e-26,
        0.000_1,
        1e15,
    ];
    for number in floats {
        add(&|row| row.json = json!(number));
        add(&|row| row.maybe_json = Some(json!([number, {"n": -number}])));
    }
    for json in [json!("null"), json!(""), json!([]), json!({}), json!(false), json!("é\u{1f695}")]
    {
        add(&|row| row.json = json.clone());
        add(&|row| row.maybe_json = Some(json.clone()));
    }
    for text in [" ", "\\", "\\x00", "NULL", "'", "{1,2}", "\u{feff}", "a\u{0301}", "\u{202e}abc"] {
        add(&|row| {
            row.text = text.to_owned();
            row.label = Label(text.to_owned());
            row.maybe_text = Some(text.to_owned());
            row.texts = vec![text.to_owned(); 2];
            row.maybe_texts = Some(vec![text.to_owned()]);
            row.bytes = text.as_bytes().to_vec();
        });
    }
    // Before the common era in another time zone, but not in UTC; and 29 February.
    add(&|row| row.time_offset = datetime!(0001-01-01 00:00 +0));
    add(&|row| row.date = NaiveDate::from_ymd_opt(2_000, 2, 29).expect("a date"));
    add(&|row| row.timestamptz = DateTime::<Utc>::UNIX_EPOCH - TimeDelta::microseconds(1));
    add(&|row| row.time_of_day = NaiveTime::from_hms_micro_opt(0, 0, 0, 1).expect("a time"));
    add(&|row| row.time_time = time!(00:00:00.000001));
    rows
}

/// Rows as someone else might insert them, with what they are.
pub(crate) fn written_by_hand() -> (&'static str, Vec<Everything>) {
    let sql = r#"
        INSERT INTO everything VALUES (
            '{00000000-0000-0000-0000-000000000001}', E'a\nb', 'yes', -1, 7, 1e3, 42, 255, 65535,
            4294967295, 18446744073709551615, '1e-3', '-Infinity', 'abc'::bytea, 001.5000, '1e10',
            'June 1, 2026', '7:05 PM', '2026-06-01 12:00', '2026-06-01 12:00+02', '20260601',
            '19:05:06.5', '2026-06-01 12:00:00.25', '2026-06-01 12:00 America/New_York',
            '{"b": 1.0, "a" : [1e2, null]}', ARRAY['x', '"y"', 'NULL'], '{1, 2}', '{NaN, -0}',
            '{1.10, NULL}', ARRAY[]::uuid[], '{2026-06-01 12:00+02}', ARRAY['\x00'::bytea, ''],
            'so-so', 'label'
        );
    "#;
    let utc = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
    let row = Everything {
        id: Uuid::from_u128(1),
        text: "a\nb".to_owned(),
        boolean: true,
        tiny: -1,
        small: 7,
        int: 1_000,
        big: 42,
        unsigned_tiny: u8::MAX,
        unsigned_small: u16::MAX,
        unsigned_int: u32::MAX,
        unsigned_big: u64::MAX,
        real: 0.001,
        double: f64::NEG_INFINITY,
        bytes: b"abc".to_vec(),
        decimal: "1.5000".parse().expect("a number"),
        big_decimal: BigDecimal::from(10_000_000_000_i64),
        date: NaiveDate::from_ymd_opt(2_026, 6, 1).expect("a date"),
        time_of_day: NaiveTime::from_hms_opt(19, 5, 0).expect("a time"),
        timestamp: utc("2026-06-01T12:00:00Z").naive_utc(),
        timestamptz: utc("2026-06-01T10:00:00Z"),
        time_date: date!(2026 - 06 - 01),
        time_time: time!(19:05:06.5),
        time_primitive: datetime!(2026-06-01 12:00:00.25),
        time_offset: datetime!(2026-06-01 16:00 UTC),
        json: json!({"a": [100, null], "b": 1.0}),
        texts: ["x", "\"y\"", "NULL"].map(str::to_owned).to_vec(),
        ints: vec![1, 2],
        doubles: vec![f64::NAN, -0.0],
        decimals: vec![Some("1.10".parse().expect("a number")), None],
        stamps: vec![utc("2026-06-01T10:00:00Z")],
        blobs: vec![vec![0], Vec::new()],
        mood: Mood::SoSo,
        label: Label("label".to_owned()),
        ..least()
    };
    (sql, vec![row])
}
