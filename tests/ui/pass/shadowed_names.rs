//! The expansion does not depend on what the names of the prelude mean where it stands, nor
//! on what else is in scope.

#![allow(dead_code, unused_imports, non_camel_case_types)]

use ::std::string::String as Text;

mod schema {
    diesel::table! {
        bookings (id) {
            id -> BigInt,
            value -> Text,
            row -> Nullable<Text>,
            i64 -> BigInt,
            usize -> Text,
        }
    }
}

// Unit structs of the columns' names: no parameter can be named as one of them.
use schema::bookings::dsl::{bookings, id, row, value};

struct Option;
struct Result;
struct Some;
struct Ok;
struct Vec;
struct String;
struct Self_;
trait Into {}
trait Clone {}
mod core {}
mod std {}

#[derive(::kv_runtime::KvModel)]
#[kv(table = schema::bookings)]
struct Booking {
    #[kv(id)]
    id: i64,
    value: Text,
    row: ::core::option::Option<Text>,
    i64: i64,
    usize: Text,
}

#[derive(Debug, ::kv_runtime::KvValue)]
enum Status {
    Ok,
    Some,
    None,
}

#[derive(Debug, ::kv_runtime::KvValue)]
struct Reference(Text);

#[test]
fn it_is_taken() {
    let _ = Booking::patch().value("x".into()).row(::core::option::Option::None).usize("y".into());
}
