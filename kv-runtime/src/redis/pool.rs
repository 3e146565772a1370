//! The connections of a handle, and what all its commands go through.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, RedisError, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::{At, Error, Family, is_unavailable};
use super::health::Health;
use super::link::{Connector, Link};
use crate::settings::RedisSettings;

/// Connections that are shared, and those that blocking callers have for themselves.
pub(super) struct Pool {
    shared: Vec<Link>,
    next: AtomicUsize,
    connector: Connector,
    /// Those of blocking callers that nobody uses now.
    resting: Mutex<Vec<Link>>,
    /// The library's own bound makes callers wait without an end.
    places: Semaphore,
    health: Health,
    settings: RedisSettings,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Pool {
    /// Connects, which proves that the address and the password are right.
    pub(super) async fn connect(settings: &RedisSettings) -> Result<Self, RedisError> {
        let connector = Connector::new(settings)?;
        let mut shared = Vec::with_capacity(settings.connections);
        for _ in 0..settings.connections {
            shared.push(connector.connect().await?);
        }
        Ok(Self {
            shared,
            next: AtomicUsize::new(0),
            connector,
            resting: Mutex::default(),
            places: Semaphore::new(settings.in_flight_max),
            health: Health::default(),
            settings: settings.clone(),
        })
    }

    pub(super) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// A shared connection, each time the next one.
    pub(super) fn link(&self) -> Link {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.shared[next % self.shared.len()].clone()
    }

    /// Does `work` over a shared connection when there is a place for it.
    pub(super) async fn run<T>(
        self: &Arc<Self>,
        at: At<'_>,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Error> {
        let _place = self.place(at).await?;
        work.await.map_err(|error| self.failed(at, error))
    }

    /// Sends a command that waits on the server for up to `wait`, over a connection of its own. One
    /// whose caller has gone away is closed, so that the server does not wait on.
    pub(super) async fn run_blocking(
        self: &Arc<Self>,
        at: At<'_>,
        command: &Cmd,
        wait: Duration,
    ) -> Result<Value, Error> {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut link = match resting {
            Some(link) => link,
            None => {
                let link = self.connector.connect_to_block().await;
                link.map_err(|error| self.failed(at, error))?
            }
        };
        let answer = command.query_async::<Value>(&mut link);
        let answer = match timeout(wait.saturating_add(self.settings.command_timeout), answer).await
        {
            Ok(answer) => answer,
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        };
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Err(error) if error.is_timeout() || is_unavailable(error) => resting.clear(),
            _ if resting.len() < self.settings.connections => resting.push(link),
            _ => {}
        }
        drop(resting);
        answer.map_err(|error| self.failed(at, error))
    }

    async fn place(&self, at: At<'_>) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        match timeout(self.settings.command_timeout, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => {
                let in_flight_max = self.settings.in_flight_max;
                Err(Error::Overloaded { call: at.call(), in_flight_max })
            }
        }
    }

    fn failed(self: &Arc<Self>, at: At<'_>, error: RedisError) -> Error {
        let error = at.failed(error);
        match error {
            // It may be the command that takes long, and not the server: whoever looks will see.
            Error::Timeout { .. } => {}
            Error::Unavailable { .. } => self.health.is_ill(&error),
            _ => return error,
        }
        if self.health.look_after() {
            tokio::spawn(look_for_redis(Arc::downgrade(self)));
        }
        error
    }

    /// Asks over all shared connections, which has those that are lost connected again.
    async fn ping(&self) -> Result<(), Error> {
        let at = At::new(Family::String, "ping", "PING");
        let pings = self.shared.iter().map(async |link| {
            let answer = redis::cmd("PING").query_async::<()>(&mut link.clone()).await;
            answer.map_err(|error| at.failed(error))
        });
        join_all(pings).await.into_iter().collect()
    }
}

/// Asks until Redis answers over all connections, so that an outage is one, whichever connections
/// the commands of that time went over.
async fn look_for_redis(pool: Weak<Pool>) {
    loop {
        let Some(pool) = pool.upgrade() else { return };
        match pool.ping().await {
            Err(error @ (Error::Timeout { .. } | Error::Unavailable { .. })) => {
                pool.health.is_ill(&error);
            }
            // Another refusal is an answer.
            _ => return pool.health.is_well(),
        }
        let delay_max = pool.settings.reconnect_delay_max;
        drop(pool);
        tokio::time::sleep(delay_max.mul_f64(fastrand::f64())).await;
    }
}
