//! Names that are not like others: of columns, of schemas, and of indexes that would have one name.

use kv_runtime::KvModel;
use kv_runtime::schema::Schema;
use kv_tests::pair::Pair;

use super::models::{empty, lines, migrate};

/// A dot is a part of these columns' names, and stands between no two names.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "spots")]
struct Spot {
    #[kv(id, serial, column = "spot.id")]
    id: i64,
    #[kv(column = "geo.lat")]
    lat: f64,
    #[kv(unique, column = "short.name")]
    name: String,
}

async fn drain(pair: &Pair) {
    let drainer = pair.kv.drainer().model::<Spot>().spawn();
    drainer.shutdown().await.expect("everything can be drained");
}

#[tokio::test]
async fn a_column_may_have_a_dot_in_its_name() {
    let pair = empty().await;
    let schema = Schema::new().model::<Spot>();
    migrate(&pair, &schema.create().up()).await;
    let spots = pair.kv.repository::<Spot>();
    let new = |name: &str| NewSpot { lat: 52.5, name: name.to_owned() };
    let first = spots.create_new(new("first")).await.expect("a new row").row;
    let second = spots.create_new(new("second")).await.expect("a new row").row;
    let third = spots.create_new(new("third")).await.expect("a new row").row;
    drain(&pair).await;
    let _ = spots.update(&first.id, Spot::patch().lat(48.1)).await.expect("a change");
    let _ = spots.upsert(&Spot { lat: 50.0, ..second.clone() }).await.expect("a change");
    let _ = spots.delete(&third.id).await.expect("a deletion");
    drain(&pair).await;
    for row in [&first, &second] {
        spots.invalidate(&row.id).await.expect("it is drained");
    }
    let found = spots.find_by_name("first").await.expect("an answer").expect("a row");
    assert_eq!(found, Spot { lat: 48.1, ..first });
    let found = spots.get_by_id(&second.id).await.expect("a row");
    assert_eq!(found, Spot { lat: 50.0, ..second });
    let query = spots.query().filter(|spot| spot.lat.lt(51.0)).order_by(|spot| spot.id.asc());
    let ids: Vec<i64> = query.load().await.expect("rows").iter().map(|spot| spot.id).collect();
    assert_eq!(ids, [first.id, second.id]);
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "Fleet.Cars")]
struct Car {
    #[kv(id, fresh)]
    id: i64,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "trips")]
struct Trip {
    #[kv(id, fresh)]
    id: i64,
    #[kv(references = "Fleet.Cars(id)")]
    car_id: i64,
}

#[tokio::test]
async fn a_key_to_a_schema_that_must_be_quoted_is_found_again() {
    let pair = empty().await;
    pair.sql("CREATE SCHEMA \"Fleet\"").await;
    let schema = Schema::new().model::<Car>().model::<Trip>();
    migrate(&pair, &schema.create().up()).await;
    let left = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
    assert_eq!(left.up(), "");
}

/// Two indexes of the same column, and two whose columns make one name.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "stays")]
#[allow(clippy::duplicated_attributes)] // The field is in several indexes.
#[kv(unique(guest_id, when = "state = 'in'"), unique(guest_id, when = "state = 'new'"))]
#[kv(index(guest_id), unique(room, night), unique(room_night))]
struct Stay {
    #[kv(id, fresh)]
    id: i64,
    guest_id: i64,
    state: String,
    room: i64,
    night: i64,
    room_night: i64,
}

#[tokio::test]
async fn indexes_whose_columns_make_one_name_stand_side_by_side() {
    let pair = empty().await;
    let schema = Schema::new().model::<Stay>();
    migrate(&pair, &schema.create().up()).await;
    let left = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
    assert_eq!(left.up(), "");
    pair.kv.checks().model::<Stay>().run().await.expect("all are there");
    let indexes = "SELECT indexname::text AS line FROM pg_indexes
                   WHERE tablename = 'stays' AND indexdef LIKE '%guest_id%' ORDER BY 1 DESC";
    let names = lines(&pair, indexes).await;
    assert!(names.len() == 3 && names[0].starts_with("stays_guest_id_key_"), "{names:?}");
    pair.sql(&format!("DROP INDEX {}", names[0])).await;
    let found = pair.kv.checks().model::<Stay>().run().await.expect_err("one is missing");
    assert!(found.to_string().contains(&names[0]), "{found}");
    let left = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
    assert!(left.up().contains("WHERE state = 'new'"), "{}", left.up());
}
