//! A connection, to one server or to a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, Pipeline, RedisError, RedisFuture, Value};

use super::client;
use super::primary::Primary;
use super::sentinel::Sentinels;
use crate::settings::RedisSettings;

/// A connection to a cluster cannot be told to wait for ever.
const UNLIMITED: Duration = Duration::from_secs(365 * 86_400);

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) enum Link {
    /// To one server, which comes back by itself.
    Managed(ConnectionManager),
    /// To the server that sentinels call the primary.
    Primary(Primary),
    /// To one server, for a caller that blocks.
    Blocking(MultiplexedConnection),
    /// To all nodes of a cluster.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Managed(connection) => connection.req_packed_command(command),
            Self::Primary(connection) => connection.req_packed_command(command),
            Self::Blocking(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Managed(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Primary(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Blocking(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Managed(connection) => connection.get_db(),
            Self::Primary(connection) => connection.get_db(),
            Self::Blocking(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Opens connections.
pub(super) struct Connector {
    client: AnyClient,
    settings: RedisSettings,
}

enum AnyClient {
    Single(Box<Client>),
    Sentinels(Arc<Sentinels>),
    Cluster(Box<ClusterClient>),
}

impl Connector {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let client = if settings.is_cluster() {
            AnyClient::Cluster(Box::new(client::cluster(settings)?.build()?))
        } else if let Some(sentinels) = Sentinels::of(settings)? {
            AnyClient::Sentinels(sentinels)
        } else {
            AnyClient::Single(Box::new(client::client(settings)?))
        };
        Ok(Self { client, settings: settings.clone() })
    }

    /// One that any number of callers use at once.
    pub(super) async fn connect(&self) -> Result<Link, RedisError> {
        match &self.client {
            AnyClient::Single(client) => {
                // All that may be on its way has room, so that nobody waits who is let through.
                let config = client::manager_config(&self.settings)
                    .set_pipeline_buffer_size(self.settings.in_flight_max);
                let manager = ConnectionManager::new_with_config(Client::clone(client), config);
                manager.await.map(Link::Managed)
            }
            AnyClient::Sentinels(sentinels) => {
                let config = client::connection_config(&self.settings)
                    .set_pipeline_buffer_size(self.settings.in_flight_max);
                Primary::connect(sentinels, config).await.map(Link::Primary)
            }
            AnyClient::Cluster(client) => client.get_async_connection().await.map(Link::Cluster),
        }
    }

    /// One for a caller that blocks, and says itself how long it waits.
    pub(super) async fn connect_to_block(&self) -> Result<Link, RedisError> {
        let config = client::connection_config(&self.settings).set_response_timeout(None);
        match &self.client {
            AnyClient::Single(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                connection.await.map(Link::Blocking)
            }
            AnyClient::Sentinels(sentinels) => {
                let connected = sentinels.connect(&config).await;
                connected.map(|(_, connection)| Link::Blocking(connection))
            }
            AnyClient::Cluster(client) => {
                let config = ClusterConfig::new()
                    .set_connection_timeout(self.settings.connect_timeout)
                    .set_response_timeout(UNLIMITED);
                let connection = client.get_async_connection_with_config(config);
                connection.await.map(Link::Cluster)
            }
        }
    }
}
