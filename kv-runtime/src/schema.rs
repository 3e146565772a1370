//! The tables of models: the SQL that makes them, and what a model that has changed needs.
//!
//! [`KvModel::ddl`] answers the SQL of one model, [`Schema`] that of several. A program of your own
//! that is linked with the models writes migrations for the Diesel CLI; it is three lines:
//!
//! ```no_run
//! # use kv_runtime::KvModel;
//! use kv_runtime::schema::Schema;
//! # #[derive(Debug, Clone, PartialEq, KvModel)]
//! # struct Booking { #[kv(id)] id: uuid::Uuid, reference: String }
//! # #[cfg(feature = "postgres")]
//! # mod program { use super::*;
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     Schema::new().model::<Booking>().main().await
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! ```sh
//! cargo run --bin schema -- new  # migrations/<time>_create_bookings/{up,down}.sql
//! cargo run --bin schema -- diff --database-url postgres://localhost/rides  # what has changed
//! ```
//!
//! # What a difference is
//!
//! The models are compared with the tables as they are. What the models need and the tables lack
//! becomes a statement. What the tables have and the models do not know is left alone: the statement
//! that removes it stands there as a comment, so that nothing is lost without a person's doing. So
//! does the change of a type that not every value can take, such as that of `numeric` to `bigint`.

#[cfg(feature = "postgres")]
mod command;
pub(crate) mod ddl;
mod migration;
pub(crate) mod name;
pub(crate) mod step;

#[cfg(feature = "postgres")]
pub use self::command::SchemaError;
pub use self::migration::Migration;
use crate::model::{KvModel, ModelDescriptor};

/// Some models, of whose tables SQL is to be written.
///
/// ```
/// # use kv_runtime::KvModel;
/// use kv_runtime::schema::Schema;
///
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// struct Driver {
///     #[kv(id, fresh)]
///     id: i64,
/// }
///
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// #[kv(check = "fare >= 0")]
/// struct Booking {
///     #[kv(id, fresh)]
///     id: i64,
///     #[kv(references = "drivers(id)")]
///     driver_id: Option<i64>,
///     fare: i64,
/// }
///
/// let tables = Schema::new().model::<Booking>().model::<Driver>().create();
/// assert!(tables.up().contains(r#"REFERENCES "drivers" ("id")"#));
/// assert!(tables.down().ends_with("DROP TABLE \"bookings\";\n"));
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is written until it is asked for"]
pub struct Schema {
    models: Vec<&'static ModelDescriptor>,
    /// Those among others: these may refer to them.
    all: Vec<&'static ModelDescriptor>,
}

impl Schema {
    /// No model yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a model.
    pub fn model<M: KvModel>(mut self) -> Self {
        self.models.push(M::DESCRIPTOR);
        self.all.push(M::DESCRIPTOR);
        self
    }

    pub(crate) fn models(&self) -> &[&'static ModelDescriptor] {
        &self.models
    }

    /// Makes the tables of all models, in an empty database.
    pub fn create(&self) -> Migration {
        Migration::new(ddl::create_all(&self.models, &self.all))
    }
}
