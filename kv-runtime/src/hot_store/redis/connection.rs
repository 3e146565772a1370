//! A multiplexed connection that comes back by itself, and calls of scripts over it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
#[cfg(feature = "cache")]
use redis::Client;
use redis::aio::ConnectionManager;
use redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value};

use super::cluster::{Cluster, Node};
use super::script::Script;
use crate::redis::client;
use crate::redis::primary::Primary;
use crate::redis::sentinel::Sentinels;
use crate::settings::RedisSettings;

/// How many commands wait in a connection's own queue.
const PIPELINE_BUFFER: usize = 1_024;
/// How often a script is loaded for a call. Once is enough on one server; in a cluster the slot may
/// meanwhile be on a node that does not know it either.
const LOADS_MAX: usize = 3;

/// Opens connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    settings: RedisSettings,
    /// Where there are any, they say which server is connected to.
    sentinels: Option<Arc<Sentinels>>,
}

impl Connector {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let sentinels = Sentinels::of(settings)?;
        Ok(Self { settings: settings.clone(), sentinels })
    }

    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        self.connect_with(Some(self.settings.command_timeout)).await
    }

    /// A connection for commands that block: who asks over it says how long it waits.
    pub(super) async fn connect_to_block(&self) -> Result<Connection, RedisError> {
        self.connect_with(None).await
    }

    async fn connect_with(&self, timeout: Option<Duration>) -> Result<Connection, RedisError> {
        if let Some(sentinels) = &self.sentinels {
            let config = client::connection_config(&self.settings)
                .set_response_timeout(timeout)
                .set_pipeline_buffer_size(PIPELINE_BUFFER);
            return Primary::connect(sentinels, config).await.map(Connection::Primary);
        }
        let config = client::manager_config(&self.settings)
            .set_response_timeout(timeout)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        if self.settings.is_cluster() {
            return Cluster::connect(&self.settings, config).await.map(Connection::Cluster);
        }
        let client = client::client(&self.settings)?;
        ConnectionManager::new_with_config(client, config).await.map(Connection::Server)
    }
}

/// A connection. Clones share it, and any number of callers use it at once.
#[derive(Clone)]
pub(super) enum Connection {
    Server(ConnectionManager),
    /// To the server that sentinels call the primary.
    Primary(Primary),
    Cluster(Cluster),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends a command.
    pub(super) async fn send_one(&self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::Server(server) => server.clone().send_packed_command(command).await,
            Self::Primary(primary) => primary.send_one(command).await,
            Self::Cluster(cluster) => cluster.send_one(command).await,
        }
    }

    /// Sends commands in one round trip, in a cluster each to the node of its key; an error that a
    /// server answers to one of them is its answer.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Server(server) => {
                server.clone().send_packed_commands(pipeline, 0, pipeline.len()).await
            }
            Self::Primary(primary) => primary.send(pipeline, 0, pipeline.len()).await,
            Self::Cluster(cluster) => cluster.send(pipeline).await,
        }
    }

    /// Sends commands in one round trip and in order to the server that has this key.
    pub(super) async fn send_together(
        &self,
        pipeline: &Pipeline,
        key: &str,
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Server(_) | Self::Primary(_) => self.send(pipeline).await,
            Self::Cluster(cluster) => cluster.send_together(pipeline, key).await,
        }
    }

    /// Learns anew which server has which keys, where there are several: one of them hangs.
    pub(super) fn look_again(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.look_again();
        }
    }

    /// The servers that have keys.
    pub(super) fn servers(&self) -> Vec<Server<'_>> {
        match self {
            Self::Server(_) | Self::Primary(_) => vec![Server { connection: self, node: None }],
            Self::Cluster(cluster) => {
                let nodes = cluster.nodes().into_iter();
                nodes.map(|node| Server { connection: self, node: Some(node) }).collect()
            }
        }
    }

    /// The servers that have keys, as the cluster or the sentinels say now, to be connected to for what they push.
    #[cfg(feature = "cache")]
    pub(super) async fn places(&self) -> Result<Vec<Option<Node>>, RedisError> {
        match self {
            Self::Server(_) => Ok(vec![None]),
            Self::Primary(primary) => {
                let (host, port) = primary.present_place().await?;
                Ok(vec![Some(Node { host, port })])
            }
            Self::Cluster(cluster) => {
                Ok(cluster.present_nodes().await?.into_iter().map(Some).collect())
            }
        }
    }

    /// Opens a client of one of these.
    #[cfg(feature = "cache")]
    pub(super) fn open_pushing(
        &self,
        settings: &RedisSettings,
        place: Option<&Node>,
    ) -> Result<Client, RedisError> {
        let address = match (self, place) {
            (Self::Cluster(cluster), Some(node)) => cluster.address_of(node)?,
            (Self::Primary(primary), Some(node)) => primary.address_at(&node.host, node.port),
            _ => client::connection_info(settings, &settings.url)?,
        };
        client::open(settings, client::pushed_to(address))
    }

    /// Calls a script once for each command; an error that a server answers to one of them is its
    /// answer.
    ///
    /// A server that does not know the script has not run it: it is loaded and called again.
    pub(super) async fn call(
        &self,
        script: &'static Script,
        calls: Vec<Cmd>,
    ) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call);
        }
        let mut answers = self.send(&pipeline).await?;
        for _ in 0..LOADS_MAX {
            let unknown: Vec<usize> =
                (0..answers.len()).filter(|&at| is_unknown_script(&answers[at])).collect();
            if unknown.is_empty() {
                break;
            }
            let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
            let calls: Vec<&Cmd> = unknown.iter().map(|&at| commands[at]).collect();
            for (at, answer) in unknown.into_iter().zip(self.load_and_call(script, &calls).await?) {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    /// In one round trip, so that nobody can have the script forgotten in between.
    async fn load_and_call(
        &self,
        script: &'static Script,
        calls: &[&Cmd],
    ) -> Result<Vec<Value>, RedisError> {
        match self {
            Self::Server(_) | Self::Primary(_) => {
                let mut pipeline = Pipeline::with_capacity(calls.len() + 1);
                pipeline.add_command(script.load());
                for &call in calls {
                    pipeline.add_command(call.clone());
                }
                Ok(self.send(&pipeline).await?.into_iter().skip(1).collect())
            }
            Self::Cluster(cluster) => {
                let calls = calls.iter().map(|call| cluster.send_behind(script.load(), call));
                try_join_all(calls).await
            }
        }
    }
}

/// One of the servers that a connection leads to.
pub(super) struct Server<'a> {
    connection: &'a Connection,
    /// Which one, in a cluster.
    node: Option<Node>,
}

impl Server<'_> {
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        match (self.connection, &self.node) {
            (Connection::Cluster(cluster), Some(node)) => {
                let mut pipeline = Pipeline::with_capacity(1);
                pipeline.add_command(command.clone());
                let mut answers = cluster.send_to_node(&pipeline, node).await?;
                Ok(answers.pop().unwrap_or(Value::Nil))
            }
            (connection, _) => connection.send_one(command).await,
        }
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
