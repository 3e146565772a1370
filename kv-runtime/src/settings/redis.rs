//! The connections to Redis.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::{from_environment, set};
use super::{Secret, ServerUrl, SettingsError};

/// The variable that is missing where none names a server.
pub(super) const URL_VARIABLE: &str = "REDIS_URL";

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
    /// Some nodes of a Redis Cluster, each in the form of `url`; any one that is up is enough to
    /// find the others. Where there are nodes, `url` is not looked at. Default none.
    pub cluster_nodes: Vec<ServerUrl>,
    /// Some of the sentinels that watch over a service, each in the form of `url` and with its port,
    /// which mostly is 26379; one that is up is enough. Where there are any, they say which server
    /// is the primary, which is connected to, also after a failover; of `url`, all but host and
    /// port counts. Default none.
    ///
    /// ```
    /// # use kv_runtime::RedisSettings;
    /// let mut settings = RedisSettings::default();
    /// settings.sentinel_nodes = vec!["redis://a:26379".into(), "redis://b:26379".into()];
    /// settings.sentinel_service = Some("orders".to_owned());
    /// settings.check()?;
    /// # Ok::<(), kv_runtime::SettingsError>(())
    /// ```
    pub sentinel_nodes: Vec<ServerUrl>,
    /// The service whose primary is asked for: the name that `sentinel monitor` gives it. Default
    /// `None`.
    pub sentinel_service: Option<String>,
    /// Who logs in to the sentinels, instead of who their addresses name. Default `None`.
    pub sentinel_username: Option<String>,
    /// The password for the sentinels, instead of those of their addresses. Default `None`.
    pub sentinel_password: Option<Secret>,
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
    /// Whether the handle looks under the key without the tenant's prefix for what is not there
    /// with it: while a deployment moves to prefixes. Default `false`.
    ///
    /// It reads there, and deletes there as well. It writes under the prefix alone: what was
    /// written with a time to live hides the old value only until that is over.
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
            sentinel_nodes: Vec::new(),
            sentinel_service: None,
            sentinel_username: None,
            sentinel_password: None,
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
    /// `REDIS_PORT`: the first of them that is set is taken. With `REDIS_SENTINEL_NODES` (with commas
    /// between) none of them has to be. Besides, where they are set, `REDIS_SENTINEL_SERVICE`,
    /// `REDIS_SENTINEL_USERNAME`, `REDIS_SENTINEL_PASSWORD`, `REDIS_USERNAME`, `REDIS_PASSWORD`,
    /// `REDIS_CA_FILE`, `REDIS_CONNECTIONS`, `REDIS_CONNECT_TIMEOUT_MS`, `REDIS_COMMAND_TIMEOUT_MS`,
    /// `REDIS_RECONNECT_RETRIES`, `REDIS_RECONNECT_DELAY_MIN_MS`, `REDIS_RECONNECT_DELAY_MAX_MS`,
    /// `REDIS_IN_FLIGHT_MAX`, `REDIS_DEFAULT_TTL_S` and `REDIS_DEFAULT_HASH_TTL_S` (zero is for ever),
    /// `REDIS_STREAM_READ_COUNT` and `REDIS_FALLBACK_TO_UNPREFIXED` (`true` or `false`).
    ///
    /// # Errors
    /// The first variable that is missing or malformed, or the first setting that is out of its
    /// range, by name.
    pub fn from_env() -> Result<Self, SettingsError> {
        let settings = Self::from_lookup(&from_environment)?;
        settings.check()?;
        Ok(settings)
    }

    pub(super) fn from_lookup(
        lookup: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let text = |name| Ok(lookup(name)?.filter(|value| !value.is_empty()));
        let list = |name| -> Result<Vec<ServerUrl>, SettingsError> {
            let nodes = lookup(name)?.unwrap_or_default();
            let nodes = nodes.split(',').map(str::trim).filter(|node| !node.is_empty());
            Ok(nodes.map(ServerUrl::from).collect())
        };
        let (nodes, sentinels) = (list("REDIS_CLUSTER_NODES")?, list("REDIS_SENTINEL_NODES")?);
        let mut settings = match (nodes.first(), text(URL_VARIABLE)?, text("REDIS_HOST")?) {
            (Some(node), _, _) => Self::new(node.clone()),
            (None, Some(url), _) => Self::new(url),
            (None, None, Some(host)) => {
                let mut port = 6379;
                set(&mut port, "REDIS_PORT", lookup)?;
                Self::at(&host, port)
            }
            (None, None, None) if !sentinels.is_empty() => Self::default(),
            (None, None, None) => {
                let problem = "is not set; it should be like `redis://localhost:6379`";
                return Err(SettingsError::new(URL_VARIABLE, problem));
            }
        };
        settings.cluster_nodes = nodes;
        settings.sentinel_nodes = sentinels;
        settings.sentinel_service = text("REDIS_SENTINEL_SERVICE")?;
        settings.sentinel_username = text("REDIS_SENTINEL_USERNAME")?;
        settings.sentinel_password = text("REDIS_SENTINEL_PASSWORD")?.map(Secret::from);
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
        let has_service = self.sentinel_service.as_ref().is_some_and(|name| !name.is_empty());
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
            (
                !(self.is_cluster() && self.has_sentinels()),
                "redis.sentinel_nodes",
                "must be empty where `redis.cluster_nodes` is not; a cluster needs no sentinels",
            ),
            (
                !self.has_sentinels() || has_service,
                "redis.sentinel_service",
                "must be the name that `sentinel monitor` gives the service",
            ),
            (
                self.has_sentinels() || !has_service,
                "redis.sentinel_nodes",
                "must name the sentinels of `redis.sentinel_service`",
            ),
        ];
        for (holds, setting, problem) in rules {
            if !holds {
                return Err(SettingsError::new(setting, problem));
            }
        }
        self.check_addresses()
    }

    /// An empty `url` is that of a pair without Redis.
    fn check_addresses(&self) -> Result<(), SettingsError> {
        #[cfg(feature = "redis")]
        {
            let urls = self.cluster_nodes.iter().map(|node| (node, "redis.cluster_nodes"));
            let single = (&self.url, "redis.url");
            let is_used = self.has_sentinels() || !self.url.expose().is_empty();
            let single = (!self.is_cluster() && is_used).then_some(single);
            let has_ca_file = self.ca_file.is_some();
            let urls = urls.chain(single).map(|(url, setting)| (url, setting, has_ca_file));
            // Sentinels may be asked in the clear where the servers are not.
            let sentinels = self.sentinel_nodes.iter();
            let sentinels = sentinels.map(|node| (node, "redis.sentinel_nodes", false));
            for (url, setting, has_ca_file) in urls.chain(sentinels) {
                if let Some(problem) = crate::redis::client::address_problem(url, has_ca_file) {
                    return Err(SettingsError::new(setting, problem));
                }
            }
        }
        Ok(())
    }

    /// Whether there is an address at all.
    pub(crate) fn names_server(&self) -> bool {
        self.is_cluster() || self.has_sentinels() || !self.url.expose().is_empty()
    }

    /// Whether the servers are a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.cluster_nodes.is_empty()
    }

    /// Whether sentinels say which server is the primary.
    pub(crate) fn has_sentinels(&self) -> bool {
        !self.sentinel_nodes.is_empty()
    }

    /// The addresses that are connected to first, without their passwords.
    pub(crate) fn address(&self) -> String {
        let nodes = self.cluster_nodes.iter().chain(&self.sentinel_nodes);
        let nodes: Vec<String> = nodes.map(ServerUrl::to_string).collect();
        if nodes.is_empty() { self.url.to_string() } else { nodes.join(", ") }
    }
}

