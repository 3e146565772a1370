//! What the derives write, at run time: the descriptor, the patch, the field enum, the text
//! of values and the SQL of the Diesel items.

// The models here are written as a user's would be, in a crate of their own.
#![allow(missing_docs, unreachable_pub)]

use std::borrow::Cow;
use std::time::Duration;

use diesel::debug_query;
use diesel::pg::Pg;
use diesel::prelude::*;
use kv_runtime::{
    ColumnType, Durability, EncodedPatch, IsNull, KvModel, KvPatch, KvValue, StorageScheme,
    ValueError,
};
use uuid::Uuid;

diesel::table! {
    bookings (id) {
        id -> Uuid,
        reference -> Text,
        driver_id -> Nullable<Uuid>,
        status -> Text,
        stops -> Nullable<Integer>,
        fare -> Numeric,
        tags -> Array<Text>,
        #[sql_name = "type"]
        type_ -> Text,
        created_at -> Timestamptz,
    }
}

mod schema {
    pub mod sql_types {
        #[derive(diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
        #[diesel(postgres_type(name = "leg_kind"))]
        pub struct LegKind;
    }

    diesel::table! {
        use diesel::sql_types::{BigInt, Nullable};
        use super::sql_types::LegKind;

        legs (merchant_id, number) {
            merchant_id -> BigInt,
            number -> BigInt,
            kind -> LegKind,
            kind_before -> Nullable<LegKind>,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
pub enum Status {
    Requested,
    OnTrip,
    #[kv(rename = "DONE")]
    Completed,
}

#[derive(Debug, Clone, PartialEq, KvValue)]
pub struct Reference(String);

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
pub struct Stops {
    count: Option<i32>,
}

/// A booking.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = bookings, ttl = "15m")]
pub struct Booking {
    #[kv(id)]
    id: Uuid,
    reference: Reference,
    /// Who drives.
    pub driver_id: Option<Uuid>,
    status: Status,
    stops: Stops,
    fare: rust_decimal::Decimal,
    tags: Vec<String>,
    #[kv(column = "type", rename = "t")]
    kind: String,
    created_at: chrono::DateTime<chrono::Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
#[kv(pg_type = "leg_kind", sql_type = schema::sql_types::LegKind)]
enum LegKind {
    Walk,
    Ride,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = schema::legs, table_name = "trips.legs", partition_by = merchant_id)]
#[kv(key_prefix = "leg", queue = "ride", ttl = 90, durability = "fsynced(2s)")]
#[kv(scheme = "write_through")]
struct TripLeg {
    #[kv(id)]
    merchant_id: i64,
    #[kv(id)]
    number: i64,
    kind: LegKind,
    kind_before: Option<LegKind>,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct HTTPCall {
    #[kv(id)]
    r#type: String,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Parcel {
    #[kv(id)]
    id: Uuid,
    label: String,
    note: Option<String>,
}

fn booking() -> Booking {
    Booking {
        id: Uuid::nil(),
        reference: Reference("AB-12".into()),
        driver_id: None,
        status: Status::OnTrip,
        stops: Stops { count: None },
        fare: rust_decimal::Decimal::new(1250, 2),
        tags: vec!["vip".into()],
        kind: "pool".into(),
        created_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn sql<T>(query: &T) -> String
where
    T: diesel::query_builder::QueryFragment<Pg>,
{
    debug_query::<Pg, _>(query).to_string()
}

#[test]
fn the_descriptor_has_names_types_and_defaults() {
    let model = Booking::DESCRIPTOR;
    assert_eq!(model.name, "Booking");
    assert_eq!(model.table, "bookings");
    assert_eq!(model.key_prefix, "booking");
    assert_eq!(model.queue, "booking_queue");
    assert_eq!(model.id, [0]);
    assert_eq!(model.partition_by, [0]);
    assert_eq!(model.ttl, Some(Duration::from_secs(900)));

    let column = &model.columns[2];
    assert_eq!((column.field, column.name, column.column), ("driver_id", "driver_id", "driver_id"));
    assert_eq!((column.ty, column.nullable), (ColumnType::Uuid, true));
    let column = &model.columns[4];
    assert_eq!((column.ty, column.nullable), (ColumnType::Integer, true));
    let column = &model.columns[6];
    assert_eq!((column.ty, column.nullable), (ColumnType::Array(&ColumnType::Text), false));
    let column = &model.columns[7];
    assert_eq!((column.field, column.name, column.column), ("kind", "t", "type"));
}

#[test]
fn the_descriptor_follows_the_attributes() {
    let model = TripLeg::DESCRIPTOR;
    assert_eq!(model.table, "trips.legs");
    assert_eq!((model.key_prefix, model.queue), ("leg", "ride"));
    assert_eq!((model.id, model.partition_by), (&[0, 1][..], &[0][..]));
    assert_eq!(model.ttl, Some(Duration::from_secs(90)));
    let timeout = Duration::from_secs(2);
    assert_eq!(model.durability, Some(Durability::Fsynced { timeout }));
    assert_eq!(model.scheme, Some(StorageScheme::WriteThrough));
    let labels = &["walk", "ride"];
    assert_eq!(model.columns[2].ty, ColumnType::Enum { name: "leg_kind", labels });

    let model = HTTPCall::DESCRIPTOR;
    assert_eq!((model.table, model.key_prefix), ("http_calls", "http_call"));
    assert_eq!((model.columns[0].field, model.columns[0].column), ("type", "type"));
    assert_eq!((model.ttl, model.durability, model.scheme), (None, None, None));
}

#[test]
fn the_id_is_the_field_or_a_tuple() {
    let id: Uuid = KvModel::row_id(&booking());
    assert_eq!(id, Uuid::nil());
    let leg = TripLeg { merchant_id: 7, number: 2, kind: LegKind::Ride, kind_before: None };
    assert_eq!(KvModel::row_id(&leg), (7, 2));
}

#[test]
fn fields_are_named_by_an_enum() {
    let names: Vec<&'static str> = BookingField::ALL.into_iter().map(Into::into).collect();
    assert_eq!(
        names,
        ["id", "reference", "driver_id", "status", "stops", "fare", "tags", "kind", "created_at"]
    );
    assert_eq!(BookingField::DriverId.to_string(), "driver_id");
    assert_eq!(format!("{:>10}", HTTPCallField::Type), "      type");
}

#[test]
fn a_patch_tells_null_from_left_alone() {
    let encode = |patch: &BookingPatch| {
        let mut encoded = EncodedPatch::default();
        patch.encode(&mut encoded).map(|()| encoded)
    };
    assert!(encode(&Booking::patch()).expect("nothing to store").is_empty());

    let to_null = encode(&Booking::patch().driver_id(None)).expect("NULL can be stored");
    let to_driver = encode(&Booking::patch().driver_id(Some(Uuid::nil()))).expect("a UUID");
    assert!(!to_null.is_empty());
    assert_ne!(to_null, to_driver);

    let unsupported = encode(&Booking::patch().kind("\0")).expect_err("a NUL character");
    assert_eq!(unsupported.field, "kind");
}

#[test]
fn a_text_can_be_set_to_whatever_becomes_one() {
    let encode = |patch: ParcelPatch| {
        let mut encoded = EncodedPatch::default();
        patch.encode(&mut encoded).expect("it can be stored");
        encoded
    };
    let label = || encode(Parcel::patch().label("a"));
    let text = "a".to_owned();
    assert_eq!(label(), encode(Parcel::patch().label(&text)));
    assert_eq!(label(), encode(Parcel::patch().label(text)));
    assert_eq!(label(), encode(Parcel::patch().label(Cow::Borrowed("a"))));
    assert_ne!(label(), encode(Parcel::patch().label("b")));

    let note = || encode(Parcel::patch().note("a"));
    assert_eq!(note(), encode(Parcel::patch().note("a".to_owned())));
    assert_eq!(note(), encode(Parcel::patch().note(Some("a".to_owned()))));
    assert_ne!(note(), encode(Parcel::patch().note("b")));
    assert_ne!(note(), encode(Parcel::patch().note(None)));
}

#[test]
fn a_patch_of_nothing_but_an_id_is_empty() {
    let mut encoded = EncodedPatch::default();
    HTTPCall::patch().encode(&mut encoded).expect("nothing to store");
    assert!(encoded.is_empty());
}

#[test]
fn enums_are_stored_as_text() {
    for (status, expected) in
        [(Status::Requested, "requested"), (Status::OnTrip, "on_trip"), (Status::Completed, "DONE")]
    {
        let mut text = String::new();
        assert_eq!(status.encode(&mut text), Ok(IsNull::No));
        assert_eq!(text, expected);
        assert_eq!(Status::decode(Some(expected)), Ok(status));
    }
    let unknown = Status::decode(Some("completed")).expect_err("it is renamed");
    assert_eq!(
        unknown.to_string(),
        "its text is not a valid Status (`requested`, `on_trip`, `DONE`)"
    );
    assert_eq!(Status::decode(None), Err(ValueError::UnexpectedNull));
}

#[test]
fn newtypes_are_stored_as_their_field() {
    let mut text = String::new();
    assert_eq!(Reference("AB-12".into()).encode(&mut text), Ok(IsNull::No));
    assert_eq!(text, "AB-12");
    assert_eq!(Stops { count: None }.encode(&mut text), Ok(IsNull::Yes));
    assert_eq!(Stops::decode(None), Ok(Stops { count: None }));
    assert_eq!(Stops::decode(Some("3")), Ok(Stops { count: Some(3) }));
    const { assert!(Stops::NULLABLE && !Reference::NULLABLE) };
    assert_eq!(<Vec<Reference>>::TYPE, ColumnType::Array(&ColumnType::Text));
}

#[test]
fn diesel_selects_the_fields_in_order() {
    let query = bookings::table.select(Booking::as_select());
    assert!(sql(&query).starts_with(
        "SELECT \"bookings\".\"id\", \"bookings\".\"reference\", \"bookings\".\"driver_id\", \
         \"bookings\".\"status\", \"bookings\".\"stops\", \"bookings\".\"fare\", \
         \"bookings\".\"tags\", \"bookings\".\"type\", \"bookings\".\"created_at\" FROM \"bookings\""
    ));
}

#[test]
fn diesel_inserts_none_as_null() {
    let one = booking();
    let query = sql(&diesel::insert_into(bookings::table).values(&one));
    assert!(query.contains("VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"), "{query}");
    assert!(!query.contains("DEFAULT"), "{query}");
}

#[test]
fn diesel_inserts_many_rows_in_one_statement() {
    let many = vec![booking(), booking()];
    let query = sql(&diesel::insert_into(bookings::table).values(&many));
    assert!(query.contains("($10, $11, $12, $13, $14, $15, $16, $17, $18)"), "{query}");
    let query = sql(&diesel::insert_into(bookings::table).values(&many[..1]));
    assert!(query.contains("($1, $2, $3, $4, $5, $6, $7, $8, $9)"), "{query}");
}

#[test]
fn diesel_updates_what_a_patch_sets() {
    let one = booking();
    let patch = Booking::patch().driver_id(None).status(Status::Completed);
    let expected = "UPDATE \"bookings\" SET \"driver_id\" = $1, \"status\" = $2 \
                    WHERE (\"bookings\".\"id\" = $3) -- binds: [None, Completed, \
                    00000000-0000-0000-0000-000000000000]";
    assert_eq!(sql(&diesel::update(&one).set(&patch)), expected);
    assert_eq!(sql(&diesel::update(&one).set(patch)), expected);
}

#[test]
fn diesel_upserts_with_a_patch() {
    let one = booking();
    let query = diesel::insert_into(bookings::table)
        .values(&one)
        .on_conflict(bookings::id)
        .do_update()
        .set(Booking::patch().kind("taxi"));
    assert!(sql(&query).contains("ON CONFLICT (\"id\") DO UPDATE SET \"type\" = $10"));
}

#[test]
fn diesel_finds_a_composite_id_in_the_order_of_the_key() {
    let leg = TripLeg { merchant_id: 7, number: 2, kind: LegKind::Ride, kind_before: None };
    assert_eq!(
        sql(&diesel::delete(&leg)),
        "DELETE FROM \"legs\" WHERE ((\"legs\".\"merchant_id\" = $1) AND \
         (\"legs\".\"number\" = $2)) -- binds: [7, 2]"
    );
}

#[test]
fn values_are_expressions_of_diesel() {
    let reference = Reference("AB-12".into());
    let query = bookings::table
        .filter(bookings::status.eq(Status::OnTrip))
        .filter(bookings::reference.eq(&reference))
        .select(bookings::id);
    assert!(sql(&query).ends_with("binds: [OnTrip, Reference(\"AB-12\")]"), "{}", sql(&query));
    let query = schema::legs::table
        .filter(schema::legs::kind_before.eq(LegKind::Walk))
        .filter(schema::legs::kind.eq_any([LegKind::Walk, LegKind::Ride]))
        .select(schema::legs::number);
    assert!(sql(&query).contains("binds: [Walk, [Walk, Ride]]"), "{}", sql(&query));
}

#[test]
fn the_diesel_items_fit_a_connection() {
    // Never run: that it compiles is the test.
    fn _load(connection: &mut impl diesel::connection::LoadConnection<Backend = Pg>) {
        use diesel::query_dsl::methods::LoadQuery;
        fn loads<'a, C, U>(_: impl LoadQuery<'a, C, U>, _: &mut C) {}
        loads::<_, Booking>(bookings::table.select(Booking::as_select()), connection);
        loads::<_, Booking>(bookings::table, connection);
        loads::<_, TripLeg>(schema::legs::table.select(TripLeg::as_select()), connection);
        loads::<_, Status>(bookings::table.select(bookings::status), connection);
        loads::<_, Option<LegKind>>(
            schema::legs::table.select(schema::legs::kind_before),
            connection,
        );
        loads::<_, (Reference, Stops)>(
            bookings::table.select((bookings::reference, bookings::stops)),
            connection,
        );
    }
}
