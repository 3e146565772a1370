//! Raw identifiers name their columns without the `r#`.

#![deny(warnings)]

use kv_runtime::{KvModel, KvValue};

diesel::table! {
    events (id) {
        id -> BigInt,
        r#type -> Text,
        #[sql_name = "where"]
        where_ -> Text,
    }
}

#[derive(KvModel)]
#[kv(table = events)]
struct Event {
    #[kv(id)]
    id: i64,
    r#type: String,
    #[kv(column = "where")]
    r#where: String,
}

#[derive(KvModel)]
#[kv(partition_by = r#mod)]
struct r#Move {
    #[kv(id)]
    r#mod: i64,
    #[kv(id)]
    r#fn: i64,
}

#[derive(Debug, KvValue)]
#[allow(non_camel_case_types)]
enum Keyword {
    r#async,
}

#[test]
fn it_is_taken() {
    let columns = Event::DESCRIPTOR.columns;
    assert_eq!((columns[1].field, columns[1].name, columns[1].column), ("type", "type", "type"));
    assert_eq!(columns[2].column, "where");
    let _ = Event::patch().r#type("trip").r#where("city");
    assert_eq!(EventField::Type.to_string(), "type");
    assert_eq!(Move::DESCRIPTOR.table, "moves");
    let mut text = String::new();
    Keyword::r#async.encode(&mut text).expect("text");
    assert_eq!(text, "async");
}
