//! A model may stand in a function or a module, private or not.

#![deny(warnings)]

use kv_runtime::KvModel;

mod rides {
    #[derive(kv_runtime::KvModel)]
    pub(crate) struct Ride {
        #[kv(id)]
        pub id: i64,
        pub fare: i64,
        pub(super) tip: i64,
    }
}

#[test]
fn it_is_taken() {
    diesel::table! {
        trips (id) {
            id -> BigInt,
            fare -> BigInt,
        }
    }

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = trips)]
    struct Trip {
        #[kv(id)]
        id: i64,
        fare: i64,
    }

    let trip = Trip { id: 1, fare: 2 };
    let _ = diesel::insert_into(trips::table).values(&trip);
    let _ = Trip::patch().fare(3);
    let ride = rides::Ride { id: 1, fare: 2, tip: 3 };
    let _ = rides::Ride::patch().fare(ride.fare).tip(ride.tip);
    assert_eq!(KvModel::row_id(&ride), 1);
}
