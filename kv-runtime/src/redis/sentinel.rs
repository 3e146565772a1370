//! The primary that sentinels name, and connections to it.
//!
//! A connection of the client library comes back to the server that it was made to, which may be a
//! replica by then, or a former primary that was not told yet. So here each connection is made by
//! asking the sentinels anew, and only a server that calls itself the primary is taken.

use std::sync::Arc;
use std::{fmt, io};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, RedisError, Value, from_redis_value,
};
use tokio::sync::watch;

use super::client;
use crate::settings::RedisSettings;

/// The sentinels of a service.
pub(crate) struct Sentinels {
    service: String,
    sentinels: Vec<Client>,
    /// Of all that the address of the primary says, only the place is another one.
    primary: ConnectionInfo,
    settings: RedisSettings,
    /// Where it was found last, so that whoever still waits for another server hears of it.
    found: watch::Sender<Option<Place>>,
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("service", &self.service).finish_non_exhaustive()
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Sentinels {
    /// The sentinels that the settings name, if any.
    pub(crate) fn of(settings: &RedisSettings) -> Result<Option<Arc<Self>>, RedisError> {
        if !settings.has_sentinels() {
            return Ok(None);
        }
        let primary = client::connection_info(settings, &settings.url)?;
        Self::new(settings, primary).map(Some)
    }

    /// The same for servers of which `primary` is an address, at any place.
    pub(super) fn new(
        settings: &RedisSettings,
        primary: ConnectionInfo,
    ) -> Result<Arc<Self>, RedisError> {
        let mut sentinels = Vec::with_capacity(settings.sentinel_nodes.len());
        for url in &settings.sentinel_nodes {
            sentinels.push(client::open(settings, client::sentinel_info(settings, url)?)?);
        }
        Ok(Arc::new(Self {
            service: settings.sentinel_service.clone().unwrap_or_default(),
            sentinels,
            primary,
            settings: settings.clone(),
            found: watch::Sender::default(),
        }))
    }

    pub(super) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    pub(super) fn database(&self) -> i64 {
        self.primary.redis_settings().db()
    }

    /// A client of the server that the sentinels call the primary.
    #[cfg(feature = "testing")]
    pub(crate) async fn client(&self) -> Result<Client, RedisError> {
        self.client_of(&self.locate().await?)
    }

    /// Connects to the primary.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<(Place, MultiplexedConnection), RedisError> {
        let place = self.locate().await?;
        let client = self.client_of(&place)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        // A sentinel that was cut off from the others knows no better.
        let question = redis::cmd("ROLE");
        let asked = question.query_async::<Vec<Value>>(&mut connection);
        // A connection for blocking commands waits for ever by itself.
        let role = tokio::time::timeout(self.settings.command_timeout, asked).await;
        let role =
            role.map_err(|_| RedisError::from(io::Error::from(io::ErrorKind::TimedOut)))??;
        let role = role.into_iter().next().unwrap_or(Value::Nil);
        if from_redis_value::<String>(role)? != "master" {
            let Place { host, port } = place;
            return Err(refused(format!(
                "the sentinels name {host}:{port} as the primary, which is a replica"
            )));
        }
        self.found.send_if_modified(|found| {
            let is_news = found.as_ref() != Some(&place);
            found.replace(place.clone());
            is_news
        });
        Ok((place, connection))
    }

    /// Where the primary is, as the sentinel says that answers first.
    pub(super) async fn locate(&self) -> Result<Place, RedisError> {
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| self.ask(sentinel)).collect();
        let mut failure = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(Some(place)) => return Ok(place),
                // That one of them knows no such service says more than that another one is down.
                Ok(None) => failure = Some(self.unknown_service()),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        Err(match failure {
            Some(error) if error.is_io_error() => refused(format!("no sentinel answers: {error}")),
            Some(error) => error,
            None => refused("there is no sentinel to ask".to_owned()),
        })
    }

    async fn ask(&self, sentinel: &Client) -> Result<Option<Place>, RedisError> {
        let config = client::connection_config(&self.settings);
        let mut connection = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.service);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
        Ok(answer.map(|(host, port)| Place { host, port }))
    }

    /// Whether the primary was found last at another place.
    pub(super) fn is_elsewhere(&self, place: &Place) -> bool {
        self.found.borrow().as_ref().is_some_and(|found| found != place)
    }

    /// Waits until it is.
    pub(super) async fn found_elsewhere(&self, place: &Place) {
        let mut found = self.found.subscribe();
        let elsewhere = found.wait_for(|found| found.as_ref().is_some_and(|found| found != place));
        // It ends with the sentinels only, which are borrowed here.
        let _ = elsewhere.await;
    }

    fn client_of(&self, place: &Place) -> Result<Client, RedisError> {
        client::open(&self.settings, self.address_at(&place.host, place.port))
    }

    pub(super) fn address_at(&self, host: &str, port: u16) -> ConnectionInfo {
        let address = client::moved_to(self.primary.addr(), host, port);
        self.primary.clone().set_addr(address)
    }

    fn unknown_service(&self) -> RedisError {
        let service = format!("`{}`", self.service);
        let problem = "no sentinel knows the service that `redis.sentinel_service` names";
        (ErrorKind::MasterNameNotFoundBySentinel, problem, service).into()
    }
}

/// Nothing was sent to a primary, so that a write is known not to be made.
pub(super) fn refused(problem: String) -> RedisError {
    io::Error::new(io::ErrorKind::ConnectionRefused, problem).into()
}
