//! The hot side on a Redis server.

mod reply;
mod script;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, Pipeline, RedisError, ServerErrorKind, Value};

use self::script::{FILL, INVALIDATE, RESERVE, SETTLE, Script, WRITE};
use super::{
    Fill, HotStore, HotStoreError, Invalidated, PartitionState, ReadOutcome, ReadRequest,
    Settlement, Write, WriteOutcome,
};
use crate::entry::RawEntry;
use crate::key::{KeySpace, Partition, RowKey};
use crate::settings::Settings;

/// How long a reader may take from its miss to its fill.
const TOKEN_TTL: Duration = Duration::from_secs(10);
/// Rows of one script call: long calls would hold up everyone else.
const SETTLED_ROWS_MAX: usize = 500;
/// The waits before the retries of a write whose answer was lost.
const WRITE_RETRIES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_millis(800)];

/// Rows, queues and their state on a Redis server.
#[derive(Debug)]
pub(crate) struct RedisHotStore {
    connections: Vec<ConnectionManager>,
    keys: KeySpace,
    partition_capacity: u64,
}

impl RedisHotStore {
    /// Connects, which proves that the address and the password are right.
    pub(crate) async fn connect(
        settings: &Settings,
        keys: KeySpace,
    ) -> Result<Self, HotStoreError> {
        let client = redis::Client::open(settings.redis.url.expose())
            .map_err(|error| HotStoreError::Configuration(Box::new(error)))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(settings.redis.connect_timeout))
            .set_response_timeout(Some(settings.redis.command_timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(1))
            .set_number_of_retries(2)
            .set_pipeline_buffer_size(1_024);
        let mut connections = Vec::with_capacity(settings.redis.connections);
        for _ in 0..settings.redis.connections {
            let connection = ConnectionManager::new_with_config(client.clone(), config.clone());
            connections.push(connection.await.map_err(classify)?);
        }
        Ok(Self { connections, keys, partition_capacity: settings.partition_capacity() })
    }

    /// One connection a partition, so that a retry cannot overtake the first try.
    fn connection(&self, partition: u16) -> ConnectionManager {
        self.connections[usize::from(partition) % self.connections.len()].clone()
    }

    /// Calls a script for each of some commands, in one round trip.
    ///
    /// A server that does not know the script has not run it: it is loaded and called again.
    async fn call(
        &self,
        mut connection: ConnectionManager,
        script: &'static Script,
        calls: Vec<Cmd>,
    ) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call);
        }
        let mut answers = send(&mut connection, &pipeline).await?;
        let unknown: Vec<usize> =
            (0..answers.len()).filter(|&at| is_unknown_script(&answers[at])).collect();
        if !unknown.is_empty() {
            let mut again = Pipeline::with_capacity(unknown.len() + 1);
            again.add_command(script.load());
            let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
            for &at in &unknown {
                again.add_command(commands[at].clone());
            }
            let loaded = send(&mut connection, &again).await?;
            for (at, answer) in unknown.into_iter().zip(loaded.into_iter().skip(1)) {
                answers[at] = answer;
            }
        }
        answers.into_iter().map(Value::extract_error).collect()
    }

    async fn write_once(
        &self,
        partition: Partition,
        writes: &[Write],
        elapsed: Duration,
    ) -> Result<Vec<WriteOutcome>, HotStoreError> {
        let call = self.write_call(partition, writes, elapsed);
        let answers = self
            .call(self.connection(partition.number), &WRITE, vec![call])
            .await
            .map_err(classify_write)?;
        reply::write_outcomes(answers.into_iter().next()).map_err(classify)
    }

    fn write_call(&self, partition: Partition, writes: &[Write], elapsed: Duration) -> Cmd {
        // A first try says 0, and any later one more than that.
        let elapsed_ms = elapsed.as_millis().max(u128::from(!elapsed.is_zero()));
        let mut call = WRITE.call(2 + writes.len());
        call.arg(self.keys.state(partition)).arg(self.keys.stream(partition));
        for write in writes {
            call.arg(&write.key.key);
        }
        call.arg(self.keys.partitions())
            .arg(self.partition_capacity)
            .arg(u64::try_from(elapsed_ms).unwrap_or(u64::MAX));
        for write in writes {
            let (values, nulls) = write.change.fields(write.key.model);
            call.arg(write.change.name())
                .arg(write.header())
                .arg(&write.operation_id)
                .arg(write.probe.token())
                .arg(nulls.len());
            for name in nulls {
                call.arg(name);
            }
            call.arg(values.len() * 2);
            for (name, value) in values {
                call.arg(name).arg(value);
            }
        }
        call
    }

    fn settle_calls(&self, settlement: &Settlement) -> Vec<Cmd> {
        let mut calls = Vec::new();
        let mut rows = settlement.rows.chunks(SETTLED_ROWS_MAX).peekable();
        loop {
            let chunk = rows.next().unwrap_or_default();
            let is_last = rows.peek().is_none();
            let mut call = SETTLE.call(2 + chunk.len());
            call.arg(self.keys.state(settlement.partition))
                .arg(self.keys.stream(settlement.partition));
            for row in chunk {
                call.arg(&row.key);
            }
            // The position is stored with the last rows: after a crash in between, all of
            // them are settled again.
            call.arg(settlement.from.to_string());
            call.arg(if is_last { settlement.to.to_string() } else { String::new() });
            call.arg(settlement.entries).arg(settlement.retain_from.to_string());
            for row in chunk {
                call.arg(row.entry.to_string()).arg(milliseconds(row.ttl));
            }
            calls.push(call);
            if is_last {
                return calls;
            }
        }
    }
}

