//! What others change: Redis tells of every key that a cache of this process may have the row of.
//!
//! One connection to each server that has keys is told what these keys begin with (`CLIENT TRACKING` in
//! broadcasting mode), so that no writer has to tell, and no server to remember, who has read what.
//! What such a connection tells is told to the caches where it arrives. When it ends, they are told
//! there as well that anything may have changed, and once more when there is another: what changed in
//! between, nobody has told.

use std::collections::{HashMap, HashSet};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Cmd, PushInfo, PushKind, RedisError, Value};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::cluster::Node;
use super::connection::Connection;
use crate::notices::Notices;
use crate::settings::RedisSettings;

/// How often it is looked whether the connections answer, and whether they lead to all servers.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The connections of a pair and its tenants, once there is a cache.
#[derive(Debug)]
pub(super) struct Tracking {
    settings: RedisSettings,
    task: OnceLock<AbortHandle>,
}

impl Tracking {
    pub(super) fn new(settings: &RedisSettings) -> Self {
        Self { settings: settings.clone(), task: OnceLock::new() }
    }

    /// Begins to tell, by connections to the servers that this one leads to.
    pub(super) fn begin(&self, servers: &Connection, notices: &Notices) {
        self.task.get_or_init(|| {
            let tracker = Tracker {
                settings: self.settings.clone(),
                servers: servers.clone(),
                notices: notices.clone(),
                links: HashMap::new(),
                has_complained: false,
            };
            tokio::spawn(tracker.run()).abort_handle()
        });
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// Keeps the connections up.
struct Tracker {
    settings: RedisSettings,
    servers: Connection,
    notices: Notices,
    /// By the node of a cluster, or the one server.
    links: HashMap<Option<Node>, Link>,
    /// Whether it was logged that a server does not tell.
    has_complained: bool,
}

/// A connection that tells.
struct Link {
    connection: MultiplexedConnection,
    is_cut: Arc<AtomicBool>,
    /// What it was told that keys begin with. It is not told when a cache is gone: nobody listens then.
    prefixes: HashSet<Arc<str>>,
}

impl Link {
    fn is_up(&self) -> bool {
        !self.is_cut.load(Ordering::Acquire)
    }
}

impl Tracker {
    async fn run(mut self) {
        loop {
            let prefixes = self.notices.prefixes();
            if prefixes.is_empty() {
                self.links.clear();
                self.notices.news().await;
                continue;
            }
            if !self.look(&prefixes).await {
                // A connection that is lost again and again is news each time.
                tokio::time::sleep(self.settings.reconnect_delay_min).await;
            }
            // Without news it is looked again all the same.
            let _ = timeout(LOOK_EVERY, self.notices.news()).await;
        }
    }

    /// Looks after all connections: whether everything is told of these prefixes.
    async fn look(&mut self, prefixes: &[Arc<str>]) -> bool {
        let mut links = mem::take(&mut self.links);
        let (places, mut failure) = match self.places().await {
            Ok(places) => (places, None),
            // As long as nobody says otherwise.
            Err(error) => (links.keys().cloned().collect(), Some(error)),
        };
        let links_of_places: Vec<_> = places.iter().map(|place| links.remove(place)).collect();
        if !links.is_empty() {
            // Their servers have no keys any more: others have told of them, or will.
            self.notices.all_changed();
        }
        let kept = places.iter().zip(links_of_places);
        let kept = kept.map(async |(place, link)| {
            let was_up = link.as_ref().is_some_and(Link::is_up);
            let kept = self.keep(place.as_ref(), link, prefixes).await;
            if was_up && kept.is_err() {
                // At once, however long it takes to look after the others.
                self.notices.all_changed();
            }
            kept
        });
        let kept = join_all(kept).await;
        let mut anew = HashSet::new();
        for (place, kept) in places.into_iter().zip(kept) {
            match kept {
                Ok((link, prefixes)) => {
                    anew.extend(prefixes);
                    self.links.insert(place, link);
                }
                Err(error) => failure = Some(error),
            }
        }
        // What was read before is in no notice.
        anew.iter().for_each(|prefix| self.notices.all_changed_of(prefix));
        let is_told = failure.is_none();
        prefixes.iter().for_each(|prefix| self.notices.set_told(prefix, is_told));
        self.log(failure);
        is_told
    }

    /// The servers that have keys.
    async fn places(&self) -> Result<Vec<Option<Node>>, RedisError> {
        let places = timeout(self.settings.command_timeout, self.servers.places()).await;
        places.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    /// A connection that answers and tells of all prefixes, with those that it did not tell of before.
    async fn keep(
        &self,
        place: Option<&Node>,
        link: Option<Link>,
        prefixes: &[Arc<str>],
    ) -> Result<(Link, Vec<Arc<str>>), RedisError> {
        let mut link = match link.filter(Link::is_up) {
            Some(link) => link,
            None => self.connect(place).await?,
        };
        let new = prefixes.iter().filter(|prefix| !link.prefixes.contains(*prefix));
        let new: Vec<Arc<str>> = new.cloned().collect();
        let command = if new.is_empty() { redis::cmd("PING") } else { track(&new) };
        command.exec_async(&mut link.connection).await?;
        link.prefixes.extend(new.iter().cloned());
        Ok((link, new))
    }

    async fn connect(&self, place: Option<&Node>) -> Result<Link, RedisError> {
        let client = self.servers.open_pushing(&self.settings, place)?;
        let is_cut = Arc::new(AtomicBool::new(false));
        let (notices, cut) = (self.notices.clone(), Arc::clone(&is_cut));
        let pushed = move |push: PushInfo| {
            match push.kind {
                PushKind::Invalidate => tell(&notices, &push.data),
                PushKind::Disconnection => {
                    cut.store(true, Ordering::Release);
                    notices.lost();
                }
                _ => {}
            }
            Ok::<(), SendError>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.command_timeout))
            .set_push_sender(pushed);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Link { connection, is_cut, prefixes: HashSet::new() })
    }

    /// Says once that it is not told, and once that it is again.
    fn log(&mut self, failure: Option<RedisError>) {
        match failure {
            Some(error) if !self.has_complained => {
                tracing::warn!(
                    %error,
                    "Redis does not tell of changes; cached rows may be as old as their bound"
                );
                self.has_complained = true;
            }
            None if self.has_complained => {
                tracing::info!("Redis tells of changes again");
                self.has_complained = false;
            }
            _ => {}
        }
    }
}

fn track(prefixes: &[Arc<str>]) -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("BCAST");
    for prefix in prefixes {
        command.arg("PREFIX").arg(&**prefix);
    }
    command
}

/// Tells of the keys of a notice, or of all where there are none: the server was emptied.
fn tell(notices: &Notices, data: &[Value]) {
    let Some(Value::Array(keys)) = data.first() else { return notices.all_changed() };
    for key in keys {
        // What is no text is no key of a row.
        if let Value::BulkString(key) = key
            && let Ok(key) = std::str::from_utf8(key)
        {
            notices.changed(key);
        }
    }
}
