//! The services on one of the pairs of stores, for one test.

use std::ops::Deref;
use std::time::Duration;

use kv_runtime::testing::servers;
use kv_runtime::{DeadLetterFilter, Settings};
use kv_storage_backend::{Config, Services, StorageError, StorageMode};

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
        Self::of(StorageMode::Memory, Settings::in_memory()).await
    }

    pub(crate) async fn postgres_only() -> Self {
        let url = servers().create_database();
        Self::of(StorageMode::Postgres, Settings::postgres_only(url.as_str())).await
    }

    pub(crate) async fn redis_and_postgres() -> Self {
        Self::of(StorageMode::Redis, Self::settings()).await
    }

    /// Servers that all tests share, with a database and a tenant of the test's own.
    pub(crate) fn settings() -> Settings {
        let url = servers().create_database();
        let mut settings = Settings::new(servers().redis_url(), url.as_str());
        settings.tenant = url.rsplit('/').next().map(str::to_owned);
        settings
    }

    async fn of(mode: StorageMode, mut settings: Settings) -> Self {
        settings.partitions = 4;
        settings.drain.interval = Duration::from_millis(5);
        Self(Services::new(Config::new(mode, settings)).await.expect("the servers are up"))
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
