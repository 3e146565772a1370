//! Snapshots of expansions, pretty-printed, so that a reader sees what the derives write.
//!
//! `INSTA_UPDATE=always cargo test -p kv-runtime-derive` accepts new ones; read them first.

use proc_macro2::TokenStream;
use syn::{DeriveInput, File, Item};

fn check(name: &str, input: &str, derive: fn(DeriveInput) -> TokenStream) {
    let item: DeriveInput = syn::parse_str(input).expect("the input is an item");
    let mut file: File = syn::parse2(derive(item)).expect("the expansion is a list of items");
    file.items = file.items.into_iter().flat_map(without_if_postgres).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(input);
    settings.bind(|| insta::assert_snapshot!(name, prettyplease::unparse(&file)));
}

/// Replaces `if_postgres! { … }` by what is in it, because a macro's body is not formatted.
fn without_if_postgres(item: Item) -> Vec<Item> {
    match item {
        Item::Macro(item)
            if item.mac.path.segments.last().is_some_and(|last| last.ident == "if_postgres") =>
        {
            syn::parse2::<File>(item.mac.tokens).expect("it holds a list of items").items
        }
        other => vec![other],
    }
}

fn check_model(name: &str, input: &str) {
    check(name, input, crate::pipeline::derive);
}

fn check_value(name: &str, input: &str) {
    check(name, input, crate::value::derive);
}

#[test]
fn simple_model() {
    check_model(
        "simple_model",
        r#"
#[kv(table = "bookings")]
pub struct Booking {
    /// Identifies the booking.
    #[kv(id)]
    pub id: Uuid,
    /// Who drives.
    pub driver_id: Option<Uuid>,
    pub status: BookingStatus,
    created_at: DateTime<Utc>,
}
"#,
    );
}

#[test]
fn model_with_a_diesel_table() {
    check_model(
        "model_with_a_diesel_table",
        r#"
#[kv(table = crate::schema::legs)]
pub(crate) struct Leg {
    #[kv(id)]
    pub(crate) merchant_id: i64,
    #[kv(id)]
    pub(crate) number: i64,
    pub driver_id: Option<Uuid>,
    #[kv(column = "type")]
    kind: LegKind,
}
"#,
    );
}

#[test]
fn indexed_model() {
    check_model(
        "indexed_model",
        r#"
#[kv(unique(tenant_id, email), index(status, when = "status = 'active'"), index(tenant_id, status))]
pub struct Member {
    #[kv(id)]
    pub id: Uuid,
    pub tenant_id: i64,
    pub email: String,
    #[kv(unique)]
    pub badge: Option<String>,
    #[kv(index)]
    pub team_id: i64,
    pub status: String,
    #[kv(version)]
    pub version: i64,
}
"#,
    );
}

#[test]
fn model_with_mistakes_in_its_indexes() {
    check_model(
        "model_with_mistakes_in_its_indexes",
        r#"
#[kv(unique(tenant, email), index(email, email), index, unique(status, when = ""))]
#[kv(unique(first, when = "first > 0"))]
pub struct Member {
    #[kv(id, unique, version)]
    pub id: Uuid,
    pub tenant_id: i64,
    #[kv(unique, index)]
    pub email: String,
    #[kv(version, index)]
    pub first: i64,
    #[kv(version)]
    pub second: i64,
    pub status: String,
}
"#,
    );
}

#[test]
fn model_with_a_unique_field_that_is_called_id() {
    check_model(
        "model_with_a_unique_field_that_is_called_id",
        r#"
pub struct Member {
    #[kv(id)]
    pub tenant: i64,
    #[kv(id, unique)]
    pub id: i64,
}
"#,
    );
}

#[test]
fn model_whose_id_is_declared_unique() {
    check_model(
        "model_whose_id_is_declared_unique",
        r#"
#[kv(unique(shop_id, merchant_id), unique(merchant_id, shop_id, when = "shop_id > 0"))]
#[kv(index(merchant_id, shop_id), index(shop_id, merchant_id))]
pub struct Shop {
    #[kv(id)]
    pub merchant_id: i64,
    #[kv(id)]
    pub shop_id: i64,
}
"#,
    );
}

#[test]
fn model_with_indexes_of_some_rows() {
    check_model(
        "model_with_indexes_of_some_rows",
        r#"
#[kv(unique(driver_id, when = "state = 'on'"), unique(driver_id, when = "state = 'new'"))]
#[kv(index(driver_id), unique(a, b), index(a_and_b))]
pub struct Ride {
    #[kv(id)]
    pub id: i64,
    pub driver_id: i64,
    pub a: i64,
    pub b: i64,
    pub a_and_b: i64,
}
"#,
    );
}

