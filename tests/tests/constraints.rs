//! What the tables rule out beside a second row of an id: the in-memory pair refuses it too, with
//! the same SQLSTATE and the same name of the constraint.

use kv_runtime::schema::Schema;
use kv_runtime::{DeadLetter, DeadLetterFilter, DrainStatus, KvModel};
use kv_tests::contract;
use kv_tests::pair::Pair;

contract!(
    a_unique_value_belongs_to_one_row,
    unique_values_are_swapped_and_handed_on,
    a_child_needs_its_parent,
    a_parent_is_kept_by_its_children,
    parents_and_children_come_and_go_together,
    a_table_that_is_no_models_may_have_any_row,
);

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(unique(tenant, name))]
struct Owner {
    #[kv(id, fresh)]
    id: i64,
    tenant: i64,
    name: Option<String>,
    #[kv(unique)]
    code: String,
}

/// The same table, of which Redis does not know what is unique there: as if somebody had added the
/// indexes by hand.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "owners")]
struct Loose {
    #[kv(id, fresh)]
    id: i64,
    tenant: i64,
    name: Option<String>,
    code: String,
}

fn loose(id: i64, tenant: i64, name: &str, code: &str) -> Loose {
    Loose { id, tenant, name: Some(name.to_owned()), code: code.to_owned() }
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(references(tenant, owner, to = "owners(tenant, name)"))]
struct Car {
    #[kv(id, fresh)]
    id: i64,
    tenant: i64,
    owner: Option<String>,
    #[kv(references = "owners(code)")]
    code: Option<String>,
    #[kv(references = "cars(id)")]
    before: Option<i64>,
}

fn owner(id: i64, name: &str) -> Owner {
    Owner { id, tenant: 1, name: Some(name.to_owned()), code: format!("code of {name}") }
}

fn car(id: i64, owner: &str) -> Car {
    let owner = (!owner.is_empty()).then(|| owner.to_owned());
    Car { id, tenant: 1, owner, code: None, before: None }
}

async fn make_tables(pair: &Pair) {
    pair.sql(&Schema::new().model::<Owner>().model::<Car>().create().up()).await;
}

async fn drain(pair: &Pair) -> DrainStatus {
    let drainer = pair.kv.drainer().model::<Owner>().model::<Loose>().model::<Car>().spawn();
    drainer.shutdown().await.expect("everything can be drained")
}

async fn letters(pair: &Pair) -> Vec<DeadLetter> {
    pair.kv.dead_letters().list(&DeadLetterFilter::new()).await.expect("the letters")
}

fn reasons(letters: &[DeadLetter]) -> Vec<(&str, &str, &str)> {
    let mut reasons: Vec<(&str, &str, &str)> = letters
        .iter()
        .map(|letter| {
            let (sqlstate, constraint) = (letter.sqlstate.as_deref(), letter.constraint.as_deref());
            let id = letter.row_id.as_deref();
            (id.unwrap_or_default(), sqlstate.unwrap_or_default(), constraint.unwrap_or_default())
        })
        .collect();
    reasons.sort_unstable();
    reasons
}

