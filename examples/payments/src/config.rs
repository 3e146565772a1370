//! What an instance is told by its environment.

use std::fmt;
use std::time::Duration;

use kv_runtime::{RedisSettings, Settings};

use crate::model::Processor;

/// How many partitions the queue has: few, because an instance has a fraction of a core.
const PARTITIONS: u16 = 8;

/// Long enough that what becomes of a payment is mostly one change by the time it is drained.
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);

/// How an instance stores and delivers payments.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, as `host:port`.
    pub listen: String,
    /// Whether payments go to Redis and PostgreSQL; else they stay in this process.
    pub database_storage: bool,
    /// Whether the processors' health is shared through Redis; else each instance asks by itself.
    pub redis_health_monitoring: bool,
    /// Whether payments that were processed are kept in Redis for an hour under both their ids.
    pub redis_session_cache: bool,
    /// The two servers; of no use to an instance whose flags are all off.
    pub settings: Settings,
    /// Where the processors are.
    pub processors: Processors,
    /// How a payment is delivered.
    pub delivery: DeliverySettings,
}

/// The addresses of the processors, as `http://host:port`.
#[derive(Debug, Clone)]
pub struct Processors {
    /// That of the one with the lower fee.
    pub default_url: String,
    /// That of the other one.
    pub fallback_url: String,
}

impl Processors {
    /// The address of one of them.
    pub fn url(&self, processor: Processor) -> &str {
        match processor {
            Processor::Default => &self.default_url,
            Processor::Fallback => &self.fallback_url,
        }
    }
}

/// How payments are delivered.
#[derive(Debug, Clone, Copy)]
pub struct DeliverySettings {
    /// How many are on their way to processors at once. Default 512.
    pub in_flight: usize,
    /// How far apart two of them begin at the least, so that those which had to wait do not crowd
    /// out new ones. Default 2 ms.
    pub pace: Duration,
    /// How long a processor may take to answer. Default 10 s.
    pub timeout: Duration,
    /// A processor that takes longer is slow, and another one is preferred. Default 1.2 s.
    pub slow: Duration,
    /// How long an instance is left alone with a payment; longer than `timeout`. Default 15 s.
    pub lease: Duration,
    /// How long a payment rests whose processor did not take it. Default 1 s.
    pub retry: Duration,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            in_flight: 512,
            pace: Duration::from_millis(2),
            timeout: Duration::from_secs(10),
            slow: Duration::from_millis(1_200),
            lease: Duration::from_secs(15),
            retry: Duration::from_secs(1),
        }
    }
}

/// A variable of the environment that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it; never its value, which may be a password.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

