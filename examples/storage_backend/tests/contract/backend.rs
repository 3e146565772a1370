//! The services on one of the pairs of stores, for one test.

use kv_runtime::DeadLetterFilter;
use kv_storage_backend::{Services, StorageError, StorageMode};
use std::ops::Deref;

use super::setup::TestSetup;

/// Services that no other test sees.
pub(crate) struct Backend(Services);

impl Deref for Backend {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl Backend {
    pub(crate) async fn memory() -> Self {
        Self::of(StorageMode::Memory).await
    }

    pub(crate) async fn postgres_only() -> Self {
        Self::of(StorageMode::Postgres).await
    }

    pub(crate) async fn redis_and_postgres() -> Self {
        Self::of(StorageMode::Redis).await
    }

    async fn of(mode: StorageMode) -> Self {
        let services = TestSetup::new(mode).start().await;
        Self(services.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Waits until all is drained, and nothing of it was refused.
    pub(crate) async fn drained(&self) {
        self.flush().await.expect("everything can be drained");
        let letters = self.kv.dead_letters().list(&DeadLetterFilter::new().limit(1)).await;
        assert!(letters.as_ref().is_ok_and(Vec::is_empty), "{letters:?}");
    }

    /// Whether the tables refuse a write for what they have: at once, where it is they who
    /// acknowledge it, and else as a dead letter.
    pub(crate) async fn is_refused<T>(&self, written: Result<T, StorageError>) -> bool {
        match written {
            Err(error) => error.is_constraint_violation(),
            Ok(_) => {
                self.flush().await.expect("everything can be drained");
                let letters = self.kv.dead_letters().list(&DeadLetterFilter::new()).await;
                let is_of_constraint = |state: &String| state.starts_with("23");
                letters
                    .expect("an answer")
                    .iter()
                    .any(|letter| letter.sqlstate.as_ref().is_some_and(is_of_constraint))
            }
        }
    }
}

/// Makes a test of each function, over each of the pairs.
#[macro_export]
macro_rules! contract {
    ($($test:ident),* $(,)?) => {
        $crate::contract!(@ memory $($test)*);
        $crate::contract!(@ postgres_only $($test)*);
        $crate::contract!(@ redis_and_postgres $($test)*);
    };
    (@ $pair:ident $($test:ident)*) => {
        mod $pair {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($crate::contract::backend::Backend::$pair().await).await;
                }
            )*
        }
    };
}
