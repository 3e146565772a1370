//! What was written by hand and what has come of it are the same, and `docs/migrating.md` counts their
//! lines rightly.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use diesel_async::SimpleAsyncConnection;
use kv_storage_backend::before::{BspOperations, MockBsps, PostgresBsps, RepositoryError};
use kv_storage_backend::models::Bsp;
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use kv_storage_backend::values::Amount;
use kv_storage_backend::{Config, Page, Services, StorageMode, tables};

use super::backend::Backend;
use super::samples::{new_bsp, onchain_id, snapshot_of_a_bsp};
use super::setup::settings;

/// What was done and answered, without the times.
type Answers = Vec<Result<Vec<Bsp>, &'static str>>;

fn by_hand<T: IntoIterator<Item = Bsp>>(
    answer: Result<T, RepositoryError>,
) -> Result<Vec<Bsp>, &'static str> {
    match answer {
        Ok(rows) => Ok(without_times(rows)),
        Err(RepositoryError::NotFound) => Err("not found"),
        Err(RepositoryError::Duplicate) => Err("duplicate"),
        Err(error) => panic!("{error}"),
    }
}

fn derived<T: IntoIterator<Item = Bsp>>(
    answer: Result<T, kv_storage_backend::StorageError>,
) -> Result<Vec<Bsp>, &'static str> {
    match answer {
        Ok(rows) => Ok(without_times(rows)),
        Err(error) if error.is_not_found() => Err("not found"),
        Err(error) if error.is_duplicate() => Err("duplicate"),
        Err(error) => panic!("{error}"),
    }
}

fn without_times(rows: impl IntoIterator<Item = Bsp>) -> Vec<Bsp> {
    let one_time = chrono::DateTime::UNIX_EPOCH;
    let rows = rows.into_iter();
    // The ids that a process has not used of its block are nobody's: only their order is the same.
    rows.map(|row| Bsp { id: 0, created_at: one_time, updated_at: one_time, ..row }).collect()
}

async fn answers_by_hand(bsps: &dyn BspOperations) -> Answers {
    let first = bsps.create_bsp(new_bsp(1)).await;
    let id = first.as_ref().map(|bsp| bsp.id).expect("a new row");
    let mut answers =
        vec![by_hand(first.map(Some)), by_hand(bsps.create_bsp(new_bsp(2)).await.map(Some))];
    answers.push(by_hand(bsps.create_bsp(new_bsp(1)).await.map(Some)));
    answers.push(by_hand(bsps.set_bsp_capacity(id, Amount::from(5)).await.map(|()| None)));
    answers.push(by_hand(bsps.set_bsp_capacity(0, Amount::from(5)).await.map(|()| None)));
    answers.push(by_hand(bsps.get_bsp(id).await.map(Some)));
    answers.push(by_hand(bsps.get_bsp(0).await.map(Some)));
    answers.push(by_hand(bsps.find_bsp_by_onchain_id(&onchain_id(2)).await));
    answers.push(by_hand(bsps.find_bsp_by_onchain_id(&onchain_id(3)).await));
    answers.push(by_hand(bsps.list_bsps(Page::default()).await));
    answers.push(by_hand(bsps.list_bsps(Page::new(1, 1)).await));
    answers
}

async fn answers_derived(bsps: Arc<dyn WriteStorage>) -> Answers {
    let first = bsps.create_bsp(new_bsp(1), &[]).await;
    let id = first.as_ref().map(|bsp| bsp.id).expect("a new row");
    let mut answers = vec![derived(first.map(Some))];
    answers.push(derived(bsps.create_bsp(new_bsp(2), &[]).await.map(Some)));
    answers.push(derived(bsps.create_bsp(new_bsp(1), &[]).await.map(Some)));
    answers.push(derived(bsps.set_bsp_capacity(id, Amount::from(5)).await.map(|()| None)));
    answers.push(derived(bsps.set_bsp_capacity(0, Amount::from(5)).await.map(|()| None)));
    answers.push(derived(bsps.get_bsp(id).await.map(Some)));
    answers.push(derived(bsps.get_bsp(0).await.map(Some)));
    answers.push(derived(bsps.find_bsp_by_onchain_id(&onchain_id(2)).await));
    answers.push(derived(bsps.find_bsp_by_onchain_id(&onchain_id(3)).await));
    answers.push(derived(bsps.list_bsps(Page::default()).await));
    answers.push(derived(bsps.list_bsps(Page::new(1, 1)).await));
    answers
}

#[tokio::test]
async fn the_answers_are_those_of_before() {
    let expected = answers_by_hand(&MockBsps::default()).await;
    let written_by_hand = Backend::postgres_only().await;
    let bsps = PostgresBsps::new(written_by_hand.kv.clone());
    assert_eq!(answers_by_hand(&bsps).await, expected);
    for backend in [
        Backend::memory().await,
        Backend::postgres_only().await,
        Backend::redis_and_postgres().await,
    ] {
        assert_eq!(answers_derived(backend.db.clone()).await, expected);
    }
}

