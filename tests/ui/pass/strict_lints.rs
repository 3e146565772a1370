//! What the derives write passes the lints of a careful crate.

#![deny(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused,
    unused_qualifications,
    non_camel_case_types,
    single_use_lifetimes,
    unsafe_code,
    dead_code,
    deprecated
)]

/// Rides.
pub mod rides {
    use kv_runtime::{KvModel, KvValue};

    diesel::table! {
        /// The rides.
        rides (id) {
            /// Identifies the ride.
            id -> BigInt,
            /// Where it stands.
            status -> Text,
            /// What it is called.
            reference -> Text,
            /// No longer filled.
            old -> Nullable<Text>,
        }
    }

    /// A ride.
    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = rides)]
    pub struct Ride {
        /// Identifies the ride.
        #[kv(id)]
        pub id: i64,
        /// Where it stands.
        pub status: Status,
        reference: Reference,
        /// No longer filled.
        #[deprecated]
        pub old: Option<String>,
    }

    /// Where a ride stands.
    #[derive(Debug, Clone, Copy, PartialEq, KvValue)]
    pub enum Status {
        /// It goes on.
        Active,
        /// It does not.
        #[deprecated]
        Paused,
    }

    /// What a ride is called.
    #[derive(Debug, Clone, PartialEq, KvValue)]
    pub struct Reference(String);
}

mod inner {
    #[derive(Debug, Clone, PartialEq, kv_runtime::KvModel)]
    pub(crate) struct Meter {
        #[kv(id)]
        pub(crate) id: i64,
        pub(crate) count: i64,
    }
}

#[test]
fn it_is_taken() {
    let meter = inner::Meter { id: 1, count: 2 };
    assert_eq!(meter.id + meter.count, 3);
}
