//! The hot side on a Redis server.

mod clock;
mod cluster;
mod connection;
mod failure;
#[cfg(feature = "testing")]
pub(crate) mod fuzzing;
mod lane;
mod leases;
mod moving;
mod packed;
mod queues;
mod replication;
mod reply;
mod schemes;
mod script;
mod server;
mod settling;
#[cfg(feature = "testing")]
mod test_keys;
#[cfg(feature = "cache")]
mod tracking;
mod values;
mod writer;
mod writes;
mod written;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Pipeline, RedisError, Value};

use self::connection::{Connection, Connector, Server};
use self::failure::classify;
use self::lane::{Lane, WriteResult};
use self::replication::Replication;
use self::script::{
    ELSEWHERE, FILL, HERE, LOCATE, REBASE, RESERVE, RESERVE_VALUE, SWAP_VALUE, ValueScripts,
};
#[cfg(feature = "testing")]
use self::test_keys::TestKeys;
#[cfg(feature = "cache")]
use self::tracking::Tracking;
use self::writer::Writer;
use self::written::{Teller, Telling, Told};
use super::{
    EntryMark, Fill, HotStore, HotStoreError, Invalidated, Load, Membership, NotReplicated,
    Observed, PartitionState, ReadOutcome, ReadRequest, RowState, SchemeMark, Settlement, Standing,
    Tail, Unit, UnitOutcome, ValueContent, ValueFill, Write,
};
use crate::durability::Durability;
use crate::entry::{EntryId, RawEntry};
use crate::key::{KeySpace, Layout, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::notices::Notices;
use crate::scheme::StorageScheme;
use crate::settings::Settings;

/// How long a reader may take from its miss to its fill.
const TOKEN_TTL: Duration = Duration::from_secs(10);
/// How many keys a step of a scan looks at.
const SCANNED: usize = 1_000;
/// Rows, queues and their state on a Redis server.
#[derive(Debug)]
pub(crate) struct RedisHotStore {
    lanes: Vec<Lane>,
    /// The drainer's for reading and for settling, so that nobody waits behind its long answers,
    /// nor one of them behind the other.
    entries: Connection,
    settling: Connection,
    replication: Replication,
    keys: KeySpace,
    writer: Writer,
    scripts: &'static ValueScripts,
    /// What tenants tell that they were written to, once there are any.
    teller: OnceLock<Teller>,
    /// Of a tenant, its own way to it.
    told: Option<Told>,
    notices: Notices,
    /// What tells the notices of what others change, once there is a cache.
    #[cfg(feature = "cache")]
    tracking: Arc<Tracking>,
    /// Those that are removed in the end, when the connections above are gone.
    #[cfg(feature = "testing")]
    _remains: Option<TestKeys>,
}

impl RedisHotStore {
    /// Connects, which proves that the address and the password are right.
    pub(crate) async fn connect(
        settings: &Settings,
        keys: KeySpace,
    ) -> Result<Self, HotStoreError> {
        let connector = Connector::new(&settings.redis).map_err(classify)?;
        let is_cluster = settings.redis.is_cluster();
        let scripts = if is_cluster { &ELSEWHERE } else { &HERE };
        let writer = Writer::new(keys.clone(), settings, scripts.write_unit);
        let connect = async || connector.connect().await.map_err(classify);
        let mut connections = Vec::with_capacity(settings.redis.connections);
        for _ in 0..settings.redis.connections {
            connections.push(connect().await?);
        }
        // A call of a script is about keys of one slot, so that in a cluster each partition that a
        // queue begins with has a lane of its own.
        let count = usize::from(settings.partitions);
        let lanes = if is_cluster { count } else { connections.len() };
        let wait_max = settings.redis.command_timeout;
        let lane =
            |connection: &Connection| Lane::new(connection.clone(), wait_max, writer.clone());
        let lanes = connections.iter().cycle().take(lanes).map(lane).collect();
        let (entries, settling) = (connect().await?, connect().await?);
        let replication = Replication::new(connector, keys.clone(), is_cluster);
        Ok(Self {
            lanes,
            entries,
            settling,
            replication,
            keys,
            writer,
            scripts,
            teller: OnceLock::new(),
            told: None,
            #[cfg(feature = "cache")]
            tracking: Arc::new(Tracking::new(&settings.redis)),
            notices: Notices::default(),
            #[cfg(feature = "testing")]
            _remains: None,
        })
    }

    /// The same for a test, whose keys are removed in the end.
    #[cfg(feature = "testing")]
    pub(crate) async fn connect_for_test(
        settings: &Settings,
        keys: KeySpace,
    ) -> Result<Self, HotStoreError> {
        let pattern = keys.pattern_of_all();
        let store = Self::connect(settings, keys).await?;
        let remains = TestKeys::new(&settings.redis, pattern).await.map_err(classify)?;
        Ok(Self { _remains: Some(remains), ..store })
    }

    fn reserve_call(&self, key: &RowKey, token: &str) -> Cmd {
        let mut call = RESERVE.call(2);
        call.arg(&key.key).arg(self.keys.state(key.partition()));
        call.arg(token).arg(milliseconds(TOKEN_TTL));
        for name in asked_for(key) {
            call.arg(name);
        }
        call
    }

    /// One lane a partition.
    fn lane(&self, partition: u16) -> &Lane {
        &self.lanes[usize::from(partition) % self.lanes.len()]
    }
}

#[async_trait]
impl HotStore for RedisHotStore {
    fn notices(&self) -> &Notices {
        &self.notices
    }

    #[cfg(feature = "cache")]
    fn tell_of_others(&self) {
        self.tracking.begin(&self.settling, &self.notices);
    }

    fn of_tenant(&self, name: &str, keys: KeySpace) -> Arc<dyn HotStore> {
        let tell = || Teller::new(self.settling.clone(), self.keys.written());
        let teller = self.teller.get_or_init(tell);
        let writer = self.writer.of_tenant(keys.clone());
        let lane = |lane: &Lane| lane.with_sender(writer.clone());
        Arc::new(Self {
            lanes: self.lanes.iter().map(lane).collect(),
            entries: self.entries.clone(),
            settling: self.settling.clone(),
            replication: self.replication.of_tenant(keys.clone()),
            keys,
            writer,
            scripts: self.scripts,
            teller: OnceLock::new(),
            told: Some(teller.of(name)),
            #[cfg(feature = "cache")]
            tracking: Arc::clone(&self.tracking),
            notices: self.notices.clone(),
            #[cfg(feature = "testing")]
            _remains: None,
        })
    }

    async fn written_since(&self, number: u64) -> Result<(u64, Vec<String>), HotStoreError> {
        written::since(&self.settling, &self.keys.written(), number).await.map_err(classify)
    }

    async fn write(&self, writes: &[Arc<Write>]) -> Vec<WriteResult> {
        let _telling = Telling::of(self.told.as_ref());
        self.write_all(writes).await
    }

    async fn write_unit(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let _telling = Telling::of(self.told.as_ref());
        self.write_as_one(unit).await
    }

    async fn observe(&self, key: &RowKey, token: &str) -> Result<Observed, HotStoreError> {
        let connection = self.lane(key.partition).connection();
        let call = self.reserve_call(key, token);
        let answers = connection.call(&RESERVE, vec![call]).await.map_err(classify)?;
        let answer = answers.into_iter().next().unwrap_or(Value::Nil);
        reply::observed(answer, key.id_columns()).map_err(classify)
    }

    async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let connection = self.lane(first.partition).connection();
        if keys.len() == 1 {
            let answer = connection.send_one(&read_command(first)).await.map_err(classify)?;
            return rows(keys, vec![answer]);
        }
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.add_command(read_command(key));
        }
        let answers = connection.send(&pipeline).await.map_err(classify)?;
        rows(keys, answers)
    }

    async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let Some(first) = keys.first() else { return Ok(Vec::new()) };
        let calls = keys.iter().map(|key| self.reserve_call(key, token));
        let connection = self.lane(first.partition).connection();
        let answers = connection.call(&RESERVE, calls.collect()).await.map_err(classify)?;
        rows(keys, answers)
    }

    async fn fill(&self, fills: &[Fill]) -> Result<(), HotStoreError> {
        let Some(first) = fills.first() else { return Ok(()) };
        let calls = fills.iter().map(|fill| {
            let mut call = FILL.call(1);
            call.arg(&fill.key.key)
                .arg(&fill.token)
                .arg(fill.offset.to_string())
                .arg(milliseconds(fill.ttl));
            let columns = fill.key.model.columns.iter().zip(fill.row.iter());
            for (column, value) in columns {
                if let Some(value) = value {
                    call.arg(column.name).arg(value);
                }
            }
            if !fill.value_keys.is_empty() {
                call.arg("@values").arg(fill.value_keys.join(" "));
            }
            call
        });
        let connection = self.lane(first.key.partition).connection();
        let answers = connection.call(&FILL, calls.collect()).await;
        answers.and_then(reply::all_done).map_err(classify)
    }

    async fn reserve_values(
        &self,
        keys: &[String],
        token: &str,
    ) -> Result<Vec<ValueContent>, HotStoreError> {
        let calls = keys.iter().map(|key| values::reserve_call(key, token));
        let connection = self.lanes[0].connection();
        let answers = connection.call(&RESERVE_VALUE, calls.collect()).await.map_err(classify)?;
        answers.into_iter().map(reply::value_content).collect::<Result<_, _>>().map_err(classify)
    }

    async fn fill_value(&self, fill: &ValueFill, ttl: Duration) -> Result<(), HotStoreError> {
        // Older than any entry, because it is not known which one took it.
        let content = ValueContent::taken(EntryId::ZERO, &fill.row.key);
        let ttl = milliseconds(ttl).to_string();
        let call = values::swap_call(&fill.key, &fill.found.0, &content.0, &ttl);
        let connection = self.lane(fill.row.partition).connection();
        let answers = connection.call(&SWAP_VALUE, vec![call]).await;
        answers.and_then(reply::all_done).map_err(classify)
    }

    async fn revoke(&self, partition: Partition, nonce: &str) -> Result<(), HotStoreError> {
        let connection = self.lane(partition.number).connection();
        values::revoke(connection, self.keys.nonce(partition, nonce)).await.map_err(classify)
    }

    async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError> {
        let script = self.scripts.invalidate;
        let mut call = script.call(1);
        call.arg(&key.key);
        let connection = self.lane(key.partition).connection();
        let mut answers = connection.call(script, vec![call]).await.map_err(classify)?;
        let answer = answers.pop().unwrap_or(Value::Nil);
        match values::done(connection, answer).await.map_err(classify)? {
            Value::Int(1) => Ok(Invalidated::Clean),
            _ => Ok(Invalidated::Dirty),
        }
    }

    async fn read_entries(
        &self,
        requests: &[ReadRequest],
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError> {
        queues::read(&self.entries, &self.keys, requests).await.map_err(classify)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<bool, HotStoreError> {
        if settlements.is_empty() {
            return Ok(true);
        }
        settling::settle(&self.settling, &self.keys, settlements, self.scripts)
            .await
            .map_err(classify)
    }

    async fn row_state(&self, key: &RowKey) -> Result<RowState, HotStoreError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("HGET").arg(&key.key).arg("@");
        pipeline.cmd("PTTL").arg(&key.key);
        let connection = self.lane(key.partition).connection();
        let answers = connection.send(&pipeline).await.map_err(classify)?;
        let [meta, ttl] = answers.as_slice() else { return Ok(RowState::Missing) };
        reply::row_state(meta, ttl).map_err(classify)
    }

    async fn let_go(&self, keys: &[String], up_to: EntryId) -> Result<(), HotStoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let script = self.scripts.let_go;
        let calls = keys.iter().map(|key| {
            let mut call = script.call(1);
            call.arg(key).arg(up_to.to_string());
            call
        });
        for answer in self.settling.call(script, calls.collect()).await.map_err(classify)? {
            values::done(&self.settling, answer).await.map_err(classify)?;
        }
        Ok(())
    }

    async fn scan(
        &self,
        model: &'static ModelDescriptor,
        partition: Option<Partition>,
    ) -> Result<Vec<String>, HotStoreError> {
        let pattern = self.keys.rows_pattern(model, partition);
        let mut found = Vec::new();
        for server in self.settling.servers() {
            scan(&server, &pattern, &mut found).await.map_err(classify)?;
        }
        Ok(found)
    }

    async fn rebase(&self, partition: Partition, to: EntryId) -> Result<(), HotStoreError> {
        let mut call = REBASE.call(2);
        call.arg(self.keys.state(partition))
            .arg(self.keys.stream(partition))
            .arg(to.to_string())
            .arg(self.keys.partitions_with(partition));
        let answers = self.settling.call(&REBASE, vec![call]).await;
        answers.and_then(reply::all_done).map_err(classify)
    }

    async fn scheme(&self, partition: Partition) -> Result<SchemeMark, HotStoreError> {
        schemes::mark(&self.settling, &self.keys, partition).await.map_err(classify)
    }

    async fn close(&self, partitions: &[Partition], switch: &str) -> Result<(), HotStoreError> {
        schemes::close(&self.settling, &self.keys, partitions, switch).await.map_err(classify)
    }

    async fn load(&self, rows: &[Load], switch: &str) -> Result<(), HotStoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let loaded = moving::load(&self.settling, &self.keys, rows, switch, self.scripts).await;
        if loaded.map_err(classify)? { Ok(()) } else { Err(HotStoreError::Elsewhere) }
    }

    async fn drop_rows(&self, keys: &[RowKey], switch: &str) -> Result<(), HotStoreError> {
        let dropped = moving::drop(&self.settling, &self.keys, keys, switch, self.scripts).await;
        if dropped.map_err(classify)? { Ok(()) } else { Err(HotStoreError::Elsewhere) }
    }

    async fn open(
        &self,
        partition: Partition,
        scheme: StorageScheme,
        from: Option<EntryId>,
    ) -> Result<(), HotStoreError> {
        schemes::open(&self.settling, &self.keys, partition, scheme, from).await.map_err(classify)
    }

    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, HotStoreError> {
        schemes::layouts(&self.settling, &self.keys, queue).await.map_err(classify)
    }

    async fn move_on(&self, queue: &'static str, layouts: &[Layout]) -> Result<(), HotStoreError> {
        schemes::move_on(&self.settling, &self.keys, queue, layouts).await.map_err(classify)
    }

    async fn bar(&self, keys: &[String], token: &str) -> Result<bool, HotStoreError> {
        schemes::bar(self.lanes[0].connection(), keys, token).await.map_err(classify)
    }

    async fn lift(&self, keys: &[String], token: &str) -> Result<(), HotStoreError> {
        schemes::lift(self.lanes[0].connection(), keys, token).await.map_err(classify)
    }

    async fn join(
        &self,
        queue: &'static str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Membership, HotStoreError> {
        leases::join(&self.settling, &self.keys, queue, owner, ttl).await.map_err(classify)
    }

    async fn leave(&self, queue: &'static str, owner: &str) -> Result<(), HotStoreError> {
        leases::leave(&self.settling, &self.keys, queue, owner).await.map_err(classify)
    }

    async fn lease(
        &self,
        partitions: &[Partition],
        owner: &str,
        ttl: Duration,
    ) -> Result<Vec<bool>, HotStoreError> {
        leases::take(&self.settling, &self.keys, partitions, owner, ttl).await.map_err(classify)
    }

    async fn give_back(&self, partitions: &[Partition], owner: &str) -> Result<(), HotStoreError> {
        leases::give_back(&self.settling, &self.keys, partitions, owner).await.map_err(classify)
    }

    async fn states(&self, partitions: &[Partition]) -> Result<Vec<PartitionState>, HotStoreError> {
        queues::states(&self.entries, &self.keys, partitions).await.map_err(classify)
    }

    async fn tails(&self, partitions: &[Partition]) -> Result<Vec<Tail>, HotStoreError> {
        let Some(first) = partitions.first() else { return Ok(Vec::new()) };
        let connection = self.lane(first.number).connection();
        queues::tails(connection, &self.keys, partitions).await.map_err(classify)
    }

    async fn entries_behind(
        &self,
        places: &[(Partition, EntryId)],
        count: usize,
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError> {
        queues::read_behind(&self.entries, &self.keys, places, count).await.map_err(classify)
    }

    async fn standing(&self, entry: &EntryMark) -> Result<Standing, HotStoreError> {
        let call = replication::locate_call(&self.keys, entry, false);
        let connection = self.lane(entry.partition.number).connection();
        let answers = connection.call(&LOCATE, vec![call]).await.map_err(classify)?;
        let answer = answers.into_iter().next().unwrap_or(Value::Nil);
        reply::standing(entry.id, answer).map_err(classify)
    }

    async fn check_durability(&self, durability: Durability) -> Result<(), HotStoreError> {
        self.replication.check(durability).await
    }

    async fn replicate(
        &self,
        entries: &[EntryMark],
        durability: Durability,
    ) -> Result<(), NotReplicated> {
        self.replication.wait(entries, durability).await
    }
}

