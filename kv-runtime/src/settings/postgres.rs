//! The choices about PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use super::environment::{set, set_duration};
use super::{ServerUrl, SettingsError};

/// The parameter of an address that says whether its connections are encrypted.
const SSL_MODE: &str = "sslmode";

/// PostgreSQL counts its time-outs in milliseconds of 31 bits.
const TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// The pool of connections to PostgreSQL.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// `postgres://[user[:password]@]host[:port]/database`
    ///
    /// `?sslmode=disable` is a plain connection, `require` and what is stronger one by TLS (see
    /// [`PostgresTls`]); without it `tls` says. `prefer` and `allow` are refused: they would be
    /// plain whenever somebody on the way wants them to.
    pub url: ServerUrl,
    /// The most connections that are open at a time. Default 32.
    pub max_connections: u32,
    /// How many connections are kept open though nobody uses them. Default 0.
    pub min_idle: u32,
    /// How old a connection becomes before it is closed and another one takes its place. Default
    /// 30 minutes.
    pub max_lifetime: Duration,
    /// How long a connection that nobody uses stays open. Default 10 minutes.
    pub idle_timeout: Duration,
    /// How long a caller waits for a connection. Default 5 s.
    pub checkout_timeout: Duration,
    /// How long a statement may take; zero is for ever. Default 30 s.
    pub statement_timeout: Duration,
    /// Whether connections are encrypted, and whose certificates are taken. Default
    /// [`PostgresTls::Off`].
    pub tls: PostgresTls,
    /// Replicas of the server, with the same database, which take turns to answer what is asked by
    /// [`Query::stored`](crate::Query::stored) and waits for no write. Default none.
    ///
    /// All else asks the primary. A row that is read by its id and not in Redis, too: it is put
    /// into Redis, where it would stay, and a replica may have it as it was before a change that
    /// was made by hand and followed by [`invalidate`](crate::Repository::invalidate), by a
    /// discarded dead letter, or past the queue; nothing that a replica has tells.
    ///
    /// Where none is up and near enough, the primary answers. One that has failed is let alone for
    /// five seconds.
    pub replicas: Vec<ServerUrl>,
    /// How far a replica that answers may be behind the primary at most. Default 1 s.
    ///
    /// It is told by the places of both in the primary's log, so that clocks do not matter and a
    /// replica that hears of the primary no more is noticed. `None` is no bound, and nobody looks:
    /// for replicas that are no standbys, such as those of logical replication.
    pub replica_max_lag: Option<Duration>,
    /// The schema of a tenant ([`Kv::tenant`](crate::Kv::tenant)), with `{}` where its name stands.
    /// Default `tenant_{}`.
    ///
    /// What stands beside the name keeps a tenant out of the schemas that are there for others: with
    /// `{}` alone, the names `public` and `information_schema`, and those that begin with `pg_`, are
    /// refused.
    pub tenant_schema: String,
}

/// Whether connections to PostgreSQL are encrypted, and whose certificates are taken.
///
/// All but [`Off`](Self::Off) need the feature `postgres-tls`. A connection that cannot be encrypted
/// then fails; it is never plain. The certificate has to be of the host that the address names.
///
/// ```
/// # use kv_runtime::{PostgresTls, Settings};
/// let mut settings = Settings::new("redis://localhost", "postgres://db.example/app");
/// settings.postgres.tls = PostgresTls::CaFile("/etc/ssl/db-ca.pem".into());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostgresTls {
    /// Plain, unless the address says `sslmode=require` or what is stronger: then it is
    /// [`SystemRoots`](Self::SystemRoots).
    #[default]
    Off,
    /// Certificates of those whom the system trusts.
    SystemRoots,
    /// Certificates of those in a file in PEM form, and of nobody else.
    CaFile(PathBuf),
    /// Anybody's certificate: encrypted, and open to whoever stands in between. For tests.
    Insecure,
}

impl PostgresSettings {
    pub(super) fn new(url: ServerUrl) -> Self {
        Self {
            url,
            max_connections: 32,
            min_idle: 0,
            max_lifetime: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(10 * 60),
            checkout_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            tls: PostgresTls::default(),
            replicas: Vec::new(),
            replica_max_lag: Some(Duration::from_secs(1)),
            tenant_schema: "tenant_{}".to_owned(),
        }
    }

