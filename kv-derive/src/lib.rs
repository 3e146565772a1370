//! The derives of [`kv-runtime`](https://docs.rs/kv-runtime), which hands them on: depend on that
//! crate, not on this one.
//!
//! - [`KvModel`](derive@KvModel) makes a struct a model.
//! - [`KvValue`](derive@KvValue) makes an enum or a newtype the type of a field.
//!
//! Both go the same way: `input` reads what the user wrote, `validate` checks it and fills in the
//! defaults, `model` holds the outcome, `expand` writes the code. All mistakes are collected by
//! `diagnostics` and reported in one go. The code they write is in `snapshots`.

mod attribute;
mod diagnostics;
mod expand;
mod input;
mod model;
mod naming;
mod pipeline;
#[cfg(test)]
mod tests;
mod validate;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a model: what a row of it looks like in Redis, on the queue and in PostgreSQL.
///
/// ```ignore
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// #[kv(table = bookings, ttl = "15m")]
/// pub struct Booking {
///     #[kv(id)]
///     pub id: Uuid,
///     pub driver_id: Option<Uuid>,
///     pub status: BookingStatus,
///     pub created_at: DateTime<Utc>,
/// }
/// ```
///
/// # What it writes
///
/// | item | what it is for |
/// | --- | --- |
/// | `impl KvModel for Booking` | the descriptor, and the row to and from text |
/// | `impl KvVersioned for Booking` | `Repository::update_if`; only with a [`version`](#version) |
/// | `BookingPatch`, `Booking::patch()` | a change of some fields, with a setter a field; see [below](#patches) |
/// | `BookingField` | the names of the fields as an enum |
/// | `BookingFields` | the fields in queries: `query().filter(\|b\| b.status.eq(…))` |
/// | `NewBooking` | what is given of a new row, for `Repository::create_new`; only with a [`serial`](#serial) or a [`default`](#default) |
/// | `BookingRepository` | short for `Repository<Booking>` |
/// | Diesel's `Queryable`, `Selectable`, `HasTable`, `Identifiable`, `Insertable` and, for the patch, `AsChangeset` | queries of your own; only with a `table!`, see [`table`](#table) |
///
/// They are as visible as the struct; a setter, and a field in queries, is as visible as the field.
///
/// The struct has named fields and neither type parameters nor lifetimes. The types of its fields
/// are `KvValue`s, and `Debug` and `Clone` besides, because the patch is.
///
/// # Attributes
///
/// | attribute | on | default |
/// | --- | --- | --- |
/// | [`table`](#table) | struct | the struct's name in snake case with an `s` |
/// | [`table_name`](#table_name) | struct | the last segment of `table` |
/// | [`key_prefix`](#key_prefix) | struct | the struct's name in snake case |
/// | [`queue`](#queue) | struct | `key_prefix` with `_queue` behind it |
/// | [`partition_by`](#partition_by) | struct | the whole id |
/// | [`ttl`](#ttl) | struct | that of the settings |
/// | [`durability`](#durability) | struct | that of the settings |
/// | [`scheme`](#scheme) | struct | that of the settings |
/// | [`unique`](#unique), [`index`](#index) | struct, field | none |
/// | [`references`](#references) | struct, field | none |
/// | [`check`](#check) | struct | none |
/// | [`crate`](#crate) | struct | `::kv_runtime` |
/// | [`id`](#id) | field | needed on one field at least |
/// | [`fresh`](#fresh) | field | true for an id that is a single UUID |
/// | [`column`](#column) | field | the field's name |
/// | [`column_type`](#column_type) | field | that of the field's type |
/// | [`rename`](#rename) | field | the field's name |
/// | [`serial`](#serial) | field | false |
/// | [`default`](#default) | field | none |
/// | [`read_only`](#read_only) | field | false |
/// | [`version`](#version) | field | none |
///
/// Each is given once, but for `unique`, `index`, `references` and `check` on the struct; one
/// `#[kv(…)]` may hold several, and there may be several of them. Names in snake case keep acronyms
/// together: `HTTPRequest` is `http_request`. Of a raw identifier the `r#` is left out.
///
/// ## `table`
///
/// The PostgreSQL table, as a name or as the path of the module that `diesel::table!` makes.
///
/// ```ignore
/// #[kv(table = "bookings")]              // any table, up to 128 columns
/// #[kv(table = crate::schema::bookings)] // Diesel's items as well, checked against the `table!`
/// ```
///
/// With a path, a field without a column, a field whose type does not fit its column, or an id
/// that is not the primary key is a compile error at the field. Every type of a field must be one
/// that Diesel reads and writes: the unsigned integers and `i8` are not, `rust_decimal::Decimal`
/// is with its feature `db-diesel-postgres`. `table!` needs a dependency on `diesel` with the
/// feature `postgres_backend`, and its features `32-column-tables` and so on for wide tables;
/// that is your choice, because they take long to compile. With a name, none of that holds.
///
/// The name is the table's own or has that of its schema and a dot in front, as `app.bookings`. Names
/// of schemas, tables, columns and types have 63 bytes at most, because PostgreSQL cuts off the rest.
///
/// `Insertable` is written for `&Booking`, and with it for `&Vec<Booking>` and `&[Booking]`;
/// `None` is NULL, never DEFAULT. `AsChangeset` is written for `BookingPatch` and `&BookingPatch`.
///
/// ## `table_name`
///
/// The table's name where it is not the last segment of the path, such as that of a table in
/// another schema. It goes with a path only.
///
/// ```ignore
/// #[kv(table = crate::schema::bookings, table_name = "rides.bookings")]
/// ```
///
/// ## `key_prefix`
///
/// What the keys of the rows begin with, and what the model is called on its queue. Made of
/// letters, digits, `_` and `-`. It is a part of the stored data: give it before the struct is
/// renamed.
///
/// ```ignore
/// #[kv(key_prefix = "ride")]
/// ```
///
/// ## `queue`
///
/// The queue that carries the model's entries. Models may share one: then the entries of a
/// partition are drained in the order they were written in, whatever model they are of.
///
/// ```ignore
/// #[kv(queue = "rides")]
/// ```
///
/// ## `partition_by`
///
/// The fields of the id that choose the partition, in the order their values are hashed in. Rows
/// that agree in them, of this model and of others on the same queue, are in one partition.
///
/// ```ignore
/// #[kv(partition_by = merchant_id)]
/// #[kv(partition_by(merchant_id, shop_id))]
/// ```
///
/// ## `ttl`
///
/// How long a row stays in Redis once it is drained: seconds, or a number with `s`, `m`, `h` or
/// `d`.
///
/// ```ignore
/// #[kv(ttl = 900)]
/// #[kv(ttl = "15m")]
/// ```
///
/// ## `durability`
///
/// What a write waits for before it is acknowledged: Redis alone, so many of its replicas, or its
/// disk; and how long, in `ms`, `s` or `m`. `Repository::with_durability` chooses another one for
/// some calls.
///
/// ```ignore
/// #[kv(durability = "fast")]
/// #[kv(durability = "replicated(1, 100ms)")]
/// #[kv(durability = "fsynced(1s)")]
/// ```
///
/// ## `scheme`
///
/// How the rows are stored: `write_behind`, `write_through`, `cache_aside`, `redis_only` or
/// `postgres_only`; see `StorageScheme`. It is how a queue begins; `Kv::switch_scheme` changes it.
///
/// ```ignore
/// #[kv(scheme = "write_through")]
/// ```
///
/// ## `unique`
///
/// Fields whose values belong to one row, with a unique index in PostgreSQL. On a field it is
/// about that one; on the struct it names one field or several, and can be given several times.
/// Rows with a NULL in it are not concerned. With `when`, only the rows are for which this SQL
/// condition holds; only PostgreSQL can tell, so that a second one becomes a dead letter, and the
/// in-memory pair refuses none.
///
/// `Booking::ddl()` makes a constraint of it that can be deferred, so that a unit of work may swap
/// values. Where there is a condition, or a foreign key refers to it, PostgreSQL knows none such.
///
/// ```ignore
/// #[kv(unique)]
/// reference: String,
///
/// #[kv(unique(tenant_id, email), unique(seat, when = "status = 'active'"))]
/// ```
///
/// A write takes a value in the same script that writes the row, after PostgreSQL was asked for
/// values that Redis does not know; a second row that wants it is told so (`Error::NotUnique`). A
/// change moves it, a deletion frees it. The repository has methods for it:
///
/// ```ignore
/// bookings.find_by_reference("AB-12").await?;          // Option<Booking>
/// bookings.get_by_reference("AB-12").await?;           // Booking; Error::NotFoundBy if there is none
/// bookings.get_or_create_by_reference(&booking).await?; // the row, and whether it is new
/// bookings.upsert_by_reference(&booking).await?;        // replaces the row that has it
/// members.find_by_tenant_id_and_email(7, "a@b.c").await?;
/// ```
///
/// With `when` there are no methods: which rows it is about, only PostgreSQL can tell.
///
/// Two rows that swap a value in one unit of work need a constraint that PostgreSQL checks at the
/// end of a statement, which is one that is `DEFERRABLE`.
///
/// ## `index`
///
/// The same for fields by whose values rows are looked for, and which several rows share.
///
/// ```ignore
/// #[kv(index)]
/// driver_id: Option<Uuid>,
///
/// #[kv(index(user_id, created_at))]
/// ```
///
/// The repository has a query for it, to be narrowed, ordered and paged like any other:
///
/// ```ignore
/// bookings.list_by_driver_id(driver).order_by(|b| b.created_at.desc()).limit(20).load().await?;
/// ```
///
/// With `when`, an index of some rows, there is none: the rows of the condition are asked for by
/// `query()`, with a filter that says the same.
///
/// ## `references`
///
/// A foreign key: the values are those of a row of another table, with its name and its columns
/// as PostgreSQL has them. On a field it is about that one; on the struct it names several fields,
/// and can be given several times. A row with a NULL in one of them refers to nothing.
///
/// ```ignore
/// #[kv(references = "merchants(id)")]
/// merchant_id: i64,
///
/// #[kv(references(merchant_id, shop_id, to = "shops(merchant_id, id)"))]
/// ```
///
/// It takes no action such as `ON DELETE CASCADE`, which would change rows behind Redis' back. A
/// row may be drained before the one that it refers to: it then waits for that one, and is refused
/// if it never comes.
///
/// ## `check`
///
/// An SQL condition that every row meets, with the columns' names as PostgreSQL has them. It can be
/// given several times. Only PostgreSQL reads it: a row that does not meet it is refused there, and
/// the in-memory pair takes it.
///
/// ```ignore
/// #[kv(check = "fare >= 0", check = "ends_at > starts_at")]
/// ```
///
/// ## `crate`
///
/// Where the code finds `kv_runtime`, if it is re-exported or renamed.
///
/// ```ignore
/// #[kv(crate = my_crate::kv_runtime)]
/// ```
///
/// ## `id`
///
/// Marks the field, or the fields, of the primary key. With several, `Booking::Id` is a tuple of
/// their types in the order of the fields. An id is never NULL, and a patch cannot change it. It is
/// no float, no decimal number and no JSON: equal ones can be written in several ways, and a row is
/// found by the text of its id.
///
/// ```ignore
/// #[kv(id)]
/// id: Uuid,
/// ```
///
/// ## `fresh`
///
/// Beside `id`: you vouch that the id of a new row is new. A create then asks PostgreSQL nothing,
/// and PostgreSQL refuses the entry if the id was in use after all. An id that is a single UUID is
/// taken to be fresh; where a caller chooses it, and may come twice with the same, say
/// `fresh = false`. One UUID among several fields may be another row's, and is not. Of an id of several
/// fields it is said at one of them, or the same at all.
///
/// ```ignore
/// #[kv(id, fresh)]
/// number: i64,
/// ```
///
/// ## `serial`
///
/// Beside `id`: a sequence of PostgreSQL numbers the rows. `Repository::create_new` gives a new row
/// its id, and `Repository::next_id` an id for a row that is made otherwise. A process takes them from
/// the sequence in blocks (`Settings::serial_block`), so that hardly a write asks PostgreSQL, and
/// nobody else is given the same: neither another process nor an `INSERT` by hand. What is left of a
/// block when a process ends is a gap.
///
/// ```ignore
/// #[kv(id, serial)]
/// id: i64,
/// ```
///
/// It is an integer and the whole id, in a column that is `GENERATED BY DEFAULT AS IDENTITY` or
/// `bigserial`. (`GENERATED ALWAYS` would refuse the ids that are given.) The id of a new row is taken
/// to be new, as if it were `fresh`; where callers choose some ids themselves, say `fresh = false`.
///
/// ## `default`
///
/// What the field is in a new row that `Repository::create_new` writes: any expression, which this
/// process evaluates, so that the row is known in full at once. It then is no field of `NewBooking`.
/// Other writes have nothing to do with it.
///
/// ```ignore
/// #[kv(default = Utc::now())]
/// created_at: DateTime<Utc>,
/// #[kv(default = None)]
/// driver_id: Option<Uuid>,
/// #[kv(id, default = kv_runtime::new_uuid())]
/// id: Uuid,
/// ```
///
/// ## `read_only`
///
/// PostgreSQL alone fills the column, by a DEFAULT, as `GENERATED` or by a trigger. The runtime never
/// writes it, a patch has no setter for it, and what a row says of it at a create or an upsert counts
/// for nothing.
///
/// ```ignore
/// #[kv(read_only)]
/// search_rank: Option<i32>,
/// ```
///
/// It is an `Option`, because it is NULL until the row is drained. A row of such a model leaves Redis
/// as soon as it is drained, so that the next read gets what PostgreSQL has filled in. In memory
/// nobody fills it.
///
/// ## `column`
///
/// The PostgreSQL column. With a `table!` it is the column of that name there too, or of that
/// name with an underscore if it is a keyword, as `diesel print-schema` writes it.
///
/// ```ignore
/// #[kv(column = "type")]
/// kind: String,
/// ```
///
/// ## `column_type`
///
/// How many digits a decimal number has, and how many of them stand behind the point. The table
/// that is made or checked has a column of this type, and a write of a number that would be rounded
/// there, or refused, is refused at once, so that nobody ever reads another number than was written.
///
/// ```ignore
/// #[kv(column_type = "numeric(38, 0)")]
/// stake: BigDecimal,
/// ```
///
/// ## `rename`
///
/// The field's name in the Redis hash and in entries. Not empty, without white space and commas,
/// and without `@` in front. It is a part of the stored data: give it before the field is renamed.
///
/// ```ignore
/// #[kv(rename = "driver")]
/// driver_id: Option<Uuid>,
/// ```
///
/// ## `version`
///
/// The field that every change of a row raises. A stale writer is told so by
/// `Repository::update_if`.
///
/// ```ignore
/// #[kv(version)]
/// version: i64,
/// ```
///
/// It is an `i64`, in a column `bigint NOT NULL`. The runtime sets it: a create and an upsert
/// store a new version whatever the field says, and a patch has no setter for it. The receipt of
/// each write has it, as `receipt.version`. Versions of a row grow, also from its deletion to its
/// next creation, but they do not count by ones: they are made from the time of the write.
///
/// Whoever changes the row in PostgreSQL by hand changes the version as well, and calls
/// `Repository::invalidate`.
///
/// # Patches
///
/// A setter takes what the field holds. One that is not called leaves the field alone, and `None`
/// makes it NULL:
///
/// ```ignore
/// Booking::patch().status(BookingStatus::Requested).driver_id(None)
/// ```
///
/// That of a `String` takes all that can be made one (`impl Into<String>`), and that of an
/// `Option<String>` a text as well as the option:
///
/// ```ignore
/// Booking::patch().reference("AB-12").note("at the back door")
/// ```
///
/// # Queries
///
/// The closures of a query are given the fields. A field that is an `Option` is compared with what
/// is in it:
///
/// ```ignore
/// bookings.query().filter(|b| b.driver_id.eq(driver)).order_by(|b| b.created_at.desc())
/// ```
#[proc_macro_derive(KvModel, attributes(kv))]
pub fn derive_kv_model(input: TokenStream) -> TokenStream {
    pipeline::derive(parse_macro_input!(input as DeriveInput)).into()
}

