//! Differences that a statement alone does not mend without harm, and those of several tables.

use kv_runtime::KvModel;
use kv_runtime::schema::Schema;
use kv_tests::pair::Pair;

use super::models::{empty, migrate};

async fn up_of(pair: &Pair, schema: &Schema) -> String {
    let change = schema.difference(&pair.settings.postgres.url).await.expect("a comparison");
    change.up()
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "parents")]
struct Parent {
    #[kv(id, fresh)]
    id: i64,
    #[kv(unique)]
    code: i64,
}

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "children")]
struct Child {
    #[kv(id, fresh)]
    id: i64,
    #[kv(references = "parents(code)")]
    parent: i64,
}

#[tokio::test]
async fn what_a_new_key_refers_to_is_unique_at_once() {
    let pair = empty().await;
    let url = &pair.settings.postgres.url;
    migrate(&pair, &Schema::new().model::<Parent>().create().up()).await;
    let both = Schema::new().model::<Parent>().model::<Child>();
    let change = both.difference(url).await.expect("a comparison");
    assert!(change.up().contains("CREATE UNIQUE INDEX \"parents_code_key\""), "{}", change.up());
    migrate(&pair, &change.up()).await;
    assert_eq!(up_of(&pair, &both).await, "");
    // And back, to what can be deferred.
    migrate(&pair, &change.down()).await;
    assert_eq!(both.difference(url).await.expect("a comparison"), change);
    migrate(&pair, &change.up()).await;
    // One model alone is what it is among all.
    let run = |verb: &str| {
        let arguments = [verb, "--model=Parent", "--database-url", url.expose()];
        both.run(arguments.map(str::to_owned))
    };
    let printed = run("print").await.expect("the SQL");
    assert!(printed.contains("CREATE UNIQUE INDEX \"parents_code_key\""), "{printed}");
    let nothing = run("diff").await.expect("no difference");
    assert_eq!(nothing.trim_end(), "-- Nothing to change.");
}