    /// Reads what is set of it in the environment.
    pub(super) fn read(
        &mut self,
        lookup: impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    ) -> Result<(), SettingsError> {
        set(&mut self.max_connections, "DATABASE_MAX_CONNECTIONS", &lookup)?;
        set(&mut self.min_idle, "DATABASE_MIN_IDLE", &lookup)?;
        let (second, millisecond) = (Duration::from_secs, Duration::from_millis);
        set_duration(&mut self.max_lifetime, second, "DATABASE_MAX_LIFETIME_S", &lookup)?;
        set_duration(&mut self.idle_timeout, second, "DATABASE_IDLE_TIMEOUT_S", &lookup)?;
        let replicas = lookup("DATABASE_REPLICA_URLS")?.unwrap_or_default();
        self.replicas = replicas.split_whitespace().map(ServerUrl::from).collect();
        if lookup("DATABASE_REPLICA_MAX_LAG_MS")?.is_some_and(|text| text.trim() == "none") {
            self.replica_max_lag = None;
        } else if let Some(lag) = &mut self.replica_max_lag {
            set_duration(lag, millisecond, "DATABASE_REPLICA_MAX_LAG_MS", &lookup)?;
        }
        let checkout = "DATABASE_CHECKOUT_TIMEOUT_MS";
        set_duration(&mut self.checkout_timeout, millisecond, checkout, &lookup)?;
        let statement = "DATABASE_STATEMENT_TIMEOUT_MS";
        set_duration(&mut self.statement_timeout, millisecond, statement, &lookup)?;
        if let Some(template) = lookup("DATABASE_TENANT_SCHEMA")? {
            self.tenant_schema = template;
        }
        if let Some(name) = lookup("DATABASE_TLS")? {
            self.tls = match name.trim() {
                "off" => PostgresTls::Off,
                "system" => PostgresTls::SystemRoots,
                "insecure" => PostgresTls::Insecure,
                _ => {
                    let problem =
                        format!("is `{name}`, but should be `off`, `system` or `insecure`");
                    return Err(SettingsError::new("DATABASE_TLS", problem));
                }
            };
        }
        if let Some(path) = lookup("DATABASE_CA_FILE")?.filter(|path| !path.is_empty()) {
            if matches!(self.tls, PostgresTls::Insecure) {
                let problem = "is of no use where `DATABASE_TLS` is `insecure`; unset one of them";
                return Err(SettingsError::new("DATABASE_CA_FILE", problem));
            }
            self.tls = PostgresTls::CaFile(path.into());
        }
        Ok(())
    }

