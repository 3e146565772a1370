//! A log that PostgreSQL itself keeps of what is done to the accounts.

use std::collections::BTreeMap;

use crate::pair::Pair;
use crate::writers::Ledger;

/// The log, and the trigger that writes it.
pub const TABLES: &str = "
    CREATE TABLE audit (
        number bigserial PRIMARY KEY, operation text NOT NULL, id bigint, revision bigint
    );
    CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO audit (operation, id, revision) SELECT TG_OP, changed.id, changed.revision
        FROM (SELECT (CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END).*) AS changed;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON accounts
    FOR EACH ROW EXECUTE FUNCTION note_change();
";

/// What the log says of one account so far.
#[derive(Debug, Default, Clone, Copy)]
struct Logged {
    is_there: bool,
    revision: i64,
}

/// Every write of an account has a greater revision than the one before, so a write that took
/// effect twice, or after a later one, shows as a revision that does not grow. Folding may leave
/// revisions out. Answers how many changes there were.
pub async fn check(pair: &Pair, ledger: &Ledger) -> usize {
    let sql = "SELECT concat_ws(' ', operation, id, revision) AS value FROM audit ORDER BY number";
    let changes: Vec<String> = pair.texts(sql).await.into_iter().flatten().collect();
    let mut accounts: BTreeMap<i64, Logged> = BTreeMap::new();
    for change in &changes {
        let mut words = change.split(' ');
        let operation = words.next().expect("an operation");
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        let (id, revision): (i64, i64) = (number(), number());
        let logged = accounts.entry(id).or_default();
        let is_next = match operation {
            "INSERT" => !logged.is_there && revision > logged.revision,
            "UPDATE" => logged.is_there && revision > logged.revision,
            "DELETE" => logged.is_there && revision == logged.revision,
            other => panic!("{other} is not of the trigger"),
        };
        assert!(is_next, "`{change}` after {logged:?}");
        *logged = Logged { is_there: operation != "DELETE", revision };
    }
    for (id, expected) in &ledger.rows {
        let logged = accounts.get(id).copied().unwrap_or_default();
        assert_eq!(logged.is_there, expected.is_some(), "account {id}: {logged:?}");
        if let Some(row) = expected {
            assert_eq!(logged.revision, row.revision, "account {id}");
        }
    }
    assert!(changes.len() <= ledger.writes, "more changes than writes");
    changes.len()
}