/// Makes an enum or a newtype the type of a field.
///
/// An enum of variants without data is stored as text. A struct with one field is stored as
/// that field.
///
/// ```ignore
/// #[derive(Debug, Clone, Copy, PartialEq, KvValue)]
/// enum BookingStatus {
///     Requested, // stored as `requested`
///     OnTrip,    // stored as `on_trip`
///     #[kv(rename = "done")]
///     Completed,
/// }
///
/// #[derive(Debug, Clone, PartialEq, KvValue)]
/// struct Reference(String);
/// ```
///
/// A newtype is asked for in queries as its field is: one of a text by patterns, one of a number by
/// sums and averages, which are of the number's own types.
///
/// With the feature `postgres` of `kv-runtime`, the type is a value for Diesel as well, and can
/// stand in a model with a `table!` and in queries of your own: an enum for a column of its
/// `sql_type`, a newtype for the columns that its field is a value for. Diesel wants it to be
/// `Debug`.
///
/// # Attributes
///
/// | attribute | on | default |
/// | --- | --- | --- |
/// | [`rename`](#rename) | variant | the variant's name in snake case |
/// | [`pg_type`](#pg_type) | enum | `text` |
/// | [`sql_type`](#sql_type) | enum | Diesel's `Text` |
/// | [`crate`](#crate) | both | `::kv_runtime` |
///
/// ## `rename`
///
/// The text the variant is stored as. No two variants have the same.
///
/// ## `pg_type`
///
/// The PostgreSQL enum the value is stored as; its labels are the variants' texts.
///
/// ```ignore
/// #[kv(pg_type = "booking_status")]
/// ```
///
/// ## `sql_type`
///
/// Diesel's type for that enum, as `diesel print-schema` writes it. It needs `pg_type` beside it.
///
/// ```ignore
/// #[kv(pg_type = "booking_status", sql_type = crate::schema::sql_types::BookingStatus)]
/// ```
///
/// ## `crate`
///
/// Where the code finds `kv_runtime`, if it is re-exported or renamed.
#[proc_macro_derive(KvValue, attributes(kv))]
pub fn derive_kv_value(input: TokenStream) -> TokenStream {
    value::derive(parse_macro_input!(input as DeriveInput)).into()
}