    /// Whether every value is in its range.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let rules = [
            (self.max_connections > 0, "postgres.max_connections", "must be greater than zero"),
            (
                self.min_idle <= self.max_connections,
                "postgres.min_idle",
                "must not be greater than `postgres.max_connections`",
            ),
            (!self.max_lifetime.is_zero(), "postgres.max_lifetime", "must be longer than zero"),
            (!self.idle_timeout.is_zero(), "postgres.idle_timeout", "must be longer than zero"),
            (
                !self.checkout_timeout.is_zero(),
                "postgres.checkout_timeout",
                "must be longer than zero",
            ),
            (
                self.statement_timeout <= TIMEOUT_MAX,
                "postgres.statement_timeout",
                "must not be longer than 24 days; zero is for ever",
            ),
            (
                self.replica_max_lag != Some(Duration::ZERO),
                "postgres.replica_max_lag",
                "must be longer than zero; `None` is no bound",
            ),
            (
                self.replicas.iter().all(|url| !url.expose().is_empty()),
                "postgres.replicas",
                "must have no empty address",
            ),
            (
                self.tenant_schema.matches("{}").count() == 1,
                "postgres.tenant_schema",
                "must have `{}` once, where a tenant's name stands",
            ),
        ];
        for (holds, setting, problem) in rules {
            if !holds {
                return Err(SettingsError::new(setting, problem));
            }
        }
        self.tls_of("postgres.url", &self.url)?;
        for url in &self.replicas {
            self.tls_of("postgres.replicas", url)?;
        }
        Ok(())
    }

    /// How connections to this address are encrypted, after what it says of that itself.
    pub(crate) fn tls_of(
        &self,
        setting: &'static str,
        url: &ServerUrl,
    ) -> Result<PostgresTls, SettingsError> {
        let refused = |problem: String| Err(SettingsError::new(setting, problem));
        for name in ["sslrootcert", "sslcert", "sslkey", "sslnegotiation"] {
            if url.parameter(name).is_some() {
                let problem = format!(
                    "has `{name}`, which is not understood; `postgres.tls` says whose \
                     certificates are taken"
                );
                return refused(problem);
            }
        }
        let address = url.expose();
        let is_url = ["postgres://", "postgresql://"].iter().any(|it| address.starts_with(it));
        // In memory there is none.
        if !address.is_empty() && !is_url {
            return refused("should be like `postgres://user@localhost/database`".to_owned());
        }
        let mode = url.parameter(SSL_MODE);
        let tls = match (mode.as_deref(), &self.tls) {
            (None, tls) => tls.clone(),
            (Some("disable"), PostgresTls::Off) => PostgresTls::Off,
            (Some("require" | "verify-ca" | "verify-full"), PostgresTls::Off) => {
                PostgresTls::SystemRoots
            }
            (Some("verify-ca" | "verify-full"), PostgresTls::Insecure) | (Some("disable"), _) => {
                return refused(format!(
                    "has a `{SSL_MODE}` that contradicts `postgres.tls`; leave it out"
                ));
            }
            (Some("require" | "verify-ca" | "verify-full"), tls) => tls.clone(),
            (Some(_), _) => {
                return refused(format!(
                    "has a `{SSL_MODE}` that may come to a plain connection or is not known; use \
                     `disable`, `require` or `verify-full`"
                ));
            }
        };
        if tls != PostgresTls::Off && !cfg!(feature = "postgres-tls") {
            let asker = if self.tls == PostgresTls::Off { setting } else { "postgres.tls" };
            let problem = "asks for TLS, which takes the feature `postgres-tls` of `kv-runtime`";
            return Err(SettingsError::new(asker, problem));
        }
        Ok(tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str, tls: PostgresTls) -> Result<PostgresTls, SettingsError> {
        let settings = PostgresSettings { tls, ..PostgresSettings::new(url.into()) };
        settings.check()?;
        settings.tls_of("postgres.url", &settings.url)
    }

    #[test]
    fn values_out_of_range_are_named() {
        type Change = fn(&mut PostgresSettings);
        let changes: [(&str, Change); 11] = [
            ("postgres.tenant_schema", |it| it.tenant_schema = "app".to_owned()),
            ("postgres.tenant_schema", |it| it.tenant_schema = "{}_{}".to_owned()),
            ("postgres.max_connections", |it| it.max_connections = 0),
            ("postgres.min_idle", |it| it.min_idle = 33),
            ("postgres.max_lifetime", |it| it.max_lifetime = Duration::ZERO),
            ("postgres.idle_timeout", |it| it.idle_timeout = Duration::ZERO),
            ("postgres.checkout_timeout", |it| it.checkout_timeout = Duration::ZERO),
            ("postgres.replica_max_lag", |it| it.replica_max_lag = Some(Duration::ZERO)),
            ("postgres.replicas", |it| it.replicas = vec!["".into()]),
            ("postgres.replicas", |it| {
                it.replicas = vec!["postgres://localhost/app?sslmode=prefer".into()];
            }),
            ("postgres.statement_timeout", |it| it.statement_timeout = Duration::MAX),
        ];
        for (setting, change) in changes {
            let mut settings = PostgresSettings::new("postgres://localhost/app".into());
            settings.check().expect("the defaults are in range");
            change(&mut settings);
            assert_eq!(settings.check().expect_err(setting).setting, setting);
        }
    }

    #[test]
    fn an_address_that_may_come_to_a_plain_connection_is_refused() {
        for mode in ["prefer", "allow", "required", ""] {
            let url = format!("postgres://u:secret@localhost/app?sslmode={mode}");
            let error = with_url(&url, PostgresTls::Off).expect_err(mode);
            assert_eq!(error.setting, "postgres.url", "{mode}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for url in ["host=localhost sslmode=prefer", "mysql://localhost/app"] {
            let error = with_url(url, PostgresTls::Off).expect_err(url);
            assert!(error.problem.contains("postgres://"), "{error}");
        }
        let file = "postgres://localhost/app?application_name=a&sslrootcert=ca.pem";
        let error = with_url(file, PostgresTls::Off).expect_err("a file");
        assert!(error.problem.contains("`sslrootcert`"), "{error}");
    }

    #[test]
    fn an_address_may_not_contradict_the_settings() {
        let disabled = "postgres://localhost/app?sslmode=disable";
        assert_eq!(with_url(disabled, PostgresTls::Off), Ok(PostgresTls::Off));
        for (mode, tls) in
            [("disable", PostgresTls::SystemRoots), ("verify-full", PostgresTls::Insecure)]
        {
            let url = format!("postgres://localhost/app?sslmode={mode}");
            let error = with_url(&url, tls).expect_err(mode);
            assert!(error.problem.contains("contradicts"), "{error}");
        }
    }

    #[cfg(feature = "postgres-tls")]
    #[test]
    fn an_address_can_ask_for_tls() {
        let file = PostgresTls::CaFile("ca.pem".into());
        for (mode, tls, expected) in [
            ("require", PostgresTls::Off, PostgresTls::SystemRoots),
            ("verify-ca", PostgresTls::Off, PostgresTls::SystemRoots),
            ("verify%2Dfull", PostgresTls::Off, PostgresTls::SystemRoots),
            ("require", PostgresTls::Insecure, PostgresTls::Insecure),
            ("verify-full", file.clone(), file),
        ] {
            let url = format!("postgresql://u:p?w@localhost/app?connect_timeout=1&sslmode={mode}");
            assert_eq!(with_url(&url, tls), Ok(expected), "{mode}");
        }
    }

    #[cfg(not(feature = "postgres-tls"))]
    #[test]
    fn without_the_feature_tls_is_refused() {
        let url = "postgres://localhost/app?sslmode=require";
        let error = with_url(url, PostgresTls::Off).expect_err("no TLS");
        assert_eq!(error.setting, "postgres.url");
        let error = with_url("postgres://localhost/app", PostgresTls::SystemRoots);
        assert_eq!(error.expect_err("no TLS").setting, "postgres.tls");
    }
}
