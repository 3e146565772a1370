//! The models of the tests, and their tables.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use kv_runtime::{KvModel, KvValue};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The tables of all models here.
pub const TABLES: &str = include_str!("models.sql");

/// A model with a client-made UUID.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bookings")]
pub struct Booking {
    /// Made by the client, so a create asks PostgreSQL nothing.
    #[kv(id)]
    pub id: Uuid,
    /// A text.
    pub reference: String,
    /// A column that can be NULL.
    pub driver_id: Option<Uuid>,
    /// A column of a type of the user's.
    pub status: Status,
    /// An exact number.
    pub fare: Decimal,
    /// A counter.
    pub seats: i32,
    /// A point in time.
    pub created_at: DateTime<Utc>,
}

/// Where a booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, KvValue)]
pub enum Status {
    /// Not started.
    New,
    /// A driver is on the way.
    OnTheWay,
    /// Over.
    Completed,
}

impl Booking {
    /// A booking with a random id.
    pub fn sample() -> Self {
        Self {
            id: Uuid::now_v7(),
            reference: "AB-12".to_owned(),
            driver_id: Some(Uuid::from_u128(7)),
            status: Status::New,
            fare: Decimal::new(1_250, 2),
            seats: 2,
            created_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
        }
    }
}

/// A model with a composite natural key; the first part chooses the partition.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "seats", key_prefix = "seat", queue = "flights", partition_by = flight)]
pub struct Seat {
    /// One part of the id.
    #[kv(id)]
    pub flight: String,
    /// The other part.
    #[kv(id)]
    pub number: i16,
    /// Who sits there.
    pub passenger: Option<String>,
}

/// The parent of seats, which lies where they do.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "flights", queue = "flights")]
pub struct Flight {
    /// What its seats are partitioned by.
    #[kv(id)]
    pub flight: String,
    /// How many seats are taken.
    pub taken: i32,
}

/// A model with unique values and an index.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "members", unique(tenant_id, email))]
pub struct Member {
    /// Told to be new.
    #[kv(id, fresh)]
    pub id: i64,
    /// One part of a unique value.
    pub tenant_id: i64,
    /// The other part.
    pub email: String,
    /// A unique value that can be missing.
    #[kv(unique)]
    pub badge: Option<String>,
    /// A unique number, which has several texts.
    #[kv(unique)]
    pub code: Option<Decimal>,
    /// What others have too.
    #[kv(index)]
    pub team: Option<String>,
}

impl Member {
    /// One without a badge.
    pub fn sample(id: i64) -> Self {
        let email = format!("{id}@a.b");
        Self { id, tenant_id: 1, email, badge: None, code: None, team: None }
    }

    /// One with a badge.
    pub fn with_badge(id: i64, badge: &str) -> Self {
        Self { badge: Some(badge.to_owned()), ..Self::sample(id) }
    }
}

/// A model whose id PostgreSQL may know and Redis may not.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "counters", ttl = "1h")]
pub struct Counter {
    /// Not known to be new.
    #[kv(id)]
    pub id: i64,
    /// A field with another name in Redis and in the table.
    #[kv(rename = "n", column = "total_count")]
    pub total: i64,
    /// A field whose name is a keyword.
    pub r#type: String,
}

/// A model whose rows number their changes.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "accounts")]
pub struct Account {
    /// Told to be new, though an account that was deleted may be opened again.
    #[kv(id, fresh)]
    pub id: i64,
    /// Raised by every change, also from a deletion to the next creation.
    pub revision: i64,
    /// A column that can be NULL.
    pub note: Option<String>,
    /// A column that some changes leave alone.
    pub active: bool,
}

/// A model with an id of two texts, which may hold anything.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "places")]
pub struct Place {
    /// One part of the id.
    #[kv(id)]
    pub region: String,
    /// The other part.
    #[kv(id)]
    pub name: String,
    /// Any text.
    pub note: Option<String>,
}