async fn a_unique_value_belongs_to_one_row(pair: Pair) {
    make_tables(&pair).await;
    let owners = pair.kv.repository::<Owner>();
    let _ = owners.create(&owner(1, "Ada")).await.expect("a new row");
    // NULL equals nothing, and the other part of the pair may be the same.
    for id in 2..=3 {
        let nameless = Owner { name: None, code: format!("{id}"), ..owner(id, "") };
        let _ = owners.create(&nameless).await.expect("a new row");
    }
    let _ = owners.create(&Owner { tenant: 2, ..owner(4, "Ben") }).await.expect("a new row");
    assert_eq!(drain(&pair).await.dead_letters, 0);

    let others = pair.kv.repository::<Loose>();
    let _ = others.create(&loose(5, 1, "Ada", "5")).await.expect("Redis does not know");
    let _ = others.create(&loose(6, 1, "Cy", "code of Ada")).await.expect("nor here");
    let _ = others.update(&4, Loose::patch().tenant(1)).await.expect("a row");
    let _ = others.upsert(&loose(2, 1, "Di", "3")).await.expect("a row");
    let _ = others.create(&loose(1, 2, "Ada", "1")).await.expect("nor here");
    assert_eq!(drain(&pair).await.dead_letters, 4);
    assert_eq!(
        reasons(&letters(&pair).await),
        [
            ("1", "23505", "owners_pkey"),
            ("2", "23505", "owners_code_key"),
            ("5", "23505", "owners_tenant_name_key"),
            ("6", "23505", "owners_code_key"),
        ]
    );
    // What was refused is free, and what was deleted is.
    let _ = owners.create(&Owner { code: "6".to_owned(), ..owner(7, "Cy") }).await.expect("a row");
    let _ = owners.delete(&1).await.expect("a row");
    drain(&pair).await;
    let filter = DeadLetterFilter::new().row::<Loose>(&5).expect("an id");
    let replayed = pair.kv.dead_letters().replay(&filter).await.expect("it is tried");
    assert_eq!((replayed.applied, replayed.still_held), (1, 0));
}

async fn unique_values_are_swapped_and_handed_on(pair: Pair) {
    make_tables(&pair).await;
    let owners = pair.kv.repository::<Owner>();
    for (id, name) in [(1, "Ada"), (2, "Ben"), (3, "Cy")] {
        let _ = owners.create(&owner(id, name)).await.expect("a new row");
    }
    drain(&pair).await;
    let put = async |id: i64, name: Option<&str>| {
        let patch = Owner::patch().name(name.map(str::to_owned));
        let _ = owners.update(&id, patch).await.expect("a row");
    };
    put(1, None).await;
    put(2, Some("Ada")).await;
    put(1, Some("Ben")).await;
    let _ = owners.delete(&3).await.expect("a row");
    let _ = owners.create(&owner(4, "Cy")).await.expect("a new row");
    assert_eq!(drain(&pair).await.dead_letters, 0);
    let mut rows = pair.kv.durable_rows::<Owner>().await.expect("the rows");
    rows.sort_by_key(|row| row.id);
    let names: Vec<&str> = rows.iter().filter_map(|row| row.name.as_deref()).collect();
    assert_eq!(names, ["Ben", "Ada", "Cy"]);
}

async fn a_child_needs_its_parent(pair: Pair) {
    make_tables(&pair).await;
    let (owners, cars) = (pair.kv.repository::<Owner>(), pair.kv.repository::<Car>());
    let _ = cars.create(&car(1, "")).await.expect("a new row");
    let _ = cars.create(&car(2, "Ada")).await.expect("a new row");
    let _ = cars.create(&car(3, "Ben")).await.expect("a new row");
    let _ = cars.create(&Car { tenant: 2, ..car(4, "Ada") }).await.expect("a new row");
    let by_code = Car { code: Some("code of Ada".to_owned()), ..car(5, "") };
    let _ = cars.create(&by_code).await.expect("a new row");
    let _ = cars.create(&Car { code: Some("none".to_owned()), ..car(6, "") }).await.expect("a row");
    let _ = cars.create(&Car { before: Some(1), ..car(7, "") }).await.expect("a new row");
    let _ = cars.create(&Car { before: Some(8), ..car(8, "") }).await.expect("its own parent");
    let _ = cars.create(&Car { before: Some(99), ..car(9, "") }).await.expect("a new row");
    // The parent comes last, and elsewhere.
    let _ = owners.create(&owner(1, "Ada")).await.expect("a new row");
    assert_eq!(drain(&pair).await.dead_letters, 4);
    assert_eq!(
        reasons(&letters(&pair).await),
        [
            ("3", "23503", "cars_tenant_owner_fkey"),
            ("4", "23503", "cars_tenant_owner_fkey"),
            ("6", "23503", "cars_code_fkey"),
            ("9", "23503", "cars_before_fkey"),
        ]
    );
    // With the parent, it is taken after all.
    let _ = owners.create(&owner(2, "Ben")).await.expect("a new row");
    drain(&pair).await;
    let filter = DeadLetterFilter::new().row::<Car>(&3).expect("an id");
    let replayed = pair.kv.dead_letters().replay(&filter).await.expect("it is tried");
    assert_eq!((replayed.applied, replayed.still_held), (1, 0));
    // A patch is refused as well.
    let lost = Car::patch().owner("Nobody");
    let _ = cars.update(&1, lost).await.expect("a row");
    assert_eq!(drain(&pair).await.dead_letters, 1);
    assert_eq!(pair.kv.durable_rows::<Car>().await.expect("the rows").len(), 6);
}

