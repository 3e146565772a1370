//! Waiting for replicas, or for the disk.
//!
//! `WAIT` blocks its connection, so it has one of its own: one for each number of replicas that
//! is asked for, because who waits for three would hold up who waits for one. It concerns what
//! that connection has written, and all that the server has written before. So each entry is
//! first looked for and its partition touched, in the same round trip: then the server that is
//! asked is one that has the entry, also if another has taken over since it was written.
//!
//! All that wait share the next call. While no replica answers, writes go on over their lanes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::Instant;

use super::connection::{Connection, Connector};
use super::failure::classify;
use super::script::LOCATE;
use super::{milliseconds, reply};
use crate::durability::Durability;
use crate::hot_store::{EntryMark, HotStoreError, NotReplicated, Standing};
use crate::key::KeySpace;

/// The most callers that share a call.
const CALLERS_MAX: usize = 256;
/// How much longer than its time-out a caller waits, so that it hears how many replicas there
/// are: an idle server looks ten times a second for clients whose time is over.
const ANSWER_GRACE: Duration = Duration::from_millis(150);
/// The pause before a call that failed is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Waits for replicas or for the disk.
#[derive(Debug)]
pub(super) struct Replication {
    connector: Connector,
    keys: Arc<KeySpace>,
    goals: Mutex<HashMap<Goal, Arc<Lines>>>,
    is_cluster: bool,
}

/// The connection for a goal, opened when it is first needed, and the tasks on it.
#[derive(Debug, Default)]
struct Lines {
    connection: OnceCell<Connection>,
    /// By what has to be said by one server: in a cluster the number of a partition, else zero.
    lines: Mutex<HashMap<u16, Line>>,
}

/// Who has to have the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Goal {
    Replicas(u32),
    Disk,
}

/// The way to a task, which ends when this is dropped.
type Line = mpsc::UnboundedSender<Waiting>;

/// A caller.
#[derive(Debug)]
struct Waiting {
    entries: Vec<EntryMark>,
    deadline: Instant,
    answer: oneshot::Sender<Result<Acknowledged, RedisError>>,
}

/// What a caller is told.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    /// By how many, as `WAIT` counts them.
    by: u32,
    /// Whether an entry is on its queue no more, and not settled.
    is_gone: bool,
}

impl Goal {
    fn of(durability: Durability) -> Option<Self> {
        match durability {
            Durability::Fast => None,
            Durability::Replicated { replicas, .. } => Some(Self::Replicas(replicas)),
            Durability::Fsynced { .. } => Some(Self::Disk),
        }
    }

    /// How many have to say that they have the entries.
    fn wanted(self) -> u32 {
        match self {
            Self::Replicas(replicas) => replicas,
            Self::Disk => 1,
        }
    }

    fn wait_command(self, timeout: Duration) -> Cmd {
        let mut wait = Cmd::new();
        match self {
            Self::Replicas(replicas) => wait.arg("WAIT").arg(replicas),
            Self::Disk => wait.arg("WAITAOF").arg(1).arg(0),
        };
        // Zero would be for ever.
        wait.arg(milliseconds(timeout).max(1));
        wait
    }
}

impl Replication {
    pub(super) fn new(connector: Connector, keys: KeySpace, is_cluster: bool) -> Self {
        Self { connector, keys: Arc::new(keys), goals: Mutex::default(), is_cluster }
    }

    /// The same for a tenant, over connections of its own.
    pub(super) fn of_tenant(&self, keys: KeySpace) -> Self {
        Self::new(self.connector.clone(), keys, self.is_cluster)
    }

