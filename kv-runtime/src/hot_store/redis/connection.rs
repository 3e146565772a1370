//! A multiplexed connection that comes back by itself, and calls of scripts over it.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, Pipeline, RedisError, ServerErrorKind, Value};

use super::script::Script;
use crate::settings::RedisSettings;

/// Opens connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    client: Client,
    config: ConnectionManagerConfig,
}

impl Connector {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.command_timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(1))
            .set_number_of_retries(2)
            .set_pipeline_buffer_size(1_024);
        Ok(Self { client: Client::open(settings.url.expose())?, config })
    }

    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        self.connect_as(self.config.clone()).await
    }

    /// A connection for commands that block: who asks over it says how long it waits.
    pub(super) async fn connect_to_block(&self) -> Result<Connection, RedisError> {
        self.connect_as(self.config.clone().set_response_timeout(None)).await
    }

    async fn connect_as(&self, config: ConnectionManagerConfig) -> Result<Connection, RedisError> {
        ConnectionManager::new_with_config(self.client.clone(), config).await.map(Connection)
    }
}

/// A connection. Clones share it, and any number of callers use it at once.
#[derive(Debug, Clone)]
pub(super) struct Connection(ConnectionManager);

impl Connection {
    /// Sends a command.
    pub(super) async fn send_one(&self, command: &Cmd) -> Result<Value, RedisError> {
        self.0.clone().send_packed_command(command).await
    }

    /// Sends commands in one round trip; an error of one of them is its answer.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        self.0.clone().send_packed_commands(pipeline, 0, pipeline.len()).await
    }

    /// Calls a script once for each command, in one round trip; an error of one of them is its
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
        let unknown: Vec<usize> =
            (0..answers.len()).filter(|&at| is_unknown_script(&answers[at])).collect();
        if unknown.is_empty() {
            return Ok(answers);
        }
        let mut again = Pipeline::with_capacity(unknown.len() + 1);
        again.add_command(script.load());
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        for &at in &unknown {
            again.add_command(commands[at].clone());
        }
        let loaded = self.send(&again).await?;
        for (at, answer) in unknown.into_iter().zip(loaded.into_iter().skip(1)) {
            answers[at] = answer;
        }
        Ok(answers)
    }
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}
