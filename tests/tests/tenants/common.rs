//! Rows of tenants.

use kv_runtime::Kv;
use kv_tests::models::Account;

pub(crate) fn account(id: i64) -> Account {
    Account { id, revision: 1, note: None, active: true }
}

pub(crate) async fn create(kv: &Kv, id: i64) {
    let _ = kv.repository::<Account>().create(&account(id)).await.expect("a new row");
}

/// How many PostgreSQL has.
pub(crate) async fn rows(kv: &Kv) -> usize {
    kv.durable_rows::<Account>().await.expect("the rows").len()
}
