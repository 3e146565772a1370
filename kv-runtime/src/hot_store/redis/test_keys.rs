//! What a test has in Redis, and leaves to nobody.

use std::time::Duration;

use redis::{Client, Cmd, ConnectionLike, Pipeline, RedisError};

use crate::redis::client;
use crate::redis::sentinel::Sentinels;
use crate::settings::RedisSettings;

/// How many keys a step looks at.
const SCANNED: usize = 1_000;

/// The keys that a test's prefix stands before. Dropped, they are removed.
#[derive(Debug)]
pub(super) struct TestKeys {
    /// One, that which sentinels name, or each node of a cluster that the settings name.
    servers: Vec<Client>,
    pattern: String,
    timeout: Duration,
}

impl TestKeys {
    pub(super) async fn new(settings: &RedisSettings, pattern: String) -> Result<Self, RedisError> {
        let timeout = settings.connect_timeout;
        if let Some(sentinels) = Sentinels::of(settings)? {
            let servers = vec![sentinels.client().await?];
            return Ok(Self { servers, pattern, timeout });
        }
        let urls = match settings.is_cluster() {
            true => settings.cluster_nodes.as_slice(),
            false => std::slice::from_ref(&settings.url),
        };
        let servers =
            urls.iter().map(|url| client::open(settings, client::connection_info(settings, url)?));
        let servers = servers.collect::<Result<_, _>>()?;
        Ok(Self { servers, pattern, timeout })
    }

    fn remove_from(&self, server: &Client) -> Result<(), RedisError> {
        // One of its own that blocks: this may be the end of the runtime.
        let mut connection = server.get_connection_with_timeout(self.timeout)?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.arg("COUNT").arg(SCANNED).query(&mut connection)?;
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                // One by one, because those of a cluster are of different slots.
                pipeline.cmd("UNLINK").arg(key);
            }
            // A replica has the keys as well, and leaves them to its master.
            connection.req_packed_commands(&pipeline.get_packed_pipeline(), 0, pipeline.len())?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Drop for TestKeys {
    fn drop(&mut self) {
        for server in &self.servers {
            if let Err(error) = self.remove_from(server) {
                let pattern = &self.pattern;
                tracing::warn!(%error, pattern, "what a test has left stays in Redis");
            }
        }
    }
}
