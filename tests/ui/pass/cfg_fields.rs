//! `#[cfg]` and `#[cfg_attr]` on fields and variants work as anywhere.

#![deny(warnings)]
#![allow(unexpected_cfgs, clippy::non_minimal_cfg)]

use kv_runtime::{KvModel, KvValue};

#[derive(KvModel)]
#[cfg_attr(all(), kv(key_prefix = "ride"))]
#[cfg_attr(any(), kv(queue = "never"))]
struct Booking {
    #[cfg_attr(all(), kv(id))]
    id: i64,
    #[cfg(any())]
    absent: NoSuchType,
    #[cfg(all())]
    present: i64,
    #[cfg_attr(any(), kv(no_such_attribute))]
    plain: i64,
}

#[derive(Debug, Clone, Copy, KvValue)]
enum Status {
    Active,
    #[cfg(any())]
    Absent(NoSuchType),
    #[cfg_attr(all(), kv(rename = "over"))]
    Done,
}

#[test]
fn it_is_taken() {
    let fields: Vec<&str> = Booking::DESCRIPTOR.columns.iter().map(|c| c.field).collect();
    assert_eq!(fields, ["id", "present", "plain"]);
    assert_eq!(Booking::DESCRIPTOR.key_prefix, "ride");
    assert_eq!(Booking::DESCRIPTOR.queue, "ride_queue");
    let _ = Booking::patch().present(1).plain(2);
    assert!(matches!(Status::decode(Some("over")), Ok(Status::Done)));
    assert!(matches!(Status::decode(Some("active")), Ok(Status::Active)));
}
