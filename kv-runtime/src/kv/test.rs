//! A pair of servers for one test, which leaves nothing on them.

use std::sync::Arc;

use super::connect::both;
use super::{ConnectError, Kv};
use crate::checks;
use crate::durable_store::postgres::PostgresDurableStore;
use crate::hot_store::redis::RedisHotStore;
use crate::key::KeySpace;
use crate::settings::Settings;

impl Kv {
    /// Redis and PostgreSQL for one test, which leaves nothing on them: any number of tests share a
    /// Redis and a database that has the models' tables, at the same time, and none sees another.
    ///
    /// ```no_run
    /// # use kv_runtime::{Kv, KvModel, Settings};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # #[kv(table = "bookings")]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// #[tokio::test]
    /// async fn a_booking_is_drained() -> Result<(), Box<dyn std::error::Error>> {
    ///     let kv = Kv::test(Settings::from_env()?).await?;
    ///     let bookings = kv.repository::<Booking>();
    ///     bookings.create(&Booking { id: 7, status: "new".into() }).await?;
    ///     kv.drainer().model::<Booking>().spawn().shutdown().await?;
    ///     assert_eq!(kv.durable_rows::<Booking>().await?.len(), 1);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// **PostgreSQL.** All goes over one connection, in one transaction: the first call that needs
    /// PostgreSQL begins it, and it is never committed. It is rolled back, and the test's keys are
    /// removed from Redis, when the last clone, repository and drainer of this pair is gone; in a
    /// `#[tokio::test]` that is its end, also by a panic. The runtime's own tables are made within
    /// the transaction, so there is nothing to migrate; the right to create a schema in the database
    /// is needed. A drainer's transactions and those of [`Kv::connection`] are save points. A
    /// statement that fails is undone, with what its connection has done since it was taken, and the
    /// next call goes on.
    ///
    /// **Redis.** A tenant of its own, behind [`Settings::tenant`]; also for [`Kv::redis`].
    ///
    /// What differs from servers that are used for good: `now()` stands still, constraints that are
    /// deferred are never looked at, sequences go on, and who needs PostgreSQL waits for whoever
    /// has the connection; so let one of [`Kv::connection`] go before the next call. Two tests that
    /// write the same unique value wait for each other, as uncommitted writers do: take ids and
    /// values that are new. There are no replicas.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn test(mut settings: Settings) -> Result<Self, ConnectError> {
        // Nobody would use them, and they would see nothing.
        settings.postgres.min_idle = 0;
        settings.postgres.replicas.clear();
        settings.check()?;
        let name = format!("test-{:016x}", fastrand::u64(..));
        let tenant = settings.tenant.as_ref().map(|tenant| format!("{tenant}-{name}"));
        settings.tenant = Some(tenant.unwrap_or(name));
        let keys = KeySpace::of(&settings);
        let durable = PostgresDurableStore::for_test(&settings)?;
        let (hot, tried_out) = tokio::join!(
            RedisHotStore::connect_for_test(&settings, keys.clone()),
            durable.try_out()
        );
        let hot = both(hot, tried_out, &settings)?;
        let mut kv = Self::new(Arc::new(hot), Arc::new(durable), keys, settings);
        kv.redis = Some(Arc::default());
        checks::check_servers(&kv.stores).await?;
        Ok(kv)
    }
}
