//! The nodes of a Redis Cluster: each command goes to the one that has its slot.
//!
//! The Redis client has a connection to clusters of its own, which asks again after a cut as well,
//! when nobody knows whether a command was run; told not to, it stands still for good while slots
//! move. So here are one connection to each node and the map of the slots, and only what was
//! certainly not run is asked again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{
    Arg, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, RedisError, ServerError,
    ServerErrorKind, Value,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::reply;
use crate::key::slot_of_key;
use crate::redis::client;
use crate::settings::RedisSettings;

/// How many slots a cluster has.
const SLOTS: u32 = 16_384;
/// The pauses before a command is asked again whose slot is on its way from node to node.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Connections to all nodes. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    /// By which the others are found.
    seeds: Vec<ConnectionInfo>,
    settings: RedisSettings,
    config: ConnectionManagerConfig,
    map: Mutex<SlotMap>,
    connections: Mutex<HashMap<Node, ConnectionManager>>,
    /// Who looks for the present map.
    looking: tokio::sync::Mutex<()>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

/// The masters, by the last slot of each of their ranges, with the first one.
type Ranges = BTreeMap<u16, (u16, Node)>;

/// Who has which slots.
#[derive(Debug, Clone, Default)]
struct SlotMap {
    ranges: Ranges,
    /// Slots of which a node has said since that they are elsewhere.
    moved: HashMap<u16, Node>,
    /// Raised with each look.
    looks: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects to one of the nodes that the settings name, and learns of the others.
    pub(super) async fn connect(
        settings: &RedisSettings,
        config: ConnectionManagerConfig,
    ) -> Result<Self, RedisError> {
        let seeds = settings.cluster_nodes.iter();
        let seeds = seeds.map(|seed| client::connection_info(settings, seed));
        let inner = Inner {
            seeds: seeds.collect::<Result<_, _>>()?,
            settings: settings.clone(),
            config,
            map: Mutex::default(),
            connections: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.look(0).await?;
        Ok(cluster)
    }

    /// Sends commands, those of a node in one round trip; an error that a server answers to one of
    /// them is its answer.
    pub(super) async fn send(&self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        let mut nodes = Vec::with_capacity(pipeline.len());
        for command in pipeline.cmd_iter() {
            nodes.push(self.node_of(slot_of(command)).await?);
        }
        let answers = match nodes.as_slice() {
            [] => return Ok(Vec::new()),
            [node, others @ ..] if others.iter().all(|other| other == node) => {
                self.send_to_node(pipeline, node).await?
            }
            nodes => self.send_apart(pipeline, nodes).await?,
        };
        let commands = pipeline.cmd_iter();
        let settled = commands.zip(answers).map(|(command, answer)| self.settle(command, answer));
        try_join_all(settled).await
    }

    /// The same for commands of several nodes.
    async fn send_apart(
        &self,
        pipeline: &Pipeline,
        nodes: &[Node],
    ) -> Result<Vec<Value>, RedisError> {
        let mut by_node: HashMap<&Node, (Vec<usize>, Pipeline)> = HashMap::new();
        for (place, (command, node)) in pipeline.cmd_iter().zip(nodes).enumerate() {
            let (places, commands) = by_node.entry(node).or_default();
            places.push(place);
            commands.add_command(command.clone());
        }
        let sent = by_node.into_iter().map(async |(node, (places, commands))| {
            let answers = self.send_to_node(&commands, node).await?;
            Ok::<_, RedisError>(places.into_iter().zip(answers))
        });
        let mut answers = vec![Value::Nil; pipeline.len()];
        // All of them, so that none is given up on its way because of another.
        for sent in join_all(sent).await {
            sent?.for_each(|(place, answer)| answers[place] = answer);
        }
        Ok(answers)
    }

    /// Sends a command to the node of its key.
    pub(super) async fn send_one(&self, command: &Cmd) -> Result<Value, RedisError> {
        let looks = self.map().looks;
        let mut connection = self.connection(&self.node_of(slot_of(command)).await?)?;
        let answer = match connection.req_packed_command(command).await {
            Ok(answer) => answer,
            // One that the server has answered.
            Err(error) => match ServerError::try_from(error) {
                Ok(answered) => Value::ServerError(answered),
                Err(error) => {
                    drop(self.look_later(looks));
                    return Err(error);
                }
            },
        };
        self.settle(command, answer).await
    }

    /// Sends a command in one round trip behind another one, to the node of its own key.
    pub(super) async fn send_behind(&self, first: Cmd, command: &Cmd) -> Result<Value, RedisError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(first).add_command(command.clone());
        let node = self.node_of(slot_of(command)).await?;
        let answer = self.send_to_node(&pipeline, &node).await?.pop().unwrap_or(Value::Nil);
        self.settle(command, answer).await
    }

