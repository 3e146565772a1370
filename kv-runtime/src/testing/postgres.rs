//! A private PostgreSQL cluster.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::ServerError;
use super::install::{self, PostgresPrograms};
use super::process::{ServerProcess, ServiceUser, last_lines, start_on_free_port};
use super::watcher::{Signal, remove_postgres_variables};

const DATABASE: &str = "kv";
const CERTIFICATE: &str = "server.crt";
const KEY: &str = "server.key";
const NAME_LENGTH_MAX: usize = 63;

/// What a server shows of itself by TLS.
#[derive(Debug, Clone)]
struct Identity {
    certificate: String,
    key: String,
}

/// How a [`PostgresServer`] is set up.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    fsync: bool,
    tls: Option<Identity>,
    settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// The defaults: quick, and safe against a crash of the server but not of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether commits wait for the disk, as they do in production; for benchmarks.
    #[must_use]
    pub fn fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }

    /// Has the server take connections by TLS, beside plain ones, with a certificate and its key,
    /// both in PEM form.
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls = Some(Identity { certificate: certificate.into(), key: key.into() });
        self
    }

    /// Adds a line to `postgresql.conf`, for example `("wal_level", "logical")`.
    ///
    /// A later line wins over an earlier one and over the defaults.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}

/// A private PostgreSQL cluster, gone with its directory when dropped.
///
/// Its database and its superuser are both `kv`; loopback needs no password.
#[derive(Debug)]
pub struct PostgresServer {
    process: ServerProcess,
    psql: PathBuf,
    data_directory: PathBuf,
    port: u16,
    url: String,
}

impl PostgresServer {
    /// Makes a cluster and starts it on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When PostgreSQL can be neither found nor installed, or does not start.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(PostgresOptions::new())
    }

    /// Makes a cluster with these options and starts it.
    ///
    /// # Errors
    ///
    /// When PostgreSQL can be neither found nor installed, or does not start.
    pub fn start_with(options: PostgresOptions) -> Result<Self, ServerError> {
        let programs = install::postgres_programs()?;
        let user = ServiceUser::unless_unprivileged()?;
        start_on_free_port(|port| Self::start_on(port, &options, &programs, user))
    }

    fn start_on(
        port: u16,
        options: &PostgresOptions,
        programs: &PostgresPrograms,
        user: Option<ServiceUser>,
    ) -> Result<Self, ServerError> {
        let mut process = ServerProcess::prepare("postgres", Signal::Quit, user)?;
        let data_directory = process.directory().join("data");
        make_cluster(&mut process, &programs.initdb, &data_directory)?;
        append_configuration(&data_directory, &configuration_text(port, options))?;
        if let Some(identity) = &options.tls {
            write_identity(&data_directory, identity, user)
                .map_err(ServerError::io("write the certificate of PostgreSQL"))?;
        }
        let arguments = vec![OsString::from("-D"), data_directory.clone().into()];
        process.start(&programs.postgres, arguments, |_| {
            is_ready(&programs.psql, port, &data_directory)
        })?;
        let url = create_database(&programs.psql, &maintenance_url(port), DATABASE)?;
        Ok(Self { process, psql: programs.psql.clone(), data_directory, port, url })
    }

    /// Starts a standby of this server, which follows it by streaming replication and answers
    /// queries.
    ///
    /// # Errors
    ///
    /// When this server is down, or the standby does not start.
    pub fn start_standby(&self) -> Result<Self, ServerError> {
        let programs = install::postgres_programs()?;
        let user = ServiceUser::unless_unprivileged()?;
        start_on_free_port(|port| self.start_standby_on(port, &programs, user))
    }

    fn start_standby_on(
        &self,
        port: u16,
        programs: &PostgresPrograms,
        user: Option<ServiceUser>,
    ) -> Result<Self, ServerError> {
        let mut process = ServerProcess::prepare("postgres", Signal::Quit, user)?;
        let data_directory = process.directory().join("data");
        let primary = format!("--dbname={}", maintenance_url(self.port));
        let mut arguments: Vec<OsString> =
            ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-password", &primary]
                .map(OsString::from)
                .to_vec();
        arguments.push("--pgdata".into());
        arguments.push(data_directory.clone().into());
        process.run(&programs.initdb.with_file_name("pg_basebackup"), arguments)?;
        // A later line wins.
        append_configuration(&data_directory, &format!("port = '{port}'\n"))?;
        let arguments = vec![OsString::from("-D"), data_directory.clone().into()];
        process.start(&programs.postgres, arguments, |_| {
            is_ready(&programs.psql, port, &data_directory)
        })?;
        let url = format!("postgres://kv@127.0.0.1:{port}/{DATABASE}");
        Ok(Self { process, psql: programs.psql.clone(), data_directory, port, url })
    }

    /// The URL of the database `kv`, the same after a restart.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of the server, the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Creates an empty database and answers its URL.
    ///
    /// # Errors
    ///
    /// When the name is not made of lower-case letters, digits and underscores, the database is
    /// there already, or the server is down.
    pub fn create_database(&self, name: &str) -> Result<String, ServerError> {
        create_database(&self.psql, &maintenance_url(self.port), name)
    }

    /// Stops the server at once, without a checkpoint; the next start recovers from the log.
    ///
    /// # Errors
    ///
    /// When the process that watches over the server is gone.
    pub fn stop_immediate(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::Quit)
    }

    /// Kills the server by SIGKILL, as a crash would, and waits until it is gone.
    ///
    /// The processes that serve its clients notice it a moment later, each by itself.
    ///
    /// # Errors
    ///
    /// When the process that watches over the server is gone.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.process.stop(Signal::Kill)
    }

    /// Starts the server again on the same port and data, and stops it in good order first if it
    /// runs.
    ///
    /// # Errors
    ///
    /// When the server does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        let (psql, port, data_directory) = (&self.psql, self.port, &self.data_directory);
        self.process.restart(Signal::Interrupt, |_| is_ready(psql, port, data_directory))
    }
}

