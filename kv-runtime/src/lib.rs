//! Hot write paths for Rust services: a row goes to Redis in one round trip, and
//! a drainer carries it to PostgreSQL in batches, losing nothing.
//!
//! Annotate a struct with [`#[derive(KvModel)]`](macro@KvModel), open a [`Kv`], and take its
//! [`Repository`]. [`Kv`] has a first example that runs in this process. A service with servers
//! begins like this:
//!
//! ```no_run
//! use kv_runtime::schema::Schema;
//! # use kv_runtime::{Kv, KvModel, Settings};
//! # #[derive(Debug, Clone, PartialEq, KvModel)]
//! # #[kv(table = "bookings")]
//! # struct Booking { #[kv(id, fresh)] id: i64, status: String }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! // REDIS_URL and DATABASE_URL; Redis 6.2 or newer.
//! let kv = Kv::connect(Settings::from_env()?).await?;
//! // The runtime's own tables, before a drainer needs them, and those of the models.
//! kv.migrate().await?;
//! let models = Schema::new().model::<Booking>();
//! kv.create_tables(&models).await?;
//! // In one process for all of them.
//! let drainer = kv.drainer().models(&models).spawn();
//! let bookings = kv.repository::<Booking>();
//! # drainer.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What a service asks beside single rows, [`Repository::query`] answers; [queries] says what it
//! sees. What is no row, [`redis`] keeps: sessions, counters, streams, channels, locks.
//!
//! # Caching
//!
//! Every read of a [`Repository`] asks Redis, and so sees every acknowledged write. For a model that is
//! read far more than it is written, `Kv::cached` (feature `cache`) makes a `Cached`: a type of its own
//! that answers from this process, within a bound of bytes and a bound of time that are its settings. It
//! gives up that others' writes are seen at once; Redis tells of them, mostly within a millisecond, and
//! where a notice is lost, the bound of time holds all the same.
//!
//! # Types of fields
//!
//! | Rust | PostgreSQL |
//! | --- | --- |
//! | `bool` | `boolean` |
//! | `i8`, `i16`, `u8` · `i32`, `u16` · `i64`, `u32` · `u64` | `smallint` · `integer` · `bigint` · `numeric` |
//! | `f32` · `f64` | `real` · `double precision` |
//! | `String` · `Vec<u8>`, `[u8; N]` | `text` · `bytea` |
//! | `Uuid` | `uuid` |
//! | `rust_decimal::Decimal`, `bigdecimal::BigDecimal` | `numeric` |
//! | `chrono`: `NaiveDate`, `NaiveTime`, `NaiveDateTime`, `DateTime<Utc>` | `date`, `time`, `timestamp`, `timestamptz` |
//! | `time`: `Date`, `Time`, `PrimitiveDateTime`, `OffsetDateTime` | the same |
//! | `serde_json::Value` | `jsonb` |
//! | `Vec` of a scalar | an array |
//! | an enum, a newtype that derives [`KvValue`](macro@KvValue) | `text` or an enum; that of its field |
//!
//! `Option` of each is a column that can be NULL. Times are kept in microseconds, as PostgreSQL
//! does: what is finer is cut off at the write. `jsonb` keeps numbers by value: a float without a
//! fraction, such as `1e16`, comes back as an integer.
//!
//! # Features
//!
//! On by default: `redis` and `postgres`, the two servers, and the types of `uuid`, `chrono` and
//! `rust_decimal`. Besides: the types of `time` and `bigdecimal`; `redis-tls` for
//! `rediss://` addresses; `postgres-tls`, connections to
//! PostgreSQL by TLS ([`PostgresTls`]), by rustls and ring, which takes a C compiler to build; `cache`,
//! rows that are held in this process (`Kv::cached`); and `testing`, private servers for tests, and pairs that leave nothing on servers that tests share
//! (`Kv::test`).

#![cfg_attr(docsrs, feature(doc_cfg))]
// Without one of the servers there is the in-memory pair alone, which leaves parts of what the
// adapters share unused.
#![cfg_attr(not(all(feature = "redis", feature = "postgres")), allow(dead_code))]
// The derive names this crate from outside; its tests and examples live inside.
extern crate self as kv_runtime;

#[cfg(feature = "cache")]
mod cache;
mod checks;
#[cfg(feature = "postgres")]
mod connection;
mod counter;
mod dead_letters;
mod drain;
mod durability;
mod durable_store;
mod entry;
mod error;
mod failpoint;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
mod hot_store;
mod key;
mod kv;
mod lookup;
mod memory;
mod model;
mod new_row;
mod notices;
mod query;
mod receipt;
#[cfg(feature = "redis")]
pub mod redis;
mod repository;
mod room;
mod row;
mod rows;
pub mod schema;
mod scheme;
mod serials;
mod settings;
mod settled;
mod stores;
mod tenants;
#[cfg(all(feature = "testing", unix))]
pub mod testing;
mod transaction;
mod unique;
mod value;
mod version;

#[doc = include_str!("queries.md")]
pub mod queries {}

/// What the derive's code names; not for use by hand.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "cache")]
pub use cache::{CacheSettings, CacheStats, Cached};
pub use checks::{Check, CheckError, CheckMode, CheckSettings, Checks, Problem};
#[cfg(feature = "postgres")]
pub use connection::{Connection, PoolError};
pub use counter::{Counter, Incremented, KvCounter};
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetterFilter, DeadLetters, Replayed};
pub use drain::{DrainError, DrainStatus, Drainer, DrainerBuilder, QueueStatus, Queues};
pub use durability::Durability;
pub use entry::{EntryError, EntryId};
pub use error::{Error, Operation, Server, Source};
pub use key::Partition;
pub use kv::{ConnectError, Kv};
pub use kv_runtime_derive::{KvModel, KvValue};
pub use lookup::{GotOrCreated, IntoValue, Lookup};
pub use memory::{Failure, InsertError, Memory, Verb};
pub use model::{
    ColumnDescriptor, ColumnType, FieldError, IndexDescriptor, KvModel, KvPatch, ModelDescriptor,
    NumericBounds, ReferenceDescriptor,
};
pub use new_row::{Created, KvNewRow, KvSerial};
pub use query::{
    Aggregation, Aggregations, Behind, Condition, Consistency, Cursor, CursorError, Field,
    GroupKey, Groups, Order, Overlay, Page, Query, Stored, StoredOnly, count,
};
pub use receipt::{DurabilityError, Receipt};
pub use repository::{ReadOnly, ReadRepository, Repository, WriteRepository};
pub use row::{EncodedPatch, EncodedRow, RowDecoder, RowEncoder};
pub use rows::Status;
pub use scheme::{StorageScheme, SwitchError, UnknownScheme};
pub use settings::{
    DrainSettings, OnFull, OnHeld, PostgresSettings, PostgresTls, RedisSettings, Secret, ServerUrl,
    Settings, SettingsError,
};
pub use tenants::TenantError;
pub use transaction::{Committed, Transaction, TransactionRepository};
#[cfg(feature = "uuid")]
pub use value::new_uuid;
pub use value::{IsNull, KvElement, KvNumber, KvScalar, KvText, KvValue, ValueError};
pub use version::{KvVersioned, UpdateIfError};

/// A build without the feature `testing` has no pair that leaves nothing: it would be taken before this.
#[cfg(not(feature = "testing"))]
const _: fn() = {
    trait NoTestPair {
        fn test() {}
    }
    impl NoTestPair for Kv {}
    || Kv::test()
};

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