/// A PostgreSQL enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, KvValue)]
#[kv(pg_type = "mood")]
pub enum Mood {
    /// `happy`
    Happy,
    /// `so-so`
    #[kv(rename = "so-so")]
    SoSo,
}

/// A newtype over text.
#[derive(Debug, Clone, PartialEq, Eq, KvValue)]
pub struct Label(pub String);

/// A model with a field of every type.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "everything")]
#[allow(missing_docs)]
pub struct Everything {
    #[kv(id)]
    pub id: Uuid,
    pub text: String,
    pub boolean: bool,
    pub tiny: i8,
    pub small: i16,
    pub int: i32,
    pub big: i64,
    pub unsigned_tiny: u8,
    pub unsigned_small: u16,
    pub unsigned_int: u32,
    pub unsigned_big: u64,
    pub real: f32,
    pub double: f64,
    pub bytes: Vec<u8>,
    pub decimal: Decimal,
    pub big_decimal: bigdecimal::BigDecimal,
    pub date: NaiveDate,
    pub time_of_day: NaiveTime,
    pub timestamp: NaiveDateTime,
    pub timestamptz: DateTime<Utc>,
    pub time_date: time::Date,
    pub time_time: time::Time,
    pub time_primitive: time::PrimitiveDateTime,
    pub time_offset: time::OffsetDateTime,
    pub json: serde_json::Value,
    pub texts: Vec<String>,
    pub ints: Vec<i64>,
    pub doubles: Vec<f64>,
    pub decimals: Vec<Option<Decimal>>,
    pub uuids: Vec<Uuid>,
    pub stamps: Vec<DateTime<Utc>>,
    pub blobs: Vec<Vec<u8>>,
    pub mood: Mood,
    pub label: Label,
    pub maybe_text: Option<String>,
    pub maybe_int: Option<i32>,
    pub maybe_double: Option<f64>,
    pub maybe_decimal: Option<Decimal>,
    pub maybe_bytes: Option<Vec<u8>>,
    pub maybe_json: Option<serde_json::Value>,
    pub maybe_texts: Option<Vec<String>>,
    pub maybe_mood: Option<Mood>,
    pub maybe_label: Option<Label>,
    pub maybe_timestamptz: Option<DateTime<Utc>>,
}

macro_rules! wide {
    ($($field:ident),*) => {
        /// A model of 128 columns.
        #[derive(Debug, Clone, PartialEq, Default, KvModel)]
        #[kv(table = "wide")]
        #[allow(missing_docs)]
        pub struct Wide {
            #[kv(id, fresh)]
            pub id: i64,
            $(pub $field: Option<i32>,)*
        }

        impl Wide {
            /// A row with these values in the columns behind the id; those missing are NULL.
            pub fn from_columns(id: i64, values: impl IntoIterator<Item = Option<i32>>) -> Self {
                let mut values = values.into_iter();
                Self { id, $($field: values.next().flatten(),)* }
            }

            /// A patch of all columns behind the id, to what they are here.
            pub fn to_patch(&self) -> <Self as KvModel>::Patch {
                Self::patch()$(.$field(self.$field))*
            }
        }
    };
}

wide!(
    c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21,
    c22, c23, c24, c25, c26, c27, c28, c29, c30, c31, c32, c33, c34, c35, c36, c37, c38, c39, c40,
    c41, c42, c43, c44, c45, c46, c47, c48, c49, c50, c51, c52, c53, c54, c55, c56, c57, c58, c59,
    c60, c61, c62, c63, c64, c65, c66, c67, c68, c69, c70, c71, c72, c73, c74, c75, c76, c77, c78,
    c79, c80, c81, c82, c83, c84, c85, c86, c87, c88, c89, c90, c91, c92, c93, c94, c95, c96, c97,
    c98, c99, c100, c101, c102, c103, c104, c105, c106, c107, c108, c109, c110, c111, c112, c113,
    c114, c115, c116, c117, c118, c119, c120, c121, c122, c123, c124, c125, c126, c127
);