    /// Whether the server can do what a mode asks for.
    pub(super) async fn check(&self, durability: Durability) -> Result<(), HotStoreError> {
        match Goal::of(durability) {
            Some(goal) => self.connection(&self.lines(goal), goal).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits until entries are as safe as a mode says, or its time is over.
    pub(super) async fn wait(
        &self,
        entries: &[EntryMark],
        durability: Durability,
    ) -> Result<(), NotReplicated> {
        let Some(goal) = Goal::of(durability) else { return Ok(()) };
        let deadline = Instant::now() + durability.timeout();
        let mut parts: BTreeMap<u16, Vec<EntryMark>> = BTreeMap::new();
        for entry in entries {
            let part = if self.is_cluster { entry.partition.number } else { 0 };
            parts.entry(part).or_default().push(entry.clone());
        }
        let waits =
            parts.iter().map(|(&part, entries)| self.wait_for(part, entries, goal, deadline));
        try_join_all(waits).await.map(drop)
    }

    /// For entries of which one server has to say it.
    async fn wait_for(
        &self,
        part: u16,
        entries: &[EntryMark],
        goal: Goal,
        deadline: Instant,
    ) -> Result<(), NotReplicated> {
        let mut failure = None;
        loop {
            let asked = self.ask(goal, part, entries, deadline);
            let Ok(asked) = tokio::time::timeout_at(deadline + ANSWER_GRACE, asked).await else {
                return Err(NotReplicated { acknowledged: 0, source: failure });
            };
            let acknowledged = match asked {
                Ok(Acknowledged { is_gone: true, .. }) => {
                    let reason = "Redis does not have the entry any more; it went back in time";
                    return Err(NotReplicated { acknowledged: 0, source: Some(reason.into()) });
                }
                Ok(Acknowledged { by, .. }) if by >= goal.wanted() => return Ok(()),
                Ok(Acknowledged { by, .. }) => by,
                Err(error) => {
                    failure = Some(error.into_source());
                    0
                }
            };
            if Instant::now() >= deadline {
                return Err(NotReplicated { acknowledged, source: failure });
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + RETRY_PAUSE)).await;
        }
    }

    async fn ask(
        &self,
        goal: Goal,
        part: u16,
        entries: &[EntryMark],
        deadline: Instant,
    ) -> Result<Acknowledged, HotStoreError> {
        let (answer, acknowledged) = oneshot::channel();
        let waiting = Waiting { entries: entries.to_vec(), deadline, answer };
        let ended = || HotStoreError::Unavailable("the connection's task has ended".into());
        self.line(goal, part).await?.send(waiting).map_err(|_| ended())?;
        acknowledged.await.map_err(|_| ended())?.map_err(classify)
    }

    fn lines(&self, goal: Goal) -> Arc<Lines> {
        let mut goals = self.goals.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(goals.entry(goal).or_default())
    }

    async fn connection<'a>(
        &self,
        lines: &'a Lines,
        goal: Goal,
    ) -> Result<&'a Connection, HotStoreError> {
        let open = async || {
            let connection = self.connector.connect_to_block().await.map_err(classify)?;
            check_goal(&connection, goal).await?;
            Ok(connection)
        };
        lines.connection.get_or_try_init(open).await
    }

    async fn line(&self, goal: Goal, part: u16) -> Result<Line, HotStoreError> {
        let lines = self.lines(goal);
        let connection = self.connection(&lines, goal).await?;
        let mut lines = lines.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            let (line, queue) = mpsc::unbounded_channel();
            tokio::spawn(serve(connection.clone(), goal, Arc::clone(&self.keys), queue));
            line
        };
        Ok(lines.entry(part).or_insert_with(open).clone())
    }
}

/// Where an entry stands; a touch makes it what `WAIT` is about.
pub(super) fn locate_call(keys: &KeySpace, entry: &EntryMark, touch: bool) -> Cmd {
    let mut call = LOCATE.call(2);
    call.arg(keys.state(entry.partition))
        .arg(keys.stream(entry.partition))
        .arg(entry.id.to_string())
        .arg(&entry.nonce)
        .arg(i32::from(touch));
    call
}

/// Before anything is written in a mode that the server does not have.
async fn check_goal(connection: &Connection, goal: Goal) -> Result<(), HotStoreError> {
    if goal != Goal::Disk {
        return Ok(());
    }
    let wait = goal.wait_command(Duration::ZERO);
    let asked = async {
        let mut answer = Value::Nil;
        for server in connection.servers() {
            answer = server.send(&wait).await?;
        }
        reply::acknowledged(answer)
    };
    match asked.await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::ResponseError) => {
            Err(classify(error))
        }
        Err(error) => {
            let text = error.to_string();
            let problem = match text.contains("appendonly") {
                true => "`Durability::Fsynced` needs an append-only file; turn `appendonly` on",
                false => {
                    "`Durability::Fsynced` needs a server with WAITAOF: Redis 7.2 or newer, or \
                     Valkey"
                }
            };
            Err(HotStoreError::Configuration(format!("{problem} ({text})").into()))
        }
    }
}