#[test]
fn model_with_indexes_that_are_given_twice() {
    check_model(
        "model_with_indexes_that_are_given_twice",
        r#"
#[kv(unique(a, when = "a > 0"), unique(a, when = "a > 0"), index(a, when = "a > 0"))]
#[kv(unique(b), unique(b, when = "b > 0"), index(b, when = "b > 0"))]
#[kv(unique(a, b), unique(a_and_b), index(c), index(c, when = "c > 0"))]
pub struct Ride {
    #[kv(id)]
    pub id: i64,
    pub a: i64,
    pub b: i64,
    pub c: i64,
    pub a_and_b: i64,
}
"#,
    );
}

#[test]
fn model_with_new_rows() {
    check_model(
        "model_with_new_rows",
        r#"
pub struct Ticket {
    #[kv(id, serial)]
    pub id: i64,
    /// What it is about.
    pub title: String,
    #[kv(default = Utc::now())]
    pub opened_at: DateTime<Utc>,
    #[kv(version)]
    version: i64,
}
"#,
    );
}

#[test]
fn constrained_model() {
    check_model(
        "constrained_model",
        r#"
#[kv(references(merchant_id, shop_id, to = "shops(merchant_id, id)"))]
#[kv(check = "fare >= 0", check = "seats between 1 and 9")]
pub struct Ride {
    #[kv(id)]
    pub id: Uuid,
    pub merchant_id: i64,
    pub shop_id: i64,
    #[kv(references = "fleet.drivers(id)")]
    pub driver_id: Option<Uuid>,
    pub fare: i64,
    pub seats: i16,
}
"#,
    );
}

#[test]
fn model_with_bounded_numbers() {
    check_model(
        "model_with_bounded_numbers",
        r#"
pub struct Stream {
    #[kv(id, fresh)]
    pub id: i64,
    #[kv(column_type = "numeric(38, 0)")]
    pub rate: Amount,
    #[kv(column_type = "numeric(12, 2)")]
    pub fee: Option<Decimal>,
}
"#,
    );
}

#[test]
fn model_with_mistakes_in_its_constraints() {
    check_model(
        "model_with_mistakes_in_its_constraints",
        r#"
#[kv(references(merchant_id, shop, to = "shops(merchant_id, id)"), references(merchant_id))]
#[kv(references(merchant_id, shop_id, to = "shops(id)"), references = "shops(id)")]
#[kv(check = "fare >= 0", check = "fare >= 0", check = " ", check(fare))]
pub struct Ride {
    #[kv(id)]
    pub id: Uuid,
    #[kv(references = "merchants")]
    pub merchant_id: i64,
    #[kv(references = "shops(id) ON DELETE CASCADE")]
    pub shop_id: i64,
    #[kv(references = "fares()", check = "fare >= 0")]
    pub fare: i64,
}
"#,
    );
}

#[test]
fn renamed_model() {
    check_model(
        "renamed_model",
        r#"
#[kv(table = "ops.trips", key_prefix = "t", queue = "ride", ttl = "15m")]
#[kv(partition_by = merchant_id, durability = "replicated(1, 100ms)", crate = crate::vendor::kv)]
#[kv(scheme = "cache_aside")]
struct Trip {
    #[kv(id, fresh)]
    id: i64,
    #[kv(id)]
    merchant_id: i64,
    #[kv(rename = "k", column = "kind")]
    r#type: String,
}
"#,
    );
}

#[test]
fn model_of_nothing_but_an_id() {
    check_model(
        "model_of_nothing_but_an_id",
        "#[kv(table = seen)] struct Seen { #[kv(id)] message_id: Uuid }",
    );
}

#[test]
fn model_with_mistakes() {
    check_model(
        "model_with_mistakes",
        r#"
#[kv(tabel = "bookings", ttl = 0)]
struct Booking {
    id: i64,
    fare: i64,
}
"#,
    );
}

#[test]
fn value_of_an_enum() {
    check_value(
        "value_of_an_enum",
        r#"
enum BookingStatus {
    Requested,
    OnTrip,
    #[kv(rename = "over")]
    Completed,
}
"#,
    );
}

#[test]
fn value_of_a_postgresql_enum() {
    check_value(
        "value_of_a_postgresql_enum",
        r#"
#[kv(pg_type = "leg_kind", sql_type = crate::schema::sql_types::LegKind)]
enum LegKind {
    Walk,
    Ride,
}
"#,
    );
}

#[test]
fn value_of_a_newtype() {
    check_value("value_of_a_newtype", "struct Reference(String);");
}

#[test]
fn value_of_a_named_newtype() {
    check_value("value_of_a_named_newtype", "struct Amount { value: Option<Decimal> }");
}

#[test]
fn value_with_a_mistake() {
    check_value("value_with_a_mistake", "enum Status { Active(i64) }");
}
