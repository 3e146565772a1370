//! The connections to Redis.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ServerUrl, SettingsError, set};

/// The connections to Redis: those of the hot side, and those of the handle
/// ([`redis`](crate::redis)).
///
/// ```
/// # use kv_runtime::RedisSettings;
/// let mut settings = RedisSettings::at("cache.internal", 6380);
/// settings.username = Some("app".to_owned());
/// settings.password = Some("a word".into());
/// settings.check()?;
/// # Ok::<(), kv_runtime::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisSettings {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://…` for TLS, which takes the
    /// feature `redis-tls`. Default `redis://localhost:6379`.
    pub url: ServerUrl,
    /// Some nodes of a Redis Cluster, each in the form of `url`; any one that is up is enough to find
    /// the others. Where there are nodes, `url` is not looked at. Default none.
    pub cluster_nodes: Vec<ServerUrl>,
    /// Who logs in, instead of who the address names. Default `None`.
    pub username: Option<String>,
    /// The password, instead of that of the address. Default `None`.
    pub password: Option<Secret>,
    /// A file with the certificates (PEM) that a `rediss://` server's has to be signed by, instead
    /// of those that the system trusts. Default `None`.
    pub ca_file: Option<PathBuf>,
    /// How many multiplexed connections, to each node of a cluster. Each serves any number of
    /// callers. Default 2.
    pub connections: usize,
    /// How long a connection may take to come up. Default 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take. Default 2 s.
    pub command_timeout: Duration,
    /// How often it is tried again to connect before those that wait for the connection are told;
    /// the next command begins anew. Default 2.
    pub reconnect_retries: usize,
    /// The longest wait before the first of these tries. It doubles from one to the next, and each
    /// time a random part of it is waited. Default 50 ms.
    pub reconnect_delay_min: Duration,
    /// The longest wait between two of them. Default 1 s.
    pub reconnect_delay_max: Duration,
    /// How many commands of the handle may be on their way at once. What is more waits as long as
    /// an answer may take, and is then refused. Default 10,000.
    pub in_flight_max: usize,
    /// How long what the handle sets lives, unless the call says otherwise; `None` is for ever.
    /// Default 5 minutes.
    pub default_ttl: Option<Duration>,
    /// The same for hashes, whose time begins anew with each field that is set. Default 15 minutes.
    pub default_hash_ttl: Option<Duration>,
    /// How many entries of a stream the handle reads at once, unless the call says otherwise.
    /// Default 100.
    pub stream_read_count: usize,
    /// Whether the handle looks under the key without the tenant's prefix for what is not there with
    /// it: while a deployment moves to prefixes. Default `false`.
    pub fallback_to_unprefixed: bool,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self::new("redis://localhost:6379")
    }
}

impl RedisSettings {
    /// The defaults, with the server of this address.
    pub fn new(url: impl Into<ServerUrl>) -> Self {
        Self {
            url: url.into(),
            cluster_nodes: Vec::new(),
            username: None,
            password: None,
            ca_file: None,
            connections: 2,
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(2),
            reconnect_retries: 2,
            reconnect_delay_min: Duration::from_millis(50),
            reconnect_delay_max: Duration::from_secs(1),
            in_flight_max: 10_000,
            default_ttl: Some(Duration::from_secs(300)),
            default_hash_ttl: Some(Duration::from_secs(900)),
            stream_read_count: 100,
            fallback_to_unprefixed: false,
        }
    }

    /// The defaults, with the server of this host and port.
    pub fn at(host: &str, port: u16) -> Self {
        match host.parse::<Ipv6Addr>() {
            Ok(address) => Self::new(format!("redis://[{address}]:{port}")),
            Err(_) => Self::new(format!("redis://{host}:{port}")),
        }
    }

    /// Reads `REDIS_CLUSTER_NODES` (with commas between), `REDIS_URL`, or `REDIS_HOST` and
    /// `REDIS_PORT`: the first of them that is set is taken. Besides, where they are set,
    /// `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_CA_FILE`, `REDIS_CONNECTIONS`,
    /// `REDIS_CONNECT_TIMEOUT_MS`, `REDIS_COMMAND_TIMEOUT_MS`, `REDIS_RECONNECT_RETRIES`,
    /// `REDIS_RECONNECT_DELAY_MIN_MS`, `REDIS_RECONNECT_DELAY_MAX_MS`, `REDIS_IN_FLIGHT_MAX`,
    /// `REDIS_DEFAULT_TTL_S` and `REDIS_DEFAULT_HASH_TTL_S` (zero is for ever),
    /// `REDIS_STREAM_READ_COUNT` and `REDIS_FALLBACK_TO_UNPREFIXED` (`true` or `false`).
    ///
    /// # Errors
    /// The first variable that is missing or malformed, or the first setting that is out of its
    /// range, by name.
    pub fn from_env() -> Result<Self, SettingsError> {
        let settings = Self::from_lookup(&super::from_environment)?;
        settings.check()?;
        Ok(settings)
    }