impl Drop for PostgresServer {
    /// A killed PostgreSQL leaves a small shared memory segment, which its next start would
    /// remove. There is none, so this does it, if it can.
    fn drop(&mut self) {
        let Ok(lock_file) = fs::read_to_string(self.data_directory.join("postmaster.pid")) else {
            return;
        };
        if self.process.is_running() {
            return;
        }
        if let Some(segment) = shared_memory_segment(&lock_file) {
            let _ = Command::new("ipcrm").args(["-m", segment]).stderr(Stdio::null()).status();
        }
    }
}

/// The seventh line of `postmaster.pid` has the key and the id of the segment.
fn shared_memory_segment(lock_file: &str) -> Option<&str> {
    lock_file.lines().nth(6)?.split_whitespace().nth(1)
}

fn make_cluster(
    process: &mut ServerProcess,
    initdb: &Path,
    data_directory: &Path,
) -> Result<(), ServerError> {
    let arguments = |locale: &str| {
        let options = ["--auth=trust", "--username=kv", "--no-sync", "--encoding=UTF8"];
        let mut arguments: Vec<OsString> = options.map(OsString::from).to_vec();
        arguments.push(format!("--locale={locale}").into());
        arguments.push("--pgdata".into());
        arguments.push(data_directory.into());
        arguments
    };
    match process.run(initdb, arguments("C.UTF-8")) {
        // Not every system has it; initdb has removed what it made.
        Err(ServerError::Exited { log, .. }) if log.contains("locale") => {
            process.run(initdb, arguments("C"))
        }
        result => result,
    }
}

fn append_configuration(data_directory: &Path, text: &str) -> Result<(), ServerError> {
    OpenOptions::new()
        .append(true)
        .open(data_directory.join("postgresql.conf"))
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(ServerError::io("write the configuration of PostgreSQL"))
}

