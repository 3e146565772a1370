//! Hot write paths for Rust services: a row goes to Redis in one round trip, and
//! a drainer carries it to PostgreSQL in batches, losing nothing.
//!
//! Annotate a struct with [`#[derive(KvModel)]`](macro@KvModel), open a [`Kv`], and take its
//! [`Repository`]. [`Kv`] has a first example.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Without one of the servers there is the in-memory pair alone, which leaves parts of what the
// adapters share unused.
#![cfg_attr(not(all(feature = "redis", feature = "postgres")), allow(dead_code))]
// The derive names this crate from outside; its tests and examples live inside.
extern crate self as kv_runtime;

mod drain;
mod durable_store;
mod entry;
mod error;
mod failpoint;
mod hot_store;
mod key;
mod kv;
mod model;
mod repository;
mod row;
mod rows;
mod settings;
#[cfg(all(feature = "testing", unix))]
pub mod testing;
mod value;

/// What the derive's code names; not for use by hand.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use drain::{DrainError, DrainStatus, Drainer, DrainerBuilder};
pub use entry::{EntryError, EntryId};
pub use error::{Error, Operation, Server, Source};
pub use key::Partition;
pub use kv::{ConnectError, Kv};
pub use kv_runtime_derive::{KvModel, KvValue};
pub use model::{ColumnDescriptor, ColumnType, FieldError, KvModel, KvPatch, ModelDescriptor};
pub use repository::{Receipt, Repository};
pub use row::{EncodedPatch, EncodedRow, RowDecoder, RowEncoder};
pub use settings::{
    DrainSettings, PostgresSettings, RedisSettings, ServerUrl, Settings, SettingsError,
};
pub use value::{IsNull, KvElement, KvValue, ValueError};

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