/// Asks for all that wait, as long as somebody may.
async fn serve(
    connection: Connection,
    goal: Goal,
    keys: Arc<KeySpace>,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
) {
    let mut callers = Vec::with_capacity(CALLERS_MAX);
    while queue.recv_many(&mut callers, CALLERS_MAX).await > 0 {
        // Those whose time was over meanwhile.
        callers.retain(|caller: &Waiting| !caller.answer.is_closed());
        let Some(last) = callers.iter().map(|caller| caller.deadline).max() else { continue };
        let timeout = last.saturating_duration_since(Instant::now());
        let mut pipeline = Pipeline::new();
        // One that knows the script already compares a hash, and a call of an unknown one would
        // leave WAIT without a write.
        pipeline.add_command(LOCATE.load());
        for entry in callers.iter().flat_map(|caller| &caller.entries) {
            pipeline.add_command(locate_call(&keys, entry, true));
        }
        pipeline.add_command(goal.wait_command(timeout));
        let first = callers.iter().find_map(|caller| caller.entries.first());
        let key = first.map(|entry| keys.state(entry.partition)).unwrap_or_default();
        let asked = connection.send_together(&pipeline, &key);
        let answers = match tokio::time::timeout(timeout + ANSWER_GRACE, asked).await {
            Ok(answers) => answers,
            // It hangs, and where there are others, one of them may have its slots by now.
            Err(_) => {
                connection.look_again();
                Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
            }
        };
        tell(callers.drain(..), answers);
    }
}

fn tell(callers: impl Iterator<Item = Waiting>, answers: Result<Vec<Value>, RedisError>) {
    let (mut located, acknowledged) = match answers {
        Ok(mut answers) => {
            let acknowledged = answers.pop().unwrap_or(Value::Nil);
            answers.drain(..1.min(answers.len()));
            (answers, reply::acknowledged(acknowledged))
        }
        Err(error) => (Vec::new(), Err(error)),
    };
    for Waiting { entries, answer, .. } in callers {
        let located = located.drain(..entries.len().min(located.len()));
        let standings =
            entries.iter().zip(located).map(|(entry, at)| reply::standing(entry.id, at));
        let standings: Result<Vec<Standing>, RedisError> = standings.collect();
        let outcome = acknowledged
            .clone()
            .and_then(|by| Ok(Acknowledged { by, is_gone: standings?.contains(&Standing::Gone) }));
        // It may have gone away.
        let _ = answer.send(outcome);
    }
}

#[cfg(all(test, feature = "testing", unix))]
mod tests {
    use super::*;
    use crate::entry::EntryId;
    use crate::key::Partition;
    use crate::settings::Settings;
    use crate::testing::{RedisOptions, RedisServer};

    /// Writes the entry that `mark` tells of, as `write.lua` would.
    async fn append(connection: &Connection, mark: &EntryMark) {
        let mut append = Cmd::new();
        append.arg("XADD").arg("queue").arg(mark.id.to_string());
        append.arg("change").arg(format!("create model 1 {} 0", mark.nonce));
        connection.send_one(append.arg("values").arg("{}")).await.expect("the server is up");
    }

    fn mark(nonce: &str) -> EntryMark {
        EntryMark {
            partition: Partition { queue: "queue", number: 0 },
            id: EntryId { milliseconds: 1, sequence: 0 },
            nonce: nonce.to_owned(),
        }
    }

    /// As a drainer does, also when there is no memory left for anybody else.
    #[tokio::test]
    async fn entries_that_are_there_are_waited_for_also_without_memory() {
        let primary = RedisServer::start().expect("a private server");
        let of = format!("127.0.0.1 {}", primary.port());
        let options = RedisOptions::new().setting("replicaof", of);
        let _replica = RedisServer::start_with(options).expect("a private replica");
        let settings = Settings::new(primary.url(), "");
        let connector = Connector::new(&settings.redis).expect("a valid address");
        let connection = connector.connect().await.expect("the server is up");
        append(&connection, &mark("mine")).await;
        let mut full = Cmd::new();
        full.arg("CONFIG").arg("SET").arg("maxmemory").arg(1);
        connection.send_one(&full).await.expect("the server is up");

        let replication = Replication::new(connector, KeySpace::new(None, 1), false);
        let timeout = Duration::from_secs(30);
        let one = Durability::Replicated { replicas: 1, timeout };
        replication.wait(&[mark("mine")], one).await.expect("the replica has it");
        // Another server has taken over since, and has another entry in its place.
        let started = Instant::now();
        let error = replication.wait(&[mark("mine"), mark("other")], one).await;
        let error = error.expect_err("it is another entry");
        assert!(error.source.is_some_and(|source| source.to_string().contains("back in time")));
        assert!(started.elapsed() < timeout, "nothing would change it");
    }
}