    pub(super) fn from_lookup(
        lookup: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let text = |name| Ok(lookup(name)?.filter(|value| !value.is_empty()));
        let nodes = lookup("REDIS_CLUSTER_NODES")?.unwrap_or_default();
        let nodes = nodes.split(',').map(str::trim).filter(|node| !node.is_empty());
        let nodes: Vec<ServerUrl> = nodes.map(ServerUrl::from).collect();
        let mut settings = match (nodes.first(), text("REDIS_URL")?, text("REDIS_HOST")?) {
            (Some(node), _, _) => Self::new(node.clone()),
            (None, Some(url), _) => Self::new(url),
            (None, None, Some(host)) => {
                let mut port = 6379;
                set(&mut port, "REDIS_PORT", lookup)?;
                Self::at(&host, port)
            }
            (None, None, None) => {
                let problem = "is not set; it should be like `redis://localhost:6379`";
                return Err(SettingsError::new("REDIS_URL", problem));
            }
        };
        settings.cluster_nodes = nodes;
        settings.username = text("REDIS_USERNAME")?;
        settings.password = text("REDIS_PASSWORD")?.map(Secret::from);
        settings.ca_file = text("REDIS_CA_FILE")?.map(PathBuf::from);
        set(&mut settings.connections, "REDIS_CONNECTIONS", lookup)?;
        set(&mut settings.reconnect_retries, "REDIS_RECONNECT_RETRIES", lookup)?;
        set(&mut settings.in_flight_max, "REDIS_IN_FLIGHT_MAX", lookup)?;
        set(&mut settings.stream_read_count, "REDIS_STREAM_READ_COUNT", lookup)?;
        for (duration, name) in [
            (&mut settings.connect_timeout, "REDIS_CONNECT_TIMEOUT_MS"),
            (&mut settings.command_timeout, "REDIS_COMMAND_TIMEOUT_MS"),
            (&mut settings.reconnect_delay_min, "REDIS_RECONNECT_DELAY_MIN_MS"),
            (&mut settings.reconnect_delay_max, "REDIS_RECONNECT_DELAY_MAX_MS"),
        ] {
            let mut milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            set(&mut milliseconds, name, lookup)?;
            *duration = Duration::from_millis(milliseconds);
        }
        for (ttl, name) in [
            (&mut settings.default_ttl, "REDIS_DEFAULT_TTL_S"),
            (&mut settings.default_hash_ttl, "REDIS_DEFAULT_HASH_TTL_S"),
        ] {
            let mut seconds = ttl.unwrap_or_default().as_secs();
            set(&mut seconds, name, lookup)?;
            *ttl = (seconds > 0).then(|| Duration::from_secs(seconds));
        }
        if let Some(choice) = text("REDIS_FALLBACK_TO_UNPREFIXED")? {
            settings.fallback_to_unprefixed = choice.trim().parse().map_err(|_| {
                let problem = format!("is `{choice}`, but should be `true` or `false`");
                SettingsError::new("REDIS_FALLBACK_TO_UNPREFIXED", problem)
            })?;
        }
        Ok(settings)
    }

    /// Whether every value is in its range, and every address one that can be connected to.
    ///
    /// # Errors
    /// The first that is not, by name.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_no_time = |ttl: Option<Duration>| ttl.is_some_and(|ttl| ttl.as_millis() == 0);
        let rules = [
            (self.connections > 0, "redis.connections", "must be greater than zero"),
            (!self.connect_timeout.is_zero(), "redis.connect_timeout", "must be longer than zero"),
            (!self.command_timeout.is_zero(), "redis.command_timeout", "must be longer than zero"),
            (
                !self.reconnect_delay_min.is_zero(),
                "redis.reconnect_delay_min",
                "must be longer than zero",
            ),
            (
                self.reconnect_delay_max >= self.reconnect_delay_min,
                "redis.reconnect_delay_max",
                "must not be shorter than `redis.reconnect_delay_min`",
            ),
            (
                (1..=IN_FLIGHT_MAX).contains(&self.in_flight_max),
                "redis.in_flight_max",
                "must be from 1 to 1000000",
            ),
            (
                !is_no_time(self.default_ttl),
                "redis.default_ttl",
                "must be a millisecond at least; `None` is for ever",
            ),
            (
                !is_no_time(self.default_hash_ttl),
                "redis.default_hash_ttl",
                "must be a millisecond at least; `None` is for ever",
            ),
            (self.stream_read_count > 0, "redis.stream_read_count", "must be greater than zero"),
        ];
        for (holds, setting, problem) in rules {
            if !holds {
                return Err(SettingsError::new(setting, problem));
            }
        }
        self.check_addresses()
    }

    /// An empty `url` is that of the in-memory pair, which connects to nothing.
    fn check_addresses(&self) -> Result<(), SettingsError> {
        #[cfg(feature = "redis")]
        {
            let urls = self.cluster_nodes.iter().map(|node| (node, "redis.cluster_nodes"));
            let single = (&self.url, "redis.url");
            let single = (!self.is_cluster() && !self.url.expose().is_empty()).then_some(single);
            for (url, setting) in urls.chain(single) {
                if let Some(problem) = crate::redis::address_problem(url, self.ca_file.is_some()) {
                    return Err(SettingsError::new(setting, problem));
                }
            }
        }
        Ok(())
    }

    /// Whether the servers are a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.cluster_nodes.is_empty()
    }

    /// The addresses that are connected to first, without their passwords.
    pub(crate) fn address(&self) -> String {
        let nodes: Vec<String> = self.cluster_nodes.iter().map(ServerUrl::to_string).collect();
        if nodes.is_empty() { self.url.to_string() } else { nodes.join(", ") }
    }
}

/// So that the bound fits what counts it on any machine.
const IN_FLIGHT_MAX: usize = 1_000_000;

/// A word that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The word itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(word: T) -> Self {
        Self(word.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}
