//! What the service can be told when it starts.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use kv_runtime::{Settings, SettingsError, StorageScheme};

use crate::client::ClientSettings;

/// What the rows are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageMode {
    /// In this process: mocks.
    Memory,
    /// In PostgreSQL, which acknowledges every write.
    Postgres,
    /// In Redis, and a moment later in PostgreSQL.
    Redis,
}

/// How the service is built.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the rows are kept in.
    pub mode: StorageMode,
    /// The servers; in memory nobody asks for them.
    pub settings: Settings,
    /// Whether the tables are made where they are not there.
    pub makes_tables: bool,
    /// What is put in front of the storage.
    pub client: ClientSettings,
}

/// A variable that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// One of the service's own.
    #[error("`{variable}` is `{text}`, and should be {expected}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it is.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// One of the runtime's.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Config {
    /// Everything in this process.
    pub fn mocks() -> Self {
        Self::new(StorageMode::Memory, Settings::in_memory())
    }

    /// This mode on these servers.
    pub fn new(mode: StorageMode, mut settings: Settings) -> Self {
        if mode == StorageMode::Postgres {
            settings.scheme = StorageScheme::PostgresOnly;
        }
        Self { mode, settings, makes_tables: true, client: ClientSettings::default() }
    }

    /// Reads `STORAGE_MODE` (`memory`, `postgres` or, by default, `redis`),
    /// `STORAGE_MAKES_TABLES` (`true` or `false`), `STORAGE_PAGE_LIMIT`, `STORAGE_CACHE_TTL_MS` and
    /// `STORAGE_CACHE_ROWS`; and the variables of [`Settings::from_env`], unless all is in memory.
    ///
    /// # Errors
    /// The first variable that is missing or malformed, by name.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|variable| std::env::var(variable).ok())
    }

    /// The same from other sources.
    ///
    /// # Errors
    /// Those of [`from_env`](Self::from_env).
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mode = parse(&lookup, "STORAGE_MODE", "`memory`, `postgres` or `redis`")?;
        let mode = mode.unwrap_or(StorageMode::Redis);
        let scheme =
            (mode == StorageMode::Postgres).then(|| StorageScheme::PostgresOnly.to_string());
        // So that it asks for no Redis.
        let variable = |name: &str| match name {
            "KV_SCHEME" => scheme.clone().or_else(|| lookup(name)),
            _ => lookup(name),
        };
        let mut config = match mode {
            StorageMode::Memory => Self::mocks(),
            mode => Self::new(mode, Settings::from_variables(variable)?),
        };
        let makes_tables = parse(&lookup, "STORAGE_MAKES_TABLES", "`true` or `false`")?;
        config.makes_tables = makes_tables.unwrap_or(config.makes_tables);
        let client = &mut config.client;
        let limit: Option<NonZeroU64> = parse(&lookup, "STORAGE_PAGE_LIMIT", "a number above 0")?;
        client.page_limit = limit.unwrap_or(client.page_limit);
        let ttl = parse(&lookup, "STORAGE_CACHE_TTL_MS", "a number of milliseconds")?;
        client.cache_ttl = ttl.map_or(client.cache_ttl, Duration::from_millis);
        let rows = parse(&lookup, "STORAGE_CACHE_ROWS", "a number of rows")?;
        client.cache_rows = rows.unwrap_or(client.cache_rows);
        Ok(config)
    }
}

impl FromStr for StorageMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "memory" => Ok(Self::Memory),
            "postgres" => Ok(Self::Postgres),
            "redis" => Ok(Self::Redis),
            _ => Err(()),
        }
    }
}

/// A variable's value; `None` if it is not set.
fn parse<T: FromStr>(
    lookup: impl Fn(&str) -> Option<String>,
    variable: &'static str,
    expected: &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(text) = lookup(variable) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(ConfigError::Variable { variable, text, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: (&str, &str) = ("REDIS_URL", "redis://localhost");
    const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://localhost/app");

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_variable_is_read_or_named() {
        let config = read(&[REDIS, DATABASE]).expect("the defaults");
        assert_eq!((config.mode, config.makes_tables), (StorageMode::Redis, true));
        assert_eq!(config.settings.scheme, StorageScheme::WriteBehind);
        assert_eq!(config.client, ClientSettings::default());
        let config = read(&[
            DATABASE,
            ("STORAGE_MODE", "postgres"),
            ("STORAGE_MAKES_TABLES", "false"),
            ("STORAGE_PAGE_LIMIT", "7"),
            ("STORAGE_CACHE_TTL_MS", "250"),
            ("STORAGE_CACHE_ROWS", "0"),
        ]);
        let config = config.expect("valid variables");
        assert_eq!((config.mode, config.makes_tables), (StorageMode::Postgres, false));
        assert_eq!(config.settings.scheme, StorageScheme::PostgresOnly);
        assert_eq!(config.client.page_limit.get(), 7);
        assert_eq!(config.client.cache_ttl, Duration::from_millis(250));
        assert_eq!(config.client.cache_rows, 0);
        for (name, text) in [
            ("STORAGE_MODE", "sqlite"),
            ("STORAGE_MAKES_TABLES", "yes"),
            ("STORAGE_PAGE_LIMIT", "0"),
            ("STORAGE_CACHE_TTL_MS", "1s"),
            ("STORAGE_CACHE_ROWS", "-1"),
        ] {
            let error = read(&[REDIS, DATABASE, (name, text)]).expect_err(name);
            assert!(matches!(error, ConfigError::Variable { variable, .. } if variable == name));
        }
    }

    #[test]
    fn each_mode_needs_its_own_servers() {
        let modes = ["memory", "postgres", "redis"].map(|mode| ("STORAGE_MODE", mode));
        assert_eq!(read(&modes[..1]).expect("none is needed").mode, StorageMode::Memory);
        for (mode, given, missing) in [
            (modes[1], REDIS, "DATABASE_URL"),
            (modes[2], REDIS, "DATABASE_URL"),
            (modes[2], DATABASE, "REDIS_URL"),
        ] {
            let error = read(&[mode, given]).expect_err(missing);
            assert!(matches!(error, ConfigError::Settings(error) if error.setting == missing));
        }
    }
}
