//! A private Redis Cluster.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::error::ServerError;
use super::redis::{RedisOptions, RedisServer};

const MASTERS: usize = 3;
const SLOTS: usize = 16_384;
/// How long the nodes may take to agree. Generous, as a loaded machine does other things too.
const AGREEMENT_MAX: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// A private Redis Cluster of six nodes: three masters, which share the slots evenly, and a replica
/// of each. Gone with its directories when dropped.
///
/// ```no_run
/// use kv_runtime::Settings;
/// use kv_runtime::testing::{RedisCluster, servers};
///
/// # fn main() -> Result<(), kv_runtime::testing::ServerError> {
/// let cluster = RedisCluster::start()?;
/// let mut settings = Settings::new("", servers().create_database());
/// settings.redis.cluster_nodes = cluster.urls();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters first, then a replica of each in the same order.
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts a cluster with nothing in it, on free ports of loopback.
    ///
    /// # Errors
    ///
    /// When the server can be neither found nor installed, does not start, or the nodes do not agree.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&RedisOptions::new())
    }

    /// Starts a cluster whose nodes have these options.
    ///
    /// A replica takes over when its master was away for `cluster-node-timeout` milliseconds, 5,000
    /// unless the options say otherwise.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(options: &RedisOptions) -> Result<Self, ServerError> {
        let start = || RedisServer::start_with(options.clone().of_cluster());
        let nodes: Vec<RedisServer> =
            (0..MASTERS * 2).map(|_| start()).collect::<Result<_, _>>()?;
        let cluster = Self { nodes };
        cluster.form()?;
        Ok(cluster)
    }

    /// The URLs of all nodes, as [`RedisSettings::cluster_nodes`] takes them.
    ///
    /// [`RedisSettings::cluster_nodes`]: crate::RedisSettings#structfield.cluster_nodes
    #[must_use]
    pub fn urls<T: for<'a> From<&'a str>>(&self) -> Vec<T> {
        self.nodes.iter().map(|node| node.url().into()).collect()
    }

    /// The nodes: those that were masters at the start, then a replica of each in the same order.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The same, to be killed and restarted.
    #[must_use]
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Waits until all nodes that answer say that every slot has a master.
    ///
    /// # Errors
    ///
    /// When they do not agree on that within a minute.
    pub fn await_agreement(&self) -> Result<(), ServerError> {
        self.wait(|node| match node.ask("CLUSTER INFO") {
            Ok(info) => info.contains("cluster_state:ok"),
            Err(_) => true,
        })
    }

    /// Moves a slot with all of its keys from one node to another, by their places in
    /// [`nodes`](Self::nodes), as `redis-cli --cluster reshard` does: while it is on its way, clients
    /// are asked to ask elsewhere. In the end all nodes that answer know who has it.
    ///
    /// # Errors
    ///
    /// When a node refuses a step, or they do not agree within a minute.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        const KEYS_AT_ONCE: usize = 10;
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let (from_id, to_id) = (from.ask("CLUSTER MYID")?, to.ask("CLUSTER MYID")?);
        to.ask(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"))?;
        from.ask(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"))?;
        loop {
            let keys = from.ask(&format!("CLUSTER GETKEYSINSLOT {slot} {KEYS_AT_ONCE}"))?;
            // Lengths and texts in turn.
            let keys = keys.lines().filter(|line| !line.starts_with(['*', '$']));
            let keys: Vec<String> = keys.map(quoted).collect();
            if keys.is_empty() {
                break;
            }
            let port = to.port();
            let keys = keys.join(" ");
            from.ask(&format!("MIGRATE 127.0.0.1 {port} \"\" 0 5000 KEYS {keys}"))?;
        }
        // The new owner first: then nobody is without one in between.
        let assign = format!("CLUSTER SETSLOT {slot} NODE {to_id}");
        to.ask(&assign)?;
        from.ask(&assign)?;
        for node in &self.nodes {
            // One that is down, or a replica, hears of it from the others.
            let _ = node.ask(&assign);
        }
        // A next owner that has not heard of this one could claim the slot by the same epoch, which
        // the others would not believe.
        self.wait(|node| match node.ask("CLUSTER NODES") {
            Ok(nodes) => nodes.lines().any(|line| line.starts_with(&to_id) && has_slot(line, slot)),
            Err(_) => true,
        })
    }

    fn form(&self) -> Result<(), ServerError> {
        let (masters, replicas) = self.nodes.split_at(MASTERS);
        let first = masters[0].port();
        for (at, node) in self.nodes.iter().enumerate() {
            node.ask(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1))?;
            if at > 0 {
                node.ask(&format!("CLUSTER MEET 127.0.0.1 {first}"))?;
            }
        }
        for (at, master) in masters.iter().enumerate() {
            let mut command = "CLUSTER ADDSLOTS".to_owned();
            for slot in at * SLOTS / MASTERS..(at + 1) * SLOTS / MASTERS {
                // A text takes everything.
                let _ = write!(command, " {slot}");
            }
            master.ask(&command)?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        self.wait(|node| node.ask("CLUSTER INFO").is_ok_and(|info| info.contains(&known)))?;
        for (master, replica) in masters.iter().zip(replicas) {
            let id = master.ask("CLUSTER MYID")?;
            replica.ask(&format!("CLUSTER REPLICATE {id}"))?;
        }
        self.await_agreement()?;
        self.wait(|node| {
            let info = node.ask("INFO replication").unwrap_or_default();
            info.contains("connected_slaves:1") || info.contains("master_link_status:up")
        })
    }

    /// Waits until a condition holds of every node.
    fn wait(&self, holds: impl Fn(&RedisServer) -> bool) -> Result<(), ServerError> {
        let deadline = Instant::now() + AGREEMENT_MAX;
        while !self.nodes.iter().all(&holds) {
            if Instant::now() >= deadline {
                return Err(ServerError::NoAgreement { seconds: AGREEMENT_MAX.as_secs() });
            }
            thread::sleep(PROBE_INTERVAL);
        }
        Ok(())
    }
}

/// Whether a node has a slot, by its line of `CLUSTER NODES`: behind eight words come its slots, each
/// as `<first>-<last>` or by itself.
fn has_slot(line: &str, slot: u16) -> bool {
    line.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
        first.is_ok_and(|first| first <= slot) && last.is_ok_and(|last| slot <= last)
    })
}

/// As an inline command takes it.
fn quoted(key: &str) -> String {
    format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_from_a_line() {
        let line = "e7d1 127.0.0.1:7001@17001 master - 0 0 7 connected 5-9 12 [13->-a0]";
        let slots = (0..20).filter(|&slot| has_slot(line, slot));
        assert!(slots.eq([5, 6, 7, 8, 9, 12]));
    }
}