#[async_trait]
impl HotStore for RedisHotStore {
    async fn write(
        &self,
        partition: Partition,
        writes: &[Write],
    ) -> Result<Vec<WriteOutcome>, HotStoreError> {
        let started = Instant::now();
        let mut outcome = self.write_once(partition, writes, Duration::ZERO).await;
        for wait in WRITE_RETRIES {
            let Err(HotStoreError::OutcomeUnknown(error)) = &outcome else { break };
            tracing::debug!(%partition, %error, "the answer to a write was lost, asking for it");
            tokio::time::sleep(wait).await;
            outcome = match self.write_once(partition, writes, started.elapsed()).await {
                // Unavailable now says nothing about the first try.
                Err(HotStoreError::Unavailable(error)) => Err(HotStoreError::OutcomeUnknown(error)),
                other => other,
            };
        }
        outcome
    }

    async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let mut connection = self.connection(first.partition);
        if keys.len() == 1 {
            let mut command = Cmd::new();
            command.arg("HGETALL").arg(&first.key);
            let answer = connection.send_packed_command(&command).await.map_err(classify)?;
            return Ok(vec![reply::row(first.model, answer).map_err(classify)?]);
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.cmd("HGETALL").arg(&key.key);
        }
        let answers = send(&mut connection, &pipeline).await.map_err(classify)?;
        let rows = keys.iter().zip(answers).map(|(key, answer)| reply::row(key.model, answer));
        rows.collect::<Result<_, _>>().map_err(classify)
    }

    async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let calls = keys.iter().map(|key| {
            let mut call = RESERVE.call(1);
            call.arg(&key.key).arg(token).arg(milliseconds(TOKEN_TTL));
            call
        });
        let answers = self
            .call(self.connection(first.partition), &RESERVE, calls.collect())
            .await
            .map_err(classify)?;
        let rows = keys.iter().zip(answers).map(|(key, answer)| reply::row(key.model, answer));
        rows.collect::<Result<_, _>>().map_err(classify)
    }

    async fn fill(&self, fills: &[Fill], token: &str) -> Result<(), HotStoreError> {
        let Some(first) = fills.first() else { return Ok(()) };
        let calls = fills.iter().map(|fill| {
            let mut call = FILL.call(1);
            call.arg(&fill.key.key)
                .arg(token)
                .arg(fill.offset.to_string())
                .arg(milliseconds(fill.ttl));
            let columns = fill.key.model.columns.iter().zip(fill.row.iter());
            for (column, value) in columns {
                if let Some(value) = value {
                    call.arg(column.name).arg(value);
                }
            }
            call
        });
        let connection = self.connection(first.key.partition);
        self.call(connection, &FILL, calls.collect()).await.map_err(classify)?;
        Ok(())
    }

    async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError> {
        let mut call = INVALIDATE.call(1);
        call.arg(&key.key);
        let answers = self
            .call(self.connection(key.partition), &INVALIDATE, vec![call])
            .await
            .map_err(classify)?;
        match answers.first() {
            Some(Value::Int(1)) => Ok(Invalidated::Clean),
            _ => Ok(Invalidated::Dirty),
        }
    }

    async fn read_entries(
        &self,
        requests: &[ReadRequest],
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError> {
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        let mut pipeline = Pipeline::with_capacity(requests.len());
        for request in requests {
            pipeline
                .cmd("XRANGE")
                .arg(self.keys.stream(request.partition))
                .arg(request.from.to_string())
                .arg("+")
                .arg("COUNT")
                .arg(request.count);
        }
        let mut connection = self.connection(first.partition.number);
        let answers = send(&mut connection, &pipeline).await.map_err(classify)?;
        answers.into_iter().map(|answer| reply::entries(answer).map_err(classify)).collect()
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<(), HotStoreError> {
        let Some(first) = settlements.first() else { return Ok(()) };
        let calls: Vec<Cmd> =
            settlements.iter().flat_map(|settlement| self.settle_calls(settlement)).collect();
        let connection = self.connection(first.partition.number);
        self.call(connection, &SETTLE, calls).await.map_err(classify)?;
        Ok(())
    }

    async fn states(&self, partitions: &[Partition]) -> Result<Vec<PartitionState>, HotStoreError> {
        let Some(first) = partitions.first() else { return Ok(Vec::new()) };
        let mut pipeline = Pipeline::with_capacity(partitions.len() * 2);
        for &partition in partitions {
            pipeline.cmd("HMGET").arg(self.keys.state(partition)).arg("undrained").arg("position");
            let stream = self.keys.stream(partition);
            pipeline.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        }
        let mut connection = self.connection(first.number);
        let mut answers = send(&mut connection, &pipeline).await.map_err(classify)?.into_iter();
        let mut states = Vec::with_capacity(partitions.len());
        while let (Some(counters), Some(last)) = (answers.next(), answers.next()) {
            states.push(reply::state(counters, last).map_err(classify)?);
        }
        Ok(states)
    }
}

async fn send(
    connection: &mut ConnectionManager,
    pipeline: &Pipeline,
) -> Result<Vec<Value>, RedisError> {
    connection.send_packed_commands(pipeline, 0, pipeline.len()).await
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn is_unknown_script(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// What a failed command means where doing it twice does no harm.
fn classify(error: RedisError) -> HotStoreError {
    if is_misfit(&error) {
        return HotStoreError::Configuration(Box::new(error));
    }
    if error.is_timeout() && !error.is_connection_refusal() {
        return HotStoreError::Timeout(Box::new(error));
    }
    HotStoreError::Unavailable(Box::new(error))
}

/// What a failed write means: once it was sent, only an answer tells what became of it.
fn classify_write(error: RedisError) -> HotStoreError {
    let was_sent = !error.is_connection_refusal() && (error.is_timeout() || error.is_io_error());
    if was_sent || error.code() == Some("KVUNKNOWN") {
        return HotStoreError::OutcomeUnknown(Box::new(error));
    }
    classify(error)
}

/// Whether the server, its data and the settings do not fit together: waiting does not help.
fn is_misfit(error: &RedisError) -> bool {
    let codes = ["WRONGTYPE", "KVFOREIGN", "KVPARTITIONS", "NOAUTH", "WRONGPASS", "NOPERM"];
    error.code().is_some_and(|code| codes.contains(&code))
        || error.kind() == redis::ErrorKind::AuthenticationFailed
}
