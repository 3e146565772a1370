//! A multiplexed connection that comes back by itself, and calls of scripts over it.

use redis::aio::ConnectionManager;
use redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value};

use super::script::Script;

/// A connection. Clones share it, and any number of callers use it at once.
#[derive(Debug, Clone)]
pub(super) struct Connection(ConnectionManager);

impl Connection {
    pub(super) fn new(manager: ConnectionManager) -> Self {
        Self(manager)
    }

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
