//! `#[kv(version)]`: every write raises it, and a stale writer is told so.

use std::sync::Arc;
use std::time::Duration;

use kv_runtime::{Drainer, Error, KvModel, Repository, UpdateIfError};
use kv_tests::contract;
use kv_tests::pair::{After, Pair};
use tokio::task::JoinSet;

contract!(
    under direct schemes:
    every_write_raises_the_version,
    a_stale_writer_gets_the_current_row,
    no_version_comes_twice,
);

mod queued {
    use super::*;
    contract!(
        rows_that_are_written_at_once_have_the_versions_of_their_receipts,
        a_version_that_was_set_by_hand_is_one,
        a_conflict_is_an_error_like_others,
    );
}

mod at_once {
    use super::*;
    contract!(in parallel: of_writers_at_once_none_is_lost);
}

/// A model whose version stands between other fields.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "documents")]
struct Document {
    #[kv(id, fresh)]
    id: i64,
    title: Option<String>,
    #[kv(version, rename = "v", column = "row_version")]
    version: i64,
    pages: i32,
}

const TABLE: &str = "CREATE TABLE documents (id bigint PRIMARY KEY, title text, \
     row_version bigint NOT NULL, pages integer NOT NULL)";

/// Of writers at once: how many there are, and how often each writes.
const WRITERS: i32 = 8;
const WRITES: i32 = 25;

async fn documents(pair: &Pair) -> Repository<Document> {
    pair.sql(TABLE).await;
    pair.kv.repository()
}

fn drainer(pair: &Pair) -> Drainer {
    pair.drainer().model::<Document>().spawn()
}

async fn bring(pair: &Pair, rows: &Repository<Document>, after: After) {
    if after != After::Write {
        drainer(pair).shutdown().await.expect("everything can be drained");
    }
    if after == After::Eviction {
        rows.invalidate(&1).await.expect("a clean row");
    }
}

/// What the field says is not what is stored.
fn document() -> Document {
    Document { id: 1, title: Some("Notes".to_owned()), version: -5, pages: 1 }
}

async fn every_write_raises_the_version(pair: Pair) {
    let documents = documents(&pair).await;
    for after in After::ALL {
        let mut versions = Vec::new();
        for step in 0..5 {
            let written = match step {
                0 => documents.create(&document()).await,
                1 => documents.update(&1, Document::patch().title(None)).await,
                2 => documents.update(&1, Document::patch()).await,
                3 => documents.upsert(&document()).await,
                _ => documents.delete(&1).await,
            };
            versions.push(written.expect("it is written").version);
            if step < 4 {
                let version = versions[step];
                let row = documents.get_by_id(&1).await.expect("the row");
                assert_eq!(row.version, version, "step {step}, {after:?}");
                bring(&pair, &documents, after).await;
                let row = documents.get_by_id(&1).await.expect("the row");
                let title = (step != 1 && step != 2).then(|| "Notes".to_owned());
                assert_eq!(row, Document { version, title, ..document() }, "{step}, {after:?}");
            }
        }
        assert!(versions.is_sorted_by(|earlier, later| earlier < later), "{versions:?}");
    }
    drainer(&pair).shutdown().await.expect("everything can be drained");
    assert!(pair.kv.durable_rows::<Document>().await.expect("the rows").is_empty());
}

async fn a_stale_writer_gets_the_current_row(pair: Pair) {
    let documents = documents(&pair).await;
    let _ = documents.create(&document()).await.expect("a new row");
    for after in After::ALL {
        bring(&pair, &documents, after).await;
        let read = documents.get_by_id(&1).await.expect("the row");
        bring(&pair, &documents, after).await;
        let patch = Document::patch().pages(read.pages + 1);
        let done = documents.update_if(&1, read.version, patch.clone()).await.expect("not stale");
        assert!(done.version > read.version);
        let current = Document { version: done.version, pages: read.pages + 1, ..read };
        bring(&pair, &documents, after).await;
        let stale = documents.update_if(&1, read.version, patch).await.expect_err("stale");
        assert_eq!(stale.into_current().expect("a conflict"), current, "{after:?}");
        assert_eq!(documents.get_by_id(&1).await.expect("the row"), current, "{after:?}");
    }
    let queued = drainer(&pair).shutdown().await.expect("everything can be drained");
    assert_eq!(queued.dead_letters, 0, "a stale write leaves no entry");
    let rows = pair.kv.durable_rows::<Document>().await.expect("the rows");
    assert_eq!(rows[0].pages, 4);
}