type Lookup<'a> = &'a dyn Fn(&'static str) -> Option<String>;

impl Config {
    /// All flags off: everything in this process, but for the processors.
    pub fn in_memory(processors: Processors) -> Self {
        let mut settings = Settings::in_memory();
        settings.partitions = PARTITIONS;
        Self {
            listen: "127.0.0.1:0".to_owned(),
            database_storage: false,
            redis_health_monitoring: false,
            redis_session_cache: false,
            settings,
            processors,
            delivery: DeliverySettings::default(),
        }
    }

    /// All flags on, with these servers.
    pub fn on_servers(redis_url: &str, database_url: &str, processors: Processors) -> Self {
        let mut settings = Settings::new(redis_url, database_url);
        settings.partitions = PARTITIONS;
        settings.drain.interval = DRAIN_INTERVAL;
        Self {
            database_storage: true,
            redis_health_monitoring: true,
            redis_session_cache: true,
            settings,
            ..Self::in_memory(processors)
        }
    }

    /// Reads `USE_DATABASE_STORAGE`, `USE_REDIS_HEALTH_MONITORING` and `USE_REDIS_SESSION_CACHE`
    /// (`true` or `false`, all off by default); `DATABASE_URL`, `DATABASE_MAX_CONNECTIONS` (25),
    /// `DATABASE_CONN_TIMEOUT` (`30s`), `REDIS_URL`, `REDIS_DB` (0), `REDIS_PASSWORD` and
    /// `REDIS_CONN_TIMEOUT` (`5s`), of which a flag that is on needs the URLs; and `LISTEN`
    /// (`0.0.0.0:9999`), `PROCESSOR_DEFAULT_URL`, `PROCESSOR_FALLBACK_URL`, `PROCESSOR_TIMEOUT`
    /// (`10s`), `PROCESSOR_SLOW` (`1200ms`), `PAYMENT_LEASE` (`15s`) and `TENANT`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed, by name.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// The same from any other place that knows variables by their names.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_lookup(lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let text = |name| lookup(name).map(|text| text.trim().to_owned()).filter(|t| !t.is_empty());
        let database_storage = flag(lookup, "USE_DATABASE_STORAGE")?;
        let redis_health_monitoring = flag(lookup, "USE_REDIS_HEALTH_MONITORING")?;
        let redis_session_cache = flag(lookup, "USE_REDIS_SESSION_CACHE")?;
        let needs_redis = database_storage || redis_health_monitoring || redis_session_cache;
        let processors = Processors {
            default_url: required(lookup, "PROCESSOR_DEFAULT_URL", "http://localhost:8001")?,
            fallback_url: required(lookup, "PROCESSOR_FALLBACK_URL", "http://localhost:8002")?,
        };
        let mut config = match needs_redis {
            false => Self::in_memory(processors),
            true => {
                let redis = required(lookup, "REDIS_URL", "redis://localhost:6379")?;
                let database = match database_storage {
                    true => required(lookup, "DATABASE_URL", "postgres://user@localhost/app")?,
                    false => String::new(),
                };
                Self::on_servers(&redis, &database, processors)
            }
        };
        config.database_storage = database_storage;
        config.redis_health_monitoring = redis_health_monitoring;
        config.redis_session_cache = redis_session_cache;
        config.listen = text("LISTEN").unwrap_or_else(|| "0.0.0.0:9999".to_owned());
        config.settings.tenant = text("TENANT");
        let postgres = &mut config.settings.postgres;
        postgres.max_connections = number(lookup, "DATABASE_MAX_CONNECTIONS", 25)?;
        postgres.checkout_timeout =
            duration(lookup, "DATABASE_CONN_TIMEOUT", Duration::from_secs(30))?;
        read_redis(&mut config.settings.redis, lookup)?;
        let delivery = &mut config.delivery;
        delivery.timeout = duration(lookup, "PROCESSOR_TIMEOUT", delivery.timeout)?;
        delivery.slow = duration(lookup, "PROCESSOR_SLOW", delivery.slow)?;
        delivery.lease = duration(lookup, "PAYMENT_LEASE", delivery.lease)?;
        if delivery.lease <= delivery.timeout {
            return Err(problem("PAYMENT_LEASE", "must be longer than `PROCESSOR_TIMEOUT`"));
        }
        config.settings.check().map_err(|error| {
            let variable = match error.setting.starts_with("redis") {
                true => "REDIS_URL",
                false => "DATABASE_URL",
            };
            problem(variable, error.problem)
        })?;
        Ok(config)
    }
}

/// The address may name a database by itself; the variable is for one that does not.
fn read_redis(redis: &mut RedisSettings, lookup: Lookup<'_>) -> Result<(), ConfigError> {
    let database: u16 = number(lookup, "REDIS_DB", 0)?;
    if database > 0 {
        let url = redis.url.expose().trim_end_matches('/');
        redis.url = format!("{url}/{database}").as_str().into();
    }
    redis.password = lookup("REDIS_PASSWORD").filter(|word| !word.is_empty()).map(Into::into);
    redis.connect_timeout = duration(lookup, "REDIS_CONN_TIMEOUT", Duration::from_secs(5))?;
    Ok(())
}

fn problem(variable: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError { variable, problem: problem.into() }
}

fn required(
    lookup: Lookup<'_>,
    variable: &'static str,
    example: &str,
) -> Result<String, ConfigError> {
    let text = lookup(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.ok_or_else(|| problem(variable, format!("is not set; it should be like `{example}`")))
}

fn flag(lookup: Lookup<'_>, variable: &'static str) -> Result<bool, ConfigError> {
    match lookup(variable).as_deref().map(str::trim) {
        None | Some("" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(problem(variable, "should be `true` or `false`")),
    }
}

fn number<T: std::str::FromStr>(
    lookup: Lookup<'_>,
    variable: &'static str,
    default: T,
) -> Result<T, ConfigError> {
    match lookup(variable).as_deref().map(str::trim) {
        None | Some("") => Ok(default),
        Some(text) => text.parse().map_err(|_| problem(variable, "is not a number in range")),
    }
}

fn duration(
    lookup: Lookup<'_>,
    variable: &'static str,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(text) = lookup(variable).filter(|text| !text.trim().is_empty()) else {
        return Ok(default);
    };
    let text = text.trim();
    let (digits, of): (&str, fn(u64) -> Duration) =
        match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(digits), _) => (digits, Duration::from_millis),
            (None, Some(digits)) => (digits, Duration::from_secs),
            (None, None) => (text, Duration::from_secs),
        };
    match digits.parse() {
        Ok(number) if number > 0 => Ok(of(number)),
        _ => Err(problem(variable, "should be a time such as `30s` or `500ms`")),
    }
}
