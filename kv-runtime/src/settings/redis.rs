//! The connections to Redis.

use std::time::Duration;

use super::ServerUrl;

/// The connections to Redis.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/database]`
    pub url: ServerUrl,
    /// Some nodes of a Redis Cluster, each in the form of `url`; any one that is up is enough to find
    /// the others. Where there are nodes, `url` is not looked at. Default none.
    pub cluster_nodes: Vec<ServerUrl>,
    /// How many multiplexed connections, to each node of a cluster. Each serves any number of
    /// callers. Default 2.
    pub connections: usize,
    /// How long a connection may take to come up. Default 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take. Default 2 s.
    pub command_timeout: Duration,
}

impl RedisSettings {
    /// The defaults, with this server.
    pub(super) fn new(url: ServerUrl) -> Self {
        Self {
            url,
            cluster_nodes: Vec::new(),
            connections: 2,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(2),
        }
    }

    /// Whether the servers are a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.cluster_nodes.is_empty()
    }

    /// The addresses that are connected to first, without their passwords.
    pub(crate) fn address(&self) -> String {
        let nodes: Vec<String> = self.cluster_nodes.iter().map(ServerUrl::to_string).collect();
        if nodes.is_empty() { self.url.to_string() } else { nodes.join(", ") }
    }
}
