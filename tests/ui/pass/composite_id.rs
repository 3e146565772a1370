//! An id of several fields is a tuple of them, in their order.

#![deny(warnings)]

use kv_runtime::KvModel;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(partition_by(carrier, year))]
struct Flight {
    tail: Option<String>,
    #[kv(id)]
    year: i16,
    #[kv(id)]
    carrier: String,
    #[kv(id)]
    flight: i32,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Member {
    #[kv(id)]
    team: Uuid,
    #[kv(id)]
    person: Uuid,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Invoice {
    #[kv(id)]
    tenant: i64,
    #[kv(id, fresh)]
    number: i64,
}

#[test]
fn it_is_taken() {
    let flight = Flight { tail: None, year: 2013, carrier: "UA".into(), flight: 15 };
    let id: (i16, String, i32) = KvModel::row_id(&flight);
    assert_eq!(id, (2013, "UA".to_owned(), 15));
    assert_eq!(Flight::DESCRIPTOR.id, [1, 2, 3]);
    assert_eq!(Flight::DESCRIPTOR.partition_by, [1, 0]);
    assert_eq!(Member::DESCRIPTOR.partition_by, [0, 1]);
    assert!(!Member::DESCRIPTOR.id_is_fresh && Invoice::DESCRIPTOR.id_is_fresh);
    let _ = Flight::patch().tail(None);
}
