//! The expansion finds the runtime where `crate` says.

#![deny(warnings)]

mod vendor {
    pub use kv_runtime as storage;
}

/// Hides the crate, so that the default path would be noticed.
#[allow(unused)]
mod hidden {
    mod kv_runtime {}

    use crate::crate_path::vendor::storage::{KvModel, KvValue};

    #[derive(KvModel)]
    #[kv(crate = crate::crate_path::vendor::storage)]
    struct Booking {
        #[kv(id)]
        id: i64,
        status: Status,
    }

    #[derive(Debug, Clone, KvValue)]
    #[kv(crate = "crate::crate_path::vendor::storage")]
    enum Status {
        Active,
    }

    #[derive(Debug, Clone, KvValue)]
    #[kv(crate = crate::crate_path::vendor::storage)]
    struct Reference(String);
}

#[test]
fn it_is_taken() {}
