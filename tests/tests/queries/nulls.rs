//! NULL, collations and orders are PostgreSQL's own, with half of the rows dirty as with none.

use std::fmt::Debug;

use kv_runtime::{KvModel, Query, Repository};
use kv_tests::pair::Pair;

use super::samples::Mood;

/// A collation that is not the database's, where this PostgreSQL has one; and an enum, whose order
/// is that of its declaration.
const TABLE: &str = r#"
CREATE TYPE sample_mood AS ENUM ('happy', 'so-so', 'angry');
DO $$
DECLARE other text := coalesce(
    (SELECT quote_ident(collname) FROM pg_collation WHERE collname = 'en-x-icu' LIMIT 1),
    'pg_catalog."default"'
);
BEGIN
    EXECUTE format(
        'CREATE TABLE words (
            id bigint PRIMARY KEY,
            word text COLLATE %s NOT NULL,
            maybe varchar(20),
            mood sample_mood,
            number numeric(6, 2)
        )',
        other
    );
END $$"#;

#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "words")]
struct Word {
    #[kv(id, fresh)]
    id: i64,
    word: String,
    maybe: Option<String>,
    mood: Option<Mood>,
    number: Option<rust_decimal::Decimal>,
}

const TEXTS: [&str; 10] = ["b", "B", "a", "A", "ä", "z", "Z", "", "a b", "a-b"];

fn word(id: i64) -> Word {
    let text = |at: i64| TEXTS[usize::try_from(at).expect("a place") % TEXTS.len()].to_owned();
    let moods = [None, Some(Mood::Angry), Some(Mood::SoSo), Some(Mood::Happy)];
    Word {
        id,
        word: text(id * 7),
        maybe: (id % 3 > 0).then(|| text(id * 3)),
        mood: moods[usize::try_from(id % 4).expect("a place")],
        number: (id % 5 > 0).then(|| (id % 5).into()),
    }
}

type Words = Repository<Word>;

/// All answers, of which each depends on NULLs, collations or orders.
async fn answers(words: &Words, query: impl Fn(&Words) -> Query<Word>) -> Vec<String> {
    async fn ids(query: Query<Word>) -> String {
        shown(query.load().await.expect("rows").iter().map(|row| row.id).collect::<Vec<_>>())
    }
    let query = || query(words);
    let mut answers = vec![
        ids(query().order_by(|w| w.word.asc())).await,
        ids(query().order_by(|w| w.word.desc()).limit(7).offset(3)).await,
        ids(query().order_by(|w| w.maybe.asc()).order_by(|w| w.word.desc())).await,
        ids(query().order_by(|w| w.maybe.desc())).await,
        ids(query().order_by(|w| w.mood.asc()).order_by(|w| w.number.desc())).await,
        ids(query().filter(|w| w.word.lt("b".to_owned()))).await,
        ids(query().filter(|w| w.word.between("A".to_owned(), "ä".to_owned()))).await,
        ids(query().filter(|w| w.maybe.ge("a".to_owned()))).await,
        ids(query().filter(|w| !w.maybe.is_in(["a".to_owned(), "z".to_owned()]))).await,
        ids(query().filter(|w| w.mood.lt(Mood::Angry).or(w.number.is_null()))).await,
        ids(query().filter(|w| w.word.ilike("Ä%").or(w.word.like("_-%")))).await,
        shown(query().min(|w| w.word).await),
        shown(query().max(|w| w.word).await),
        shown(query().max(|w| w.mood).await),
        shown(query().group_by(|w| w.maybe).count().await),
        shown(query().group_by(|w| (w.mood, w.word)).count().await),
        shown(query().group_by(|w| w.number).max(|w| w.maybe).await),
    ];
    let page = query().order_by(|w| w.word.asc()).limit(9).page().await.expect("a page");
    let rest = query().order_by(|w| w.word.asc()).after(page.next.expect("another page"));
    answers.push(ids(rest).await);
    answers
}

fn shown(value: impl Debug) -> String {
    format!("{value:?}")
}

#[tokio::test]
async fn half_of_the_rows_being_dirty_changes_no_answer() {
    let pair = Pair::servers().await;
    pair.sql(TABLE).await;
    let words = pair.kv.repository::<Word>();
    let drain = async || {
        let drainer = pair.kv.drainer().model::<Word>().spawn();
        let _ = drainer.shutdown().await.expect("everything can be drained");
    };
    for id in 0..40 {
        // What is dirty later is something else now.
        let row = if id % 2 == 0 { word(id) } else { Word { id, ..word(id + 1) } };
        let _ = words.create(&row).await.expect("a new row");
    }
    drain().await;
    for id in (1..40).step_by(2) {
        let _ = words.upsert(&word(id)).await.expect("a row");
    }
    let half_dirty = answers(&words, |words| words.query()).await;
    drain().await;
    let drained = answers(&words, |words| words.query()).await;
    for (at, (half_dirty, drained)) in half_dirty.iter().zip(&drained).enumerate() {
        assert_eq!(half_dirty, drained, "answer {at}");
    }
    // Else all of it would show nothing.
    assert!(drained.iter().all(|answer| answer.len() > 4), "{drained:?}");
}