    /// Sends commands in one round trip to the node of a key, whatever they are about.
    pub(super) async fn send_together(
        &self,
        pipeline: &Pipeline,
        key: &str,
    ) -> Result<Vec<Value>, RedisError> {
        let looks = self.map().looks;
        let node = self.node_of(slot_of_key(key)).await?;
        let answers = self.send_to_node(pipeline, &node).await?;
        if answers.iter().any(|answer| not_run(answer).is_some()) {
            self.look(looks).await?;
        }
        Ok(answers)
    }

    /// The nodes that have slots, as one of them says now.
    #[cfg(feature = "cache")]
    pub(super) async fn present_nodes(&self) -> Result<Vec<Node>, RedisError> {
        let looks = self.map().looks;
        self.look(looks).await?;
        Ok(self.nodes())
    }

    /// The nodes that have slots, as far as it is known here.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let map = self.map();
        let mut nodes: Vec<Node> = Vec::new();
        for node in map.ranges.values().map(|(_, node)| node).chain(map.moved.values()) {
            if !nodes.contains(node) {
                nodes.push(node.clone());
            }
        }
        nodes
    }

    /// Sends commands in one round trip to a node. A server that does not answer may not be the
    /// master any more.
    pub(super) async fn send_to_node(
        &self,
        pipeline: &Pipeline,
        node: &Node,
    ) -> Result<Vec<Value>, RedisError> {
        let looks = self.map().looks;
        let mut connection = self.connection(node)?;
        let sent = connection.req_packed_commands(pipeline, 0, pipeline.len()).await;
        if sent.is_err() {
            drop(self.look_later(looks));
        }
        sent
    }

    /// Learns who has which slots, for whoever asks next.
    pub(super) fn look_again(&self) {
        drop(self.look_later(self.map().looks));
    }

    /// Learns who has which slots, while others go on.
    fn look_later(&self, looks: u64) -> JoinHandle<Result<(), RedisError>> {
        let cluster = self.clone();
        tokio::spawn(async move { cluster.look_in_turn(looks).await })
    }

    /// The same, and waits for it. It goes on without its caller, who may not: others wait for it, and
    /// the next one is to begin with another node.
    async fn look(&self, looks: u64) -> Result<(), RedisError> {
        self.look_later(looks).await.unwrap_or_else(|_| Err(no_node()))
    }

    /// Asks again for what was certainly not run, as long as there is patience.
    async fn settle(&self, command: &Cmd, first: Value) -> Result<Value, RedisError> {
        let mut answer = first;
        let deadline = Instant::now() + self.inner.settings.command_timeout;
        let mut pause = Duration::ZERO;
        while let Some(refusal) = not_run(&answer) {
            if Instant::now() >= deadline {
                break;
            }
            let looks = self.map().looks;
            let mut pipeline = Pipeline::with_capacity(2);
            let node = refusal.redirect_node().and_then(|(address, _)| Node::parse(address));
            let node = match (refusal.kind(), node) {
                (ErrorKind::Server(ServerErrorKind::Ask), Some(node)) => {
                    pipeline.cmd("ASKING");
                    node
                }
                (ErrorKind::Server(ServerErrorKind::Moved), Some(node)) => {
                    // Until the others say so as well.
                    self.map().moved.insert(slot_of(command), node.clone());
                    drop(self.look_later(looks));
                    tokio::time::sleep(pause).await;
                    node
                }
                (kind, _) => {
                    tokio::time::sleep(pause).await;
                    if kind != ServerErrorKind::TryAgain.into() {
                        self.look(looks).await?;
                    }
                    self.node_of(slot_of(command)).await?
                }
            };
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            pipeline.add_command(command.clone());
            answer = self.send_to_node(&pipeline, &node).await?.pop().unwrap_or(Value::Nil);
        }
        Ok(answer)
    }

    /// Learns who has which slots, unless somebody did since `looks`.
    async fn look_in_turn(&self, looks: u64) -> Result<(), RedisError> {
        let _turn = self.inner.looking.lock().await;
        if self.map().looks > looks {
            return Ok(());
        }
        let mut slots = Cmd::new();
        slots.arg("CLUSTER").arg("SLOTS");
        let mut failure = no_node();
        let mut nodes: Vec<Node> = self.connections().keys().cloned().collect();
        nodes.extend(self.inner.seeds.iter().filter_map(|seed| Node::of(seed.addr())));
        // Another one each time: who is cut off from the others does not know what they do.
        let first = usize::try_from(looks).unwrap_or_default() % nodes.len().max(1);
        nodes.rotate_left(first);
        let mut fullest: Option<Ranges> = None;
        for node in nodes {
            match self.ask(&node, &slots).await {
                Ok(ranges) => {
                    let is_whole = slot_count(&ranges) == SLOTS;
                    if fullest.as_ref().is_none_or(|it| slot_count(it) < slot_count(&ranges)) {
                        fullest = Some(ranges);
                    }
                    // A node that is new, or was taken out, knows of none.
                    if is_whole {
                        break;
                    }
                }
                Err(error) => failure = error,
            }
        }
        let mut map = self.map();
        // Whoever waits for this look need not look again at once.
        map.looks += 1;
        let Some(ranges) = fullest.filter(|ranges| !ranges.is_empty()) else { return Err(failure) };
        map.ranges = ranges;
        map.moved.clear();
        Ok(())
    }

    /// Asks a node who has which slots. It may hang, and there are others.
    async fn ask(&self, node: &Node, slots: &Cmd) -> Result<Ranges, RedisError> {
        let mut connection = self.connection(node)?;
        let asked = connection.req_packed_command(slots);
        let answer = timeout(self.inner.settings.command_timeout, asked).await;
        let ranges = answer.map_err(|_| no_answer())?.and_then(reply::slots)?;
        let range = |(first, last, host, port): (u16, u16, String, u16)| {
            // A node that does not know its own address.
            let host = if host.is_empty() { node.host.clone() } else { host };
            (last, (first, Node { host, port }))
        };
        Ok(ranges.into_iter().map(range).collect())
    }

    /// The node that has a slot. Where none is known, whoever can tell may be up by now.
    async fn node_of(&self, slot: u16) -> Result<Node, RedisError> {
        let (known, looks) = {
            let map = self.map();
            (map.node_of(slot), map.looks)
        };
        if let Some(node) = known {
            return Ok(node);
        }
        self.look(looks).await?;
        self.map().node_of(slot).ok_or_else(no_node)
    }

    fn connection(&self, node: &Node) -> Result<ConnectionManager, RedisError> {
        let mut connections = self.connections();
        if let Some(connection) = connections.get(node) {
            return Ok(connection.clone());
        }
        let client = client::open(&self.inner.settings, self.address_of(node)?)?;
        let config = self.inner.config.clone();
        let connection = ConnectionManager::new_lazy_with_config(client, config)?;
        connections.insert(node.clone(), connection.clone());
        Ok(connection)
    }

    /// Of all that a seed's address says, only the place is another one.
    pub(super) fn address_of(&self, node: &Node) -> Result<ConnectionInfo, RedisError> {
        let seed = self.inner.seeds.first().ok_or_else(no_node)?;
        Ok(seed.clone().set_addr(client::moved_to(seed.addr(), &node.host, node.port)))
    }

    fn map(&self) -> MutexGuard<'_, SlotMap> {
        self.inner.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Node, ConnectionManager>> {
        self.inner.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotMap {
    fn node_of(&self, slot: u16) -> Option<Node> {
        if let Some(node) = self.moved.get(&slot) {
            return Some(node.clone());
        }
        let (first, node) = self.ranges.range(slot..).next()?.1;
        (*first <= slot).then(|| node.clone())
    }
}

impl Node {
    fn parse(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }
}

/// By the key of a command, which is its first argument, or of a script the first of its keys.
fn slot_of(command: &Cmd) -> u16 {
    let argument = |at| {
        command.args_iter().nth(at).and_then(|argument| match argument {
            Arg::Simple(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    };
    let key = argument(if argument(0) == Some("EVALSHA") { 3 } else { 1 });
    slot_of_key(key.unwrap_or_default())
}

fn slot_count(ranges: &Ranges) -> u32 {
    ranges.iter().map(|(&last, &(first, _))| u32::from(last.saturating_sub(first)) + 1).sum()
}

fn no_answer() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "a node of the cluster does not answer")
        .into()
}

fn no_node() -> RedisError {
    (ErrorKind::ClusterConnectionNotFound, "no node of the cluster is known to have the slot")
        .into()
}

/// The error that says that a command was certainly not run, and may be at another time or place.
fn not_run(answer: &Value) -> Option<RedisError> {
    let error = match answer {
        Value::ServerError(error) => RedisError::from(error.clone()),
        _ => return None,
    };
    let ErrorKind::Server(kind) = error.kind() else { return None };
    let is_not_run = matches!(
        kind,
        ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
    );
    is_not_run.then_some(error)
}