async fn no_version_comes_twice(pair: Pair) {
    let documents = documents(&pair).await;
    let first = documents.create(&document()).await.expect("a new row").version;
    let patch = || Document::patch().pages(9);
    for after in After::ALL {
        bring(&pair, &documents, after).await;
        let _ = documents.delete(&1).await.expect("a row");
        let gone = documents.update_if(&1, first, patch()).await.expect_err("no row");
        assert!(matches!(gone, UpdateIfError::Other(Error::NotFound { .. })), "{gone:?}");
        // Nothing is left of it in Redis.
        drainer(&pair).shutdown().await.expect("everything can be drained");
        let gone = documents.update_if(&1, first, patch()).await.expect_err("no row");
        assert!(matches!(gone, UpdateIfError::Other(Error::NotFound { .. })), "{gone:?}");
        let again = Document { version: first, ..document() };
        let _ = documents.create(&again).await.expect("a new row");
        bring(&pair, &documents, after).await;
        let stale = documents.update_if(&1, first, patch()).await.expect_err("stale");
        assert_eq!(stale.into_current().expect("a conflict").pages, 1, "{after:?}");
    }
}

/// Their entries differ in the sequence alone, where they are of the same millisecond.
async fn rows_that_are_written_at_once_have_the_versions_of_their_receipts(pair: Pair) {
    let pair = pair.with(|settings| settings.partitions = 1).await;
    let documents = documents(&pair).await;
    let ids: Vec<i64> = (0..200).collect();
    let rows: Vec<Document> = ids.iter().map(|&id| Document { id, ..document() }).collect();
    let receipts = documents.create_many(&rows).await.into_iter();
    let versions: Vec<i64> = receipts.map(|done| done.expect("a new row").version).collect();
    let of = |row: Option<Document>| row.expect("the row").version;
    for drained in [false, true] {
        if drained {
            bring(&pair, &documents, After::Eviction).await;
            let mut stored = pair.kv.durable_rows::<Document>().await.expect("the rows");
            stored.sort_by_key(|row| row.id);
            assert_eq!(stored.iter().map(|row| row.version).collect::<Vec<_>>(), versions);
        }
        let read = documents.get_many(&ids).await.expect("the rows");
        assert_eq!(read.into_iter().map(of).collect::<Vec<_>>(), versions);
    }
    assert!(versions.is_sorted_by(|earlier, later| earlier < later), "{versions:?}");
    assert!(versions.iter().any(|version| version % (1 << 20) > 0), "each its own millisecond");
}

/// Rows that were there before the model had a version have any number for one.
async fn a_version_that_was_set_by_hand_is_one(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let documents = documents(&pair).await;
    pair.sql("INSERT INTO documents VALUES (1, NULL, 1, 1), (2, NULL, -9223372036854775808, 1)")
        .await;
    for (id, version) in [(1, 1), (2, i64::MIN)] {
        let patch = || Document::patch().pages(2);
        let stale = documents.update_if(&id, version + 1, patch()).await.expect_err("stale");
        assert_eq!(stale.into_current().expect("a conflict").version, version);
        let _ = documents.update_if(&id, version, patch()).await.expect("not stale");
        let _ = documents.update_if(&id, version, patch()).await.expect_err("stale");
    }
}

async fn a_conflict_is_an_error_like_others(pair: Pair) {
    let documents = documents(&pair).await;
    let _ = documents.create(&document()).await.expect("a new row");
    let conflict = documents.update_if(&1, 0, Document::patch()).await.expect_err("stale");
    let message = conflict.to_string();
    assert_eq!(
        message,
        "Document.update_if: the row with id `1` has another version than was expected; \
         read it and decide again"
    );
    assert!(!format!("{conflict:?}").contains("Notes"), "no value of the row is in a log");
    let error = Error::from(conflict);
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(error.to_string(), message);
}

/// All of them read, add a page and write, and begin again where they were stale; meanwhile the
/// row is drained and evicted.
async fn of_writers_at_once_none_is_lost(pair: Pair) {
    let documents = documents(&pair).await;
    let _ = documents.create(&Document { pages: 0, ..document() }).await.expect("a new row");
    let drainer = drainer(&pair);
    let evictor = tokio::spawn({
        let documents = documents.clone();
        async move {
            loop {
                // Left alone where it is dirty.
                let _ = documents.invalidate(&1).await;
                tokio::time::sleep(Duration::from_micros(fastrand::u64(0..2_000))).await;
            }
        }
    });
    let documents = Arc::new(documents);
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let documents = Arc::clone(&documents);
        writers.spawn(async move {
            let mut row = documents.get_by_id(&1).await.expect("the row");
            for _ in 0..WRITES {
                row = add_page(&documents, row).await;
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("every page is added");
    }
    evictor.abort();
    drainer.shutdown().await.expect("everything can be drained");
    let rows = pair.kv.durable_rows::<Document>().await.expect("the rows");
    assert_eq!(rows[0].pages, WRITERS * WRITES);
    assert_eq!(documents.get_by_id(&1).await.expect("the row"), rows[0]);
}

async fn add_page(documents: &Repository<Document>, mut row: Document) -> Document {
    loop {
        let pages = row.pages + 1;
        match documents.update_if(&1, row.version, Document::patch().pages(pages)).await {
            Ok(receipt) => return Document { pages, version: receipt.version, ..row },
            Err(UpdateIfError::Conflict { current, .. }) => row = *current,
            // The evictor can be faster again and again.
            Err(UpdateIfError::Other(Error::Conflict { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
