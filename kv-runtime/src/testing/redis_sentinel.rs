//! A private Redis that sentinels watch over.

use std::thread;
use std::time::{Duration, Instant};

use super::error::ServerError;
use super::redis::{RedisOptions, RedisServer};

/// The name of the service.
const SERVICE: &str = "kv-testing";
const SERVERS: usize = 3;
const SENTINELS: usize = 3;
/// How many of them have to say that the primary is gone.
const QUORUM: usize = 2;
/// How long the primary may be silent before a sentinel says so, and how long a failover may take
/// before the next is tried.
const SILENCE_MAX_MS: u32 = 1_500;
const FAILOVER_MAX_MS: u32 = 5_000;
/// How long all of them may take to know each other. Generous, as a loaded machine does other things
/// too.
const AGREEMENT_MAX: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// A private Redis with two replicas, and three sentinels that make one of these the primary when the
/// present one was away for one and a half seconds. Gone with its directories when dropped.
///
/// ```no_run
/// use kv_runtime::Settings;
/// use kv_runtime::testing::{RedisSentinel, servers};
///
/// # fn main() -> Result<(), kv_runtime::testing::ServerError> {
/// let mut redis = RedisSentinel::start()?;
/// let mut settings = Settings::new("redis://localhost", servers().create_database());
/// settings.redis.sentinel_nodes = redis.urls();
/// settings.redis.sentinel_service = Some(redis.service().to_owned());
///
/// let primary = redis.primary()?;
/// redis.servers_mut()[primary].kill()?;
/// let next = redis.await_other_primary(primary)?;
/// assert_ne!(next, primary);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisSentinel {
    /// The first one begins as the primary.
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// Starts servers with nothing in them, and their sentinels, on free ports of loopback.
    ///
    /// # Errors
    ///
    /// When the server can be neither found nor installed, does not start, or the sentinels do not
    /// find each other and the replicas.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&RedisOptions::new())
    }

    /// Starts servers with these options, and sentinels.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(options: &RedisOptions) -> Result<Self, ServerError> {
        let primary = RedisServer::start_with(options.clone())?;
        let port = primary.port();
        let mut servers = vec![primary];
        for _ in 1..SERVERS {
            let of = format!("127.0.0.1 {port}");
            let replica = options.clone().setting("replicaof", of);
            servers.push(RedisServer::start_with(replica)?);
        }
        let lines = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} {QUORUM}\n\
             sentinel down-after-milliseconds {SERVICE} {SILENCE_MAX_MS}\n\
             sentinel failover-timeout {SERVICE} {FAILOVER_MAX_MS}\n"
        );
        let sentinels = (0..SENTINELS).map(|_| RedisServer::start_sentinel(&lines));
        let redis = Self { servers, sentinels: sentinels.collect::<Result<_, _>>()? };
        redis.await_agreement()?;
        Ok(redis)
    }

    /// The URLs of the sentinels, as [`RedisSettings::sentinel_nodes`] takes them.
    ///
    /// [`RedisSettings::sentinel_nodes`]: crate::RedisSettings#structfield.sentinel_nodes
    #[must_use]
    pub fn urls<T: for<'a> From<&'a str>>(&self) -> Vec<T> {
        self.sentinels.iter().map(|sentinel| sentinel.url().into()).collect()
    }

    /// The name of the service, as `RedisSettings::sentinel_service` takes it.
    #[must_use]
    pub fn service(&self) -> &'static str {
        SERVICE
    }

    /// The servers: the one that was the primary at the start, then its replicas.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The same, to be killed and restarted.
    #[must_use]
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// The sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// The same, to be killed and restarted.
    #[must_use]
    pub fn sentinels_mut(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// Which of [`servers`](Self::servers) is the primary, as the sentinels say that answer.
    ///
    /// # Errors
    ///
    /// When they do not agree on one within a minute.
    pub fn primary(&self) -> Result<usize, ServerError> {
        self.await_primary(|_| true)
    }

    /// The same, once it is another one than `former`, and calls itself the primary.
    ///
    /// # Errors
    ///
    /// When there is none within a minute.
    pub fn await_other_primary(&self, former: usize) -> Result<usize, ServerError> {
        self.await_primary(|place| place != former)
    }

    /// Waits until all sentinels that answer know the replicas and each other, and the replicas have
    /// what the primary has.
    ///
    /// # Errors
    ///
    /// When they do not within a minute.
    pub fn await_agreement(&self) -> Result<(), ServerError> {
        let ask = format!("SENTINEL master {SERVICE}");
        let (replicas, others) = ((SERVERS - 1).to_string(), (SENTINELS - 1).to_string());
        self.wait(|redis| {
            let know_all = redis.sentinels.iter().all(|sentinel| {
                sentinel.ask(&ask).map_or(true, |answer| {
                    value_of(&answer, "num-slaves") == Some(&replicas)
                        && value_of(&answer, "num-other-sentinels") == Some(&others)
                        && value_of(&answer, "flags") == Some("master")
                })
            });
            let are_linked = redis.servers.iter().all(|server| {
                let info = server.ask("INFO replication").unwrap_or_default();
                info.contains("role:master") || info.contains("master_link_status:up")
            });
            (know_all && are_linked).then_some(())
        })
    }

    fn await_primary(&self, is_meant: impl Fn(usize) -> bool) -> Result<usize, ServerError> {
        let ask = format!("SENTINEL get-master-addr-by-name {SERVICE}");
        self.wait(|redis| {
            let answers = redis.sentinels.iter().filter_map(|sentinel| sentinel.ask(&ask).ok());
            let ports =
                answers.map(|answer| answer.lines().last().and_then(|port| port.parse().ok()));
            let ports: Vec<Option<u16>> = ports.collect();
            let port = ports.first().copied().flatten()?;
            let agree = ports.iter().all(|other| *other == Some(port));
            let place = redis.servers.iter().position(|server| server.port() == port)?;
            let role = redis.servers[place].ask("ROLE").unwrap_or_default();
            (agree && is_meant(place) && role.contains("master")).then_some(place)
        })
    }

    /// Waits until there is something.
    fn wait<T>(&self, find: impl Fn(&Self) -> Option<T>) -> Result<T, ServerError> {
        let deadline = Instant::now() + AGREEMENT_MAX;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(ServerError::NoPrimary { seconds: AGREEMENT_MAX.as_secs() });
            }
            thread::sleep(PROBE_INTERVAL);
        }
    }
}

/// What stands behind a name in a list of names and values, each below its length.
fn value_of<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.lines();
    lines.find(|line| *line == name)?;
    lines.nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_behind_its_name() {
        let answer = "*4\r\n$5\r\nflags\r\n$6\r\nmaster\r\n$10\r\nnum-slaves\r\n$1\r\n2";
        assert_eq!(value_of(answer, "flags"), Some("master"));
        assert_eq!(value_of(answer, "num-slaves"), Some("2"));
        assert_eq!(value_of(answer, "none"), None);
    }
}