async fn a_parent_is_kept_by_its_children(pair: Pair) {
    make_tables(&pair).await;
    let (owners, cars) = (pair.kv.repository::<Owner>(), pair.kv.repository::<Car>());
    for (id, name) in [(1, "Ada"), (2, "Ben"), (3, "Cy")] {
        let _ = owners.create(&owner(id, name)).await.expect("a new row");
        let _ = cars.create(&car(id, name)).await.expect("a new row");
    }
    drain(&pair).await;
    let _ = owners.delete(&1).await.expect("a row");
    // What nobody refers to may change, and what somebody refers to may not.
    let _ = owners.update(&2, Owner::patch().code("new")).await.expect("a row");
    let rename = Owner::patch().name("Eve");
    let _ = owners.update(&3, rename).await.expect("a row");
    assert_eq!(drain(&pair).await.dead_letters, 2);
    assert_eq!(
        reasons(&letters(&pair).await),
        [("1", "23503", "cars_tenant_owner_fkey"), ("3", "23503", "cars_tenant_owner_fkey")]
    );
    // Nothing of what was refused is left behind.
    let others = pair.kv.repository::<Loose>();
    let _ = others.create(&loose(4, 1, "Eve", "eve")).await.expect("Redis does not know");
    assert_eq!(drain(&pair).await.dead_letters, 0);
    let _ = cars.delete(&1).await.expect("a row");
    drain(&pair).await;
    let replayed = pair.kv.dead_letters().replay(&DeadLetterFilter::new()).await.expect("tries");
    assert_eq!((replayed.applied, replayed.still_held), (1, 1));
}

async fn parents_and_children_come_and_go_together(pair: Pair) {
    make_tables(&pair).await;
    let (owners, cars) = (pair.kv.repository::<Owner>(), pair.kv.repository::<Car>());
    let name = |id: i64| format!("owner {id}");
    for id in 1..=50 {
        let _ = cars.create(&car(id, &name(id))).await.expect("a new row");
        let _ = owners.create(&owner(id, &name(id))).await.expect("a new row");
    }
    assert_eq!(drain(&pair).await.dead_letters, 0);
    for id in 1..=50 {
        let _ = owners.delete(&id).await.expect("a row");
        let _ = cars.delete(&id).await.expect("a row");
    }
    assert_eq!(drain(&pair).await.dead_letters, 0);
    assert!(pair.kv.durable_rows::<Owner>().await.expect("the rows").is_empty());
    assert!(pair.kv.durable_rows::<Car>().await.expect("the rows").is_empty());
}

#[derive(Debug, Clone, PartialEq, KvModel)]
struct Address {
    #[kv(id, fresh)]
    id: i64,
    #[kv(references = "countries(code)")]
    country: String,
}

async fn a_table_that_is_no_models_may_have_any_row(pair: Pair) {
    pair.sql("CREATE TABLE countries (code text PRIMARY KEY)").await;
    pair.sql("INSERT INTO countries VALUES ('de')").await;
    pair.sql(&Address::ddl()).await;
    let addresses = pair.kv.repository::<Address>();
    let _ = addresses.create(&Address { id: 1, country: "de".to_owned() }).await.expect("a row");
    let status = pair.kv.drainer().model::<Address>().spawn().shutdown().await;
    assert_eq!(status.expect("everything is drained").dead_letters, 0);
}
