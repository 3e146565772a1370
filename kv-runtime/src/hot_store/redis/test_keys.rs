//! What a test has in Redis, and leaves to nobody.

use std::time::Duration;

use redis::{Client, Cmd, RedisError};

use crate::settings::RedisSettings;

/// How many keys a step looks at.
const SCANNED: usize = 1_000;

/// The keys that a test's prefix stands before. Dropped, they are removed.
#[derive(Debug)]
pub(super) struct TestKeys {
    client: Client,
    pattern: String,
    timeout: Duration,
}

impl TestKeys {
    pub(super) fn new(settings: &RedisSettings, pattern: String) -> Result<Self, RedisError> {
        let client = Client::open(settings.url.expose())?;
        Ok(Self { client, pattern, timeout: settings.connect_timeout })
    }

    fn remove(&self) -> Result<(), RedisError> {
        // One of its own that blocks: this may be the end of the runtime.
        let mut connection = self.client.get_connection_with_timeout(self.timeout)?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = Cmd::new();
            scan.arg("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.arg("COUNT").arg(SCANNED).query(&mut connection)?;
            if !keys.is_empty() {
                Cmd::new().arg("UNLINK").arg(keys).exec(&mut connection)?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Drop for TestKeys {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(%error, pattern = self.pattern, "what a test has left stays in Redis");
        }
    }
}