/// The server reads its key only where nobody else can.
fn write_identity(
    data_directory: &Path,
    identity: &Identity,
    user: Option<ServiceUser>,
) -> io::Result<()> {
    for (name, text) in [(CERTIFICATE, &identity.certificate), (KEY, &identity.key)] {
        let path = data_directory.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        if let Some(user) = user {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    Ok(())
}

fn configuration_text(port: u16, options: &PostgresOptions) -> String {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        // The path of a socket may be too long in a temporary directory.
        ("unix_socket_directories", String::new()),
        ("max_connections", "200".to_owned()),
    ];
    if !options.fsync {
        // Not synchronous_commit: a server that is killed would lose what it has acknowledged,
        // and without fsync there is next to nothing to wait for.
        settings.push(("fsync", "off".to_owned()));
        settings.push(("full_page_writes", "off".to_owned()));
        // It would look again and again into each of hundreds of small databases.
        settings.push(("autovacuum", "off".to_owned()));
    }
    if options.tls.is_some() {
        settings.push(("ssl", "on".to_owned()));
        settings.push(("ssl_cert_file", CERTIFICATE.to_owned()));
        settings.push(("ssl_key_file", KEY.to_owned()));
    }
    let given = options.settings.iter();
    settings.extend(given.map(|(name, value)| (name.as_str(), value.clone())));
    settings
        .iter()
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
        .collect()
}

fn maintenance_url(port: u16) -> String {
    format!("postgres://kv@127.0.0.1:{port}/postgres")
}

/// Whether the server answers, and is the one of this directory: on a port that was taken in the
/// meantime, another test's server would answer just as well.
fn is_ready(psql: &Path, port: u16, data_directory: &Path) -> bool {
    run_sql(psql, &maintenance_url(port), "SHOW data_directory")
        .is_ok_and(|answer| Path::new(&answer) == data_directory)
}

/// Creates a database on the server that `url` names and answers the new one's URL.
pub(super) fn create_database(psql: &Path, url: &str, name: &str) -> Result<String, ServerError> {
    if !is_plain_name(name) {
        return Err(ServerError::DatabaseName { name: name.to_owned() });
    }
    let new_url = with_database(url, name).ok_or(ServerError::DatabaseUrl)?;
    run_sql(psql, url, &format!("CREATE DATABASE \"{name}\""))?;
    Ok(new_url)
}

fn is_plain_name(name: &str) -> bool {
    name.len() <= NAME_LENGTH_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn with_database(url: &str, name: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (location, query) = match rest.split_once('?') {
        Some((location, query)) => (location, format!("?{query}")),
        None => (rest, String::new()),
    };
    let host = location.split('/').next()?;
    Some(format!("{scheme}://{host}/{name}{query}"))
}

fn run_sql(psql: &Path, url: &str, sql: &str) -> Result<String, ServerError> {
    let mut command = Command::new(psql);
    remove_postgres_variables(&mut command);
    let output = command
        .env("PGCONNECT_TIMEOUT", "5")
        .args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"])
        .args(["--command", sql, "--dbname", url])
        .stdin(Stdio::null())
        .output()
        .map_err(ServerError::io("run psql"))?;
    if !output.status.success() {
        return Err(ServerError::Psql {
            output: last_lines(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_keeps_all_but_the_database() {
        let url = "postgres://me:secret@db.example:5433/prod?sslmode=require";
        let expected = "postgres://me:secret@db.example:5433/kv_1?sslmode=require";
        assert_eq!(with_database(url, "kv_1").as_deref(), Some(expected));
        let bare = with_database("postgresql://localhost", "kv_1");
        assert_eq!(bare.as_deref(), Some("postgresql://localhost/kv_1"));
        assert_eq!(with_database("host=localhost", "kv_1"), None);
    }

    #[test]
    fn only_names_that_need_no_quoting_pass() {
        assert!(is_plain_name("kv_0123abc"));
        for name in ["", "1a", "A", "a\"b", "a b", "é", &"a".repeat(64)] {
            assert!(!is_plain_name(name), "{name:?} passed");
        }
    }

    #[test]
    fn fsync_is_off_unless_asked_for_and_values_are_quoted() {
        let off = configuration_text(15_000, &PostgresOptions::new().setting("a", "it's"));
        assert!(off.contains("fsync = 'off'\n") && off.ends_with("a = 'it''s'\n"));
        let on = configuration_text(15_000, &PostgresOptions::new().fsync(true));
        assert!(!on.contains("off"));
    }

    #[test]
    fn the_segment_is_the_second_number_of_the_seventh_line() {
        let lock_file = "1\n/data\n2\n15000\n\n127.0.0.1\n  9961475   360448\nready\n";
        assert_eq!(shared_memory_segment(lock_file), Some("360448"));
        assert_eq!(shared_memory_segment("1\n/data\n"), None);
    }
}
