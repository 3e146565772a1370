//! The command that writes migrations.

use std::fs;

use kv_runtime::schema::{Schema, SchemaError};

use super::models::{Ride, Shop, empty};

fn schema() -> Schema {
    Schema::new().model::<Ride>().model::<Shop>()
}

async fn run(arguments: &[&str]) -> Result<String, SchemaError> {
    schema().run(arguments.iter().map(|&argument| argument.to_owned())).await
}

#[tokio::test]
async fn migrations_are_written_for_the_diesel_cli() {
    let pair = empty().await;
    let url = pair.settings.postgres.url.expose();
    let folder = tempfile::tempdir().expect("a folder");
    let migrations = folder.path().join("migrations");
    let path = migrations.to_str().expect("a path in UTF-8");

    let new = run(&["new", "--migrations", path]).await.expect("a new migration");
    assert!(new.starts_with(path) && new.ends_with("_create_tables"), "{new}");
    let up = fs::read_to_string(format!("{new}/up.sql")).expect("a file");
    assert_eq!(up, schema().create().up());
    assert_eq!(run(&["print"]).await.expect("the same"), up);
    let down = fs::read_to_string(format!("{new}/down.sql")).expect("a file");
    assert_eq!(down, schema().create().down());

    pair.sql(&up).await;
    let nothing = run(&["diff", "--database-url", url, "--write", "--migrations", path]).await;
    assert_eq!(nothing.expect("no difference").trim_end(), "-- Nothing to change.");
    pair.sql("ALTER TABLE rides DROP COLUMN note; DROP INDEX fleet.shops_code_idx").await;
    let shown = run(&["diff", "--database-url", url]).await.expect("a difference");
    assert!(shown.contains("ADD COLUMN \"note\" text;"), "{shown}");
    let given = [&format!("--database-url={url}"), "--model=Ride", "diff"];
    assert!(run(&given).await.expect("a difference").contains("\"note\" text;"));
    let one = ["diff", "--database-url", url, "--write", "--migrations", path, "--model", "Shop"];
    let written = run(&one).await.expect("a migration");
    assert!(written.ends_with("_change_fleet_shops"), "{written}");
    let up = fs::read_to_string(format!("{written}/up.sql")).expect("a file");
    assert_eq!(up, "CREATE INDEX \"shops_code_idx\" ON \"fleet\".\"shops\" (\"code\");\n");
    let down = fs::read_to_string(format!("{written}/down.sql")).expect("a file");
    assert_eq!(down, "DROP INDEX \"fleet\".\"shops_code_idx\";\n");
}

#[tokio::test]
async fn a_tenants_tables_are_looked_at_in_its_schema() {
    let pair = empty().await;
    let url = pair.settings.postgres.url.expose();
    pair.sql(&schema().create().up()).await;
    pair.sql("CREATE SCHEMA tenant_acme").await;
    let tenant = ["diff", "--database-url", url, "--tenant", "acme", "--model", "Ride"];
    let missing = run(&tenant).await.expect("a difference");
    assert!(missing.contains("CREATE TABLE \"rides\""), "{missing}");
    // The shops are in a schema that all share.
    let rides = Schema::new().model::<Ride>().create();
    pair.sql(&format!("SET search_path TO tenant_acme; {}", rides.up())).await;
    let nothing = run(&tenant).await.expect("no difference");
    assert_eq!(nothing.trim_end(), "-- Nothing to change.");
    pair.sql("ALTER TABLE tenant_acme.rides DROP COLUMN note").await;
    let shown = run(&tenant).await.expect("a difference");
    assert!(shown.contains("ADD COLUMN \"note\" text;"), "{shown}");
    let of_all = ["diff", "--database-url", url];
    let nothing = run(&of_all).await.expect("no difference");
    assert_eq!(nothing.trim_end(), "-- Nothing to change.");
}

#[tokio::test]
async fn what_is_not_understood_is_told_with_what_there_is() {
    for (arguments, expected) in [
        (&[][..], "say what to do"),
        (&["drop"], "`drop` is not understood"),
        (&["print", "--force"], "`--force` is not understood"),
        (&["print", "now"], "`now` is not understood"),
        (&["--write=no"], "`--write=***` is not understood"),
        (&["diff", "--database-url"], "`--database-url` needs a value"),
        (&["print", "--model", "Car"], "no model is `Car`"),
        (&["diff", "--database-url=postgres://a", "--tenant="], "`--tenant` names none"),
    ] {
        let error = run(arguments).await.expect_err("a mistake").to_string();
        assert!(error.starts_with(expected) && error.contains("--migrations <folder>"), "{error}");
    }
    for arguments in [
        &["--database=postgres://u:secret@h/db"][..],
        &["--write=secret"],
        &["--postgres://u:secret@h/db"],
        &["postgres://u:secret@h/db"],
        &["print", "postgres://u:secret@h/db?a=b"],
        &["password=secret"],
        &["print", "--model", "postgres://u:secret@h/db"],
        &["print", "--model=password=secret"],
    ] {
        let error = run(arguments).await.expect_err("a mistake").to_string();
        assert!(error.contains("***") && !error.contains("secret"), "{error}");
    }
    let nobody = "postgres://me:secret@127.0.0.1:1/rides";
    let error = run(&["diff", "--database-url", nobody]).await.expect_err("no server").to_string();
    let expected = "PostgreSQL at postgres://***@127.0.0.1:1/rides cannot be asked";
    assert!(error.starts_with(expected), "{error}");
}
