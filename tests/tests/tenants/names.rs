//! What can be the name of a tenant, and what cannot.

use kv_runtime::{Kv, KvModel, Settings, TenantError};
use kv_tests::contract;
use kv_tests::models::Place;
use kv_tests::pair::Pair;

contract!(nasty_names_and_ids_go_all_the_way, names_that_no_schema_can_have_are_refused);

const NAMES: [&str; 9] =
    ["a", "A", "a/place", "a:*", "{7}", "\"; DROP SCHEMA \"x", "public", " é\u{1}\\", "a.b"];

async fn nasty_names_and_ids_go_all_the_way(pair: Pair) {
    let place = |region: &str, note: &str| Place {
        region: region.to_owned(),
        name: "a:b{}*? \\".to_owned(),
        note: Some(note.to_owned()),
    };
    let large = "é{".repeat(1 << 14);
    let mut tenants = Vec::new();
    for name in NAMES {
        tenants.push(pair.tenant(name).await);
    }
    for (tenant, name) in tenants.iter().zip(NAMES) {
        let places = tenant.kv.repository::<Place>();
        for region in NAMES {
            let _ = places.create(&place(region, name)).await.expect("a new row");
        }
        // PostgreSQL takes no key of its size, and Redis does.
        let key = places.key(&(large.clone(), String::new())).expect("a key");
        assert_eq!(places.parse_key(&key), Some((large.clone(), String::new())));
    }
    for (tenant, name) in tenants.iter().zip(NAMES) {
        let places = tenant.kv.repository::<Place>();
        assert_eq!(tenant.drain().await.dead_letters, 0);
        for region in NAMES {
            let id = (region.to_owned(), place(region, name).name);
            places.invalidate(&id).await.expect("a clean row");
            assert_eq!(places.get_by_id(&id).await.expect("the row"), place(region, name));
        }
        let rows = tenant.kv.durable_rows::<Place>().await.expect("the rows");
        assert_eq!(rows.len(), NAMES.len(), "of `{name}`");
        assert!(rows.iter().all(|row| row.note.as_deref() == Some(name)), "{rows:?}");
    }
    let mut sorted = NAMES.map(str::to_owned);
    sorted.sort();
    assert_eq!(pair.kv.tenants().await.expect("the list"), sorted);
}

async fn names_that_no_schema_can_have_are_refused(pair: Pair) {
    for name in ["", "a\0b", &"x".repeat(57), &"{}".repeat(1 << 15)] {
        let error = pair.kv.tenant(name).expect_err("no name");
        assert!(matches!(error, TenantError::Name { .. }), "{error}");
        assert!(error.to_string().len() < 300, "{error}");
        let builder = pair.kv.drainer().tenants(["acme", name]);
        assert!(builder.is_err(), "a drainer of `{error}`");
    }
    let own = pair.with(|settings| settings.postgres.tenant_schema = "{}".to_owned()).await;
    for name in ["public", "information_schema", "pg_catalog", "$user"] {
        let error = own.kv.tenant(name).expect_err("a schema that is there");
        assert!(error.to_string().contains("`postgres.tenant_schema`"), "{error}");
    }
    own.kv.tenant("Public").expect("another name");
}

#[test]
fn the_schemas_name_must_tell_tenants_apart() {
    let mut settings = Settings::in_memory();
    settings.postgres.tenant_schema = "app".to_owned();
    let error = Kv::memory_with(settings).expect_err("one schema for all").to_string();
    assert!(error.contains("`postgres.tenant_schema`"), "{error}");
}

/// A model whose table is in one schema.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "app.countries")]
struct Country {
    #[kv(id, fresh)]
    id: i64,
}

#[tokio::test]
#[should_panic(expected = "leave the schema out of its name")]
async fn a_table_for_all_tenants_is_refused() {
    let kv = Kv::memory().tenant("acme").expect("a name");
    kv.repository::<Country>();
}

#[tokio::test]
#[should_panic(expected = "leave the schema out of its name")]
async fn a_table_for_all_tenants_is_refused_by_a_drainer() {
    let _drainer = Kv::memory().drainer().model::<Country>().all_tenants().spawn();
}

#[tokio::test]
async fn a_pair_of_a_test_has_no_tenants() {
    let pair = Pair::servers().await;
    let kv = Kv::test(pair.settings.clone()).await.expect("the servers are up");
    let error = kv.tenant("acme").expect_err("it has one transaction");
    assert!(matches!(error, TenantError::InTest), "{error}");
}