/// So that the bound fits what counts it on any machine.
const IN_FLIGHT_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&'static str, &str)]) -> Result<RedisSettings, SettingsError> {
        let settings = RedisSettings::from_lookup(&|name| {
            Ok(variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        })?;
        settings.check()?;
        Ok(settings)
    }

    const URL: (&str, &str) = ("REDIS_URL", "redis://localhost");

    #[test]
    fn the_defaults_are_a_server_on_this_machine() {
        let settings = RedisSettings::default();
        assert_eq!(settings.url.expose(), "redis://localhost:6379");
        assert_eq!(settings.check(), Ok(()));
        let of = |host| RedisSettings::at(host, 6380).url.expose().to_owned();
        assert_eq!(of("cache.internal"), "redis://cache.internal:6380");
        assert_eq!(of("::1"), "redis://[::1]:6380");
    }

    #[test]
    fn a_server_is_given_by_nodes_address_or_host() {
        let error = from(&[]).expect_err("nothing is set");
        assert_eq!(error.setting, "REDIS_URL");
        assert_eq!(from(&[("REDIS_URL", "")]).expect_err("it is empty").setting, "REDIS_URL");
        let host = [("REDIS_HOST", "cache"), ("REDIS_PORT", "6380")];
        assert_eq!(from(&host).expect("valid").address(), "redis://cache:6380");
        assert_eq!(from(&host[..1]).expect("valid").address(), "redis://cache:6379");
        let both = [URL, host[0], host[1]];
        assert_eq!(from(&both).expect("valid").address(), "redis://localhost");
        let nodes = [URL, ("REDIS_CLUSTER_NODES", "redis://one, redis://two")];
        assert_eq!(from(&nodes).expect("valid").address(), "redis://one, redis://two");
    }

    #[test]
    fn sentinels_are_named_with_their_service_and_without_a_cluster() {
        let nodes = ("REDIS_SENTINEL_NODES", "redis://one:26379,redis://:secret@two:26379");
        let service = ("REDIS_SENTINEL_SERVICE", "orders");
        let settings = from(&[nodes, service]).expect("no address of a server is needed");
        assert!(settings.has_sentinels());
        assert_eq!(settings.address(), "redis://one:26379, redis://***@two:26379");
        for (variables, setting) in [
            (&[nodes][..], "redis.sentinel_service"),
            (&[URL, service], "redis.sentinel_nodes"),
            (&[nodes, service, ("REDIS_CLUSTER_NODES", "redis://a")], "redis.sentinel_nodes"),
            #[cfg(feature = "redis")]
            (&[service, ("REDIS_SENTINEL_NODES", "one:26379")], "redis.sentinel_nodes"),
        ] {
            assert_eq!(from(variables).expect_err(setting).setting, setting, "{variables:?}");
        }
    }

    #[test]
    fn each_setting_has_a_variable() {
        let settings = from(&[
            URL,
            ("REDIS_USERNAME", "app"),
            ("REDIS_PASSWORD", "secret"),
            ("REDIS_CONNECTIONS", "3"),
            ("REDIS_CONNECT_TIMEOUT_MS", "4"),
            ("REDIS_COMMAND_TIMEOUT_MS", "5"),
            ("REDIS_RECONNECT_RETRIES", "6"),
            ("REDIS_RECONNECT_DELAY_MIN_MS", "7"),
            ("REDIS_RECONNECT_DELAY_MAX_MS", "8"),
            ("REDIS_IN_FLIGHT_MAX", "9"),
            ("REDIS_DEFAULT_TTL_S", "10"),
            ("REDIS_DEFAULT_HASH_TTL_S", "0"),
            ("REDIS_STREAM_READ_COUNT", "11"),
            ("REDIS_FALLBACK_TO_UNPREFIXED", "true"),
            ("REDIS_SENTINEL_NODES", "redis://one:26379, redis://two:26379"),
            ("REDIS_SENTINEL_SERVICE", "orders"),
            ("REDIS_SENTINEL_USERNAME", "asker"),
            ("REDIS_SENTINEL_PASSWORD", "word"),
        ])
        .expect("valid settings");
        let mut expected = RedisSettings::new("redis://localhost");
        expected.sentinel_nodes = vec!["redis://one:26379".into(), "redis://two:26379".into()];
        expected.sentinel_service = Some("orders".to_owned());
        expected.sentinel_username = Some("asker".to_owned());
        expected.sentinel_password = Some("word".into());
        expected.username = Some("app".to_owned());
        expected.password = Some("secret".into());
        expected.connections = 3;
        expected.connect_timeout = Duration::from_millis(4);
        expected.command_timeout = Duration::from_millis(5);
        expected.reconnect_retries = 6;
        expected.reconnect_delay_min = Duration::from_millis(7);
        expected.reconnect_delay_max = Duration::from_millis(8);
        expected.in_flight_max = 9;
        expected.default_ttl = Some(Duration::from_secs(10));
        expected.default_hash_ttl = None;
        expected.stream_read_count = 11;
        expected.fallback_to_unprefixed = true;
        assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
        let password = settings.password.expect("it is set");
        assert_eq!((password.expose(), format!("{password:?}")), ("secret", "\"***\"".to_owned()));
    }

    #[test]
    fn what_is_malformed_or_out_of_range_is_named() {
        for (variable, value, setting) in [
            ("REDIS_CONNECTIONS", "many", "REDIS_CONNECTIONS"),
            ("REDIS_CONNECTIONS", "0", "redis.connections"),
            ("REDIS_CONNECT_TIMEOUT_MS", "1s", "REDIS_CONNECT_TIMEOUT_MS"),
            ("REDIS_CONNECT_TIMEOUT_MS", "0", "redis.connect_timeout"),
            ("REDIS_COMMAND_TIMEOUT_MS", "-1", "REDIS_COMMAND_TIMEOUT_MS"),
            ("REDIS_COMMAND_TIMEOUT_MS", "0", "redis.command_timeout"),
            ("REDIS_RECONNECT_RETRIES", "", "REDIS_RECONNECT_RETRIES"),
            ("REDIS_RECONNECT_DELAY_MIN_MS", "0", "redis.reconnect_delay_min"),
            ("REDIS_RECONNECT_DELAY_MAX_MS", "1", "redis.reconnect_delay_max"),
            ("REDIS_IN_FLIGHT_MAX", "0", "redis.in_flight_max"),
            ("REDIS_IN_FLIGHT_MAX", "1000001", "redis.in_flight_max"),
            ("REDIS_DEFAULT_TTL_S", "soon", "REDIS_DEFAULT_TTL_S"),
            ("REDIS_STREAM_READ_COUNT", "0", "redis.stream_read_count"),
            ("REDIS_FALLBACK_TO_UNPREFIXED", "1", "REDIS_FALLBACK_TO_UNPREFIXED"),
        ] {
            let error = from(&[URL, (variable, value)]).expect_err(variable);
            assert_eq!(error.setting, setting, "{variable} = `{value}`");
        }
        let port = [("REDIS_HOST", "cache"), ("REDIS_PORT", "66000")];
        assert_eq!(from(&port).expect_err("no such port").setting, "REDIS_PORT");
        let mut settings =
            RedisSettings { default_ttl: Some(Duration::ZERO), ..Default::default() };
        assert_eq!(settings.check().expect_err("no time").setting, "redis.default_ttl");
        settings.default_ttl = None;
        settings.default_hash_ttl = Some(Duration::from_nanos(1));
        assert_eq!(settings.check().expect_err("no time").setting, "redis.default_hash_ttl");
    }

    #[cfg(feature = "redis")]
    #[test]
    fn an_address_that_cannot_be_connected_to_is_named_without_its_secret() {
        for url in [
            "localhost:6379",
            "http://u:secret@host",
            "redis://:secret@host:port",
            "redis://:secret@host/database",
            "redis://",
            "secret",
        ] {
            let error = from(&[("REDIS_URL", url)]).expect_err(url);
            assert_eq!(error.setting, "redis.url", "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
            let error = from(&[("REDIS_CLUSTER_NODES", url)]).expect_err(url);
            assert_eq!(error.setting, "redis.cluster_nodes", "{url}");
        }
        let plain = from(&[URL, ("REDIS_CA_FILE", "ca.pem")]).expect_err("not by TLS");
        assert!(plain.to_string().contains("rediss://"), "{plain}");
        let encrypted = from(&[("REDIS_URL", "rediss://host"), ("REDIS_CA_FILE", "ca.pem")]);
        if cfg!(feature = "redis-tls") {
            assert_eq!(encrypted.expect("valid").ca_file, Some(PathBuf::from("ca.pem")));
        } else {
            let error = encrypted.expect_err("it takes a feature");
            assert!(error.to_string().contains("feature `redis-tls`"), "{error}");
        }
    }
}
