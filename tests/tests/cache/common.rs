//! Caches, other processes that write, and a look at what is answered.

use std::time::Duration;

use kv_runtime::{CacheSettings, Cached, Kv, KvModel};
use kv_tests::models::Account;
use kv_tests::waiting::until;

/// Longer than any test takes: what is seen sooner was told.
pub(crate) const FOR_LONG: Duration = Duration::from_secs(3_600);

/// Room for everything.
pub(crate) const ROOM: u64 = 64 << 20;

/// A cache whose rows go when they are told to, or not at all.
pub(crate) fn cached<M: KvModel>(kv: &Kv) -> Cached<M> {
    kv.cached(CacheSettings::new(FOR_LONG, ROOM)).expect("valid settings")
}

/// The same when others' changes are told to it.
pub(crate) async fn told<M: KvModel>(kv: &Kv) -> Cached<M> {
    let cached = cached(kv);
    until("changes are told", async || cached.stats().is_told).await;
    cached
}

pub(crate) fn account(id: i64, note: &str) -> Account {
    Account { id, revision: 1, note: Some(note.to_owned()), active: true }
}

pub(crate) fn renamed(note: &str) -> <Account as KvModel>::Patch {
    Account::patch().note(note)
}

/// What a cache answers about an account, if it is there.
pub(crate) async fn note(accounts: &Cached<Account>, id: i64) -> Option<String> {
    accounts.find_by_id(&id).await.expect("an answer").and_then(|row| row.note.clone())
}

/// Waits until the cache answers that an account has this note.
pub(crate) async fn has_note(accounts: &Cached<Account>, id: i64, expected: &str) {
    until(expected, async || note(accounts, id).await.as_deref() == Some(expected)).await;
}

/// Waits until a row is held: what brought it into Redis was told, and it was read again.
pub(crate) async fn is_held(accounts: &Cached<Account>, id: i64) {
    until("the row is held", async || {
        let before = accounts.stats().hits;
        note(accounts, id).await;
        accounts.stats().hits > before
    })
    .await;
}