/// Adds the keys of a server that match a pattern.
async fn scan(
    server: &Server<'_>,
    pattern: &str,
    found: &mut Vec<String>,
) -> Result<(), RedisError> {
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = Cmd::new();
        scan.arg("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCANNED);
        let (next, keys) = reply::scanned(server.send(&scan).await?)?;
        found.extend(keys);
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

/// The values alone and in order, not `HGETALL`: the names would be half of the answer, and
/// reading it is most of what a read costs.
fn read_command(key: &RowKey) -> Cmd {
    let columns = key.model.columns.len();
    let mut command = Cmd::with_capacity(columns + 3, key.key.len() + columns * 24);
    command.arg("HMGET").arg(&key.key).arg("@");
    for name in asked_for(key) {
        command.arg(name);
    }
    command
}

/// The names of a row's columns but those of its id, which its key tells.
fn asked_for(key: &RowKey) -> impl Iterator<Item = &'static str> {
    let columns = key.model.columns.iter().enumerate();
    columns.filter(|(at, _)| !key.model.id.contains(at)).map(|(_, column)| column.name)
}

fn rows(keys: &[RowKey], answers: Vec<Value>) -> Result<Vec<ReadOutcome>, HotStoreError> {
    let rows = keys.iter().zip(answers).map(|(key, answer)| reply::row(answer, key.id_columns()));
    rows.collect::<Result<_, _>>().map_err(classify)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