/// Half of the methods have moved: both halves are about the same rows.
#[tokio::test]
async fn methods_move_one_by_one() {
    let backend = Backend::postgres_only().await;
    let before = PostgresBsps::new(backend.kv.clone());
    let by_hand = before.create_bsp(new_bsp(1)).await.expect("a new row");
    let moved = backend.db.create_bsp(new_bsp(2), &[]).await.expect("a new row");
    assert_eq!(before.get_bsp(moved.id).await.expect("the row"), moved);
    assert_eq!(backend.db.get_bsp(by_hand.id).await.expect("the row"), by_hand);
    backend.db.set_bsp_capacity(by_hand.id, Amount::from(5)).await.expect("a row");
    let changed = before.get_bsp(by_hand.id).await.expect("the row");
    assert_eq!(changed.capacity, Amount::from(5));
    let again = backend.db.create_bsp(new_bsp(1), &[]).await.expect_err("it is there");
    assert!(again.is_duplicate(), "{again}");
    let again = before.create_bsp(new_bsp(2)).await.expect_err("it is there");
    assert!(matches!(again, RepositoryError::Duplicate), "{again}");
}

/// The guide's statement, on a table that the runtime has made.
#[tokio::test]
async fn a_conflict_by_hand_needs_an_index_that_cannot_be_deferred() {
    let settings = settings(StorageMode::Postgres).await;
    let url = settings.postgres.url.clone();
    let services = Services::new(Config::new(StorageMode::Postgres, settings)).await;
    let services = services.expect("the tables");
    let mut connection = services.kv.connection().await.expect("a connection");
    let insert = snapshot_of_a_bsp();
    let by_hand = |target: &str| insert.replace(';', &format!(" ON CONFLICT {target} DO NOTHING"));
    for target in ["(onchain_bsp_id)", ""] {
        let error = connection.batch_execute(&by_hand(target)).await.expect_err("as it is made");
        assert!(error.to_string().contains("does not support deferrable unique"), "{error}");
    }
    connection.batch_execute(&by_hand("(id)")).await.expect("an id is never deferred");
    let guide = text_of_the_guide();
    let start = guide.find("ALTER TABLE bsps DROP CONSTRAINT").expect("the statements");
    let replace = guide[start..].split("```").next().unwrap_or_default();
    connection.batch_execute(replace).await.expect("the constraint is there");
    for target in ["(onchain_bsp_id)", ""] {
        connection.batch_execute(&by_hand(target)).await.expect("it does nothing");
    }
    drop(connection);
    let lacking = tables::all().difference(&url).await.expect("a comparison");
    assert!(lacking.is_empty(), "{}", lacking.up());
    let again = services.db.create_bsp(new_bsp(1), &[]).await.expect_err("it is there");
    assert!(again.is_duplicate(), "{again}");
}

/// The lines of a text that are neither empty, nor a comment, nor an import.
fn count(text: &str) -> usize {
    let is_counted = |line: &&str| {
        !line.is_empty() && !["//", "use "].iter().any(|other| line.starts_with(other))
    };
    text.lines().map(str::trim).filter(is_counted).count()
}

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An item of a file, from where it begins to the brace that ends it.
fn item(file: &str, beginning: &str) -> String {
    let source = source(file);
    let start = source.find(beginning).unwrap_or_else(|| panic!("no `{beginning}` in {file}"));
    let line_start = source[..start].rfind('\n').map_or(0, |end| end + 1);
    let indentation = &source[line_start..start];
    let end = format!("\n{indentation}}}\n");
    let length = source[start..].find(&end).expect("it ends") + end.len();
    source[start..start + length].to_owned()
}

fn text_of_the_guide() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating.md");
    fs::read_to_string(guide).expect("the guide")
}

/// The rows of the guide's table: what it is about, the lines before, and those after.
fn counts_in_the_guide() -> Vec<(String, usize, usize)> {
    let guide = text_of_the_guide();
    let rows = guide.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
        let [name, .., before, after, ""] = cells[..] else { return None };
        Some((name.trim_matches('`').to_owned(), before.parse().ok()?, after.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn the_guide_counts_rightly() {
    let method = |name: &str, files: &[&str]| {
        let items = files.iter().map(|file| item(file, &format!("async fn {name}(")));
        items.map(|item| count(&item)).sum::<usize>()
    };
    let by_hand = ["before/postgres.rs", "before/mock.rs"];
    // The struct was there before, without attributes; those in front of it are two lines.
    let bsp = item("models/provider.rs", "pub struct Bsp {");
    let of_old = bsp.lines().filter(|line| !line.trim().starts_with("#[")).collect::<Vec<_>>();
    let rows_before = count(&source("before/rows.rs")) + count(&of_old.join("\n"));
    let mut expected = vec![("the row".to_owned(), rows_before, count(&bsp) + 2)];
    for (name, file) in [
        ("create_bsp", "storage/write.rs"),
        ("get_bsp", "storage/read.rs"),
        ("find_bsp_by_onchain_id", "storage/read.rs"),
        ("set_bsp_capacity", "storage/write.rs"),
        ("list_bsps", "storage/read.rs"),
    ] {
        expected.push((name.to_owned(), method(name, &by_hand), method(name, &[file])));
    }
    let sum = |of: fn(&(String, usize, usize)) -> usize| expected.iter().map(of).sum::<usize>();
    expected.push(("together".to_owned(), sum(|row| row.1), sum(|row| row.2)));
    assert_eq!(counts_in_the_guide(), expected);
}
