//! A balancer: it hands each connection to the next of some servers.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A balancer at work. It ends when it is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Balancer {
    /// Listens at `listen`, and hands connections to the servers in turn, each a `host:port`.
    ///
    /// # Errors
    /// Where it cannot listen there, or there are no servers.
    pub async fn start(listen: &str, servers: Vec<String>) -> Result<Self> {
        ensure!(!servers.is_empty(), "a balancer needs servers");
        let listener = TcpListener::bind(listen).await;
        let listener = listener.with_context(|| format!("cannot listen at {listen}"))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(hand_out(listener, servers));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it listens, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn hand_out(listener: TcpListener, servers: Vec<String>) {
    // The connections end with it.
    let mut connections = JoinSet::new();
    for first in 0.. {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let order: Vec<String> = servers
            .iter()
            .cycle()
            .skip(first % servers.len())
            .take(servers.len())
            .cloned()
            .collect();
        connections.spawn(async move {
            let Some(mut server) = connect(&order).await else { return };
            let _ = client.set_nodelay(true);
            // One of them has gone, which the other one learns.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// The first server that takes a connection.
async fn connect(servers: &[String]) -> Option<TcpStream> {
    for server in servers {
        if let Ok(stream) = TcpStream::connect(server).await {
            let _ = stream.set_nodelay(true);
            return Some(stream);
        }
    }
    None
}
