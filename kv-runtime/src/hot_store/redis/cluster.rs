//! The nodes of a Redis Cluster: each command goes to the one that has its slot.
//!
//! The client knows which node that is, and finds out when it is another one. It could also ask
//! again by itself, but does that after a cut as well, when nobody knows whether a command was run:
//! so here it only tells, and what was certainly not run is asked again.

use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Arg, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::time::Instant;

/// The pauses before a command is asked again whose slot is on its way from node to node.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Connections to all nodes.
#[derive(Clone)]
pub(super) struct Cluster {
    nodes: ClusterConnection,
    /// How long a command may be asked again.
    patience: Duration,
}

/// A node that has slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    host: String,
    port: u16,
}

impl Cluster {
    pub(super) fn new(nodes: ClusterConnection, patience: Duration) -> Self {
        Self { nodes, patience }
    }

    /// Sends a command to the node of its key.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let route = route_of(command);
        let deadline = Instant::now() + self.patience;
        let mut pause = PAUSE_MIN;
        let mut answer = self.send_to(command, route.clone()).await;
        while let Some(refusal) = not_run(&answer) {
            if Instant::now() >= deadline {
                break;
            }
            answer = match refusal.redirect_node().map(|(address, _)| Node::parse(address)) {
                Some(Some(node)) if refusal.kind() == ServerErrorKind::Ask.into() => {
                    self.ask(command, node).await
                }
                _ => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    self.send_to(command, route.clone()).await
                }
            };
        }
        answer
    }

    /// Sends commands to the node of a key, in one round trip.
    pub(super) async fn send_together(
        &self,
        pipeline: &Pipeline,
        key: &str,
    ) -> Result<Vec<Value>, RedisError> {
        let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
        self.nodes.clone().route_pipeline(pipeline.clone(), 0, pipeline.len(), route).await
    }

    /// Sends a command to one node, whatever its key.
    pub(super) async fn send_to_node(
        &self,
        command: &Cmd,
        node: &Node,
    ) -> Result<Value, RedisError> {
        self.send_to(command, node.route()).await
    }

    /// The nodes that have slots.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, RedisError> {
        let mut slots = Cmd::new();
        slots.arg("CLUSTER").arg("SLOTS");
        let answer = self.send_to(&slots, SingleNodeRoutingInfo::Random).await?;
        let mut nodes: Vec<Node> = Vec::new();
        for range in items(&answer)? {
            // Behind the range's ends the master comes first, with host and port.
            let master = items(range)?.get(2).map(items).transpose()?.unwrap_or_default();
            let [host, port, ..] = master else { continue };
            let host = redis::from_redis_value_ref(host)?;
            let node = Node { host, port: redis::from_redis_value_ref(port)? };
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        Ok(nodes)
    }

    /// The slot is on its way to this node, which has the key already.
    async fn ask(&self, command: &Cmd, node: Node) -> Result<Value, RedisError> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING");
        pipeline.add_command(command.clone());
        let nodes = &mut self.nodes.clone();
        let mut answers = nodes.route_pipeline(pipeline, 0, 2, node.route()).await?;
        Ok(answers.pop().unwrap_or(Value::Nil))
    }

    async fn send_to(
        &self,
        command: &Cmd,
        route: SingleNodeRoutingInfo,
    ) -> Result<Value, RedisError> {
        self.nodes.clone().route_command(command.clone(), RoutingInfo::SingleNode(route)).await
    }
}

impl Node {
    fn parse(address: &str) -> Option<Self> {
        let (host, port) = address.rsplit_once(':')?;
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    fn route(&self) -> SingleNodeRoutingInfo {
        SingleNodeRoutingInfo::ByAddress { host: self.host.clone(), port: self.port }
    }
}

fn items(answer: &Value) -> Result<&[Value], RedisError> {
    match answer {
        Value::Array(items) => Ok(items),
        Value::ServerError(error) => Err(error.clone().into()),
        _ => Err((ErrorKind::UnexpectedReturnType, "not the form of CLUSTER SLOTS").into()),
    }
}

/// By the key of a command, which is its first argument, or of a script the first of its keys.
fn route_of(command: &Cmd) -> SingleNodeRoutingInfo {
    let argument = |at| {
        command.args_iter().nth(at).and_then(|argument| match argument {
            Arg::Simple(bytes) => Some(bytes),
            _ => None,
        })
    };
    let is_script = argument(0).is_some_and(|name| name == b"EVALSHA");
    let key = argument(if is_script { 3 } else { 1 }).unwrap_or_default();
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

/// The error that says that a command was certainly not run, and may be at another time or place.
fn not_run(answer: &Result<Value, RedisError>) -> Option<RedisError> {
    let error = match answer {
        Err(error) => error.clone(),
        Ok(Value::ServerError(error)) => RedisError::from(error.clone()),
        Ok(_) => return None,
    };
    let is_not_run = match error.kind() {
        ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::BusyLoading
        ),
        _ => false,
    };
    is_not_run.then_some(error)
}
