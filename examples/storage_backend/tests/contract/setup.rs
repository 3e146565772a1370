//! What a test begins with: a database of its own, and the services on it.

use std::time::Duration;

use diesel::{ConnectionError, result::Error as DieselError};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::servers;
use kv_runtime::{ConnectError, Settings};
use kv_storage_backend::storage::ReadStorage;
use kv_storage_backend::values::Amount;
use kv_storage_backend::{Config, Services, StorageMode};

use super::samples::{onchain_id, snapshot_of_a_bsp};

/// Names the server that tests make their databases on. Without it that is the one of
/// `kv_runtime::testing`: a private one, unless `DATABASE_URL` names another.
const VARIABLE: &str = "TEST_DATABASE_URL";

/// How the services of a test are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TestSetup<'a> {
    /// What the rows are kept in. SQL is run where there is a PostgreSQL.
    pub(crate) mode: StorageMode,
    /// Whether the tables are made.
    pub(crate) makes_tables: bool,
    /// What is run in the empty database.
    pub(crate) pre: &'a str,
    /// What is run once the tables are there, such as a snapshot of rows.
    pub(crate) post: &'a str,
}

/// Why a test cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(
        "`{VARIABLE}` is no address of a PostgreSQL; write it like \
         `postgres://user@localhost/postgres`, or unset it for a private server"
    )]
    Variable,
    #[error(
        "no database can be made on the server that `{VARIABLE}` names; start it and let the user \
         create databases, or unset the variable for a private server: {0}"
    )]
    Database(String),
    #[error("the SQL of the test's set-up failed: {0}")]
    Sql(#[from] DieselError),
    #[error("the test's database does not answer: {0}")]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Services(#[from] ConnectError),
}

impl TestSetup<'_> {
    /// All tables, and nothing in them.
    pub(crate) fn new(mode: StorageMode) -> Self {
        Self { mode, makes_tables: true, pre: "", post: "" }
    }

    pub(crate) async fn start(self) -> Result<Services, SetupError> {
        if self.mode == StorageMode::Memory {
            return Ok(Services::new(self.config(Settings::in_memory())).await?);
        }
        let settings = try_settings(self.mode).await?;
        let url = settings.postgres.url.clone();
        if !self.pre.is_empty() {
            AsyncPgConnection::establish(url.expose()).await?.batch_execute(self.pre).await?;
        }
        let services = Services::new(self.config(settings)).await?;
        if !self.post.is_empty() {
            AsyncPgConnection::establish(url.expose()).await?.batch_execute(self.post).await?;
        }
        Ok(services)
    }

    fn config(self, mut settings: Settings) -> Config {
        settings.partitions = 4;
        settings.drain.interval = Duration::from_millis(5);
        Config { makes_tables: self.makes_tables, ..Config::new(self.mode, settings) }
    }
}

/// Services on Redis with PostgreSQL, with SQL that is run before and after the tables are made.
pub(crate) async fn setup(pre: &str, post: &str) -> Services {
    let setup = TestSetup { pre, post, ..TestSetup::new(StorageMode::Redis) };
    setup.start().await.unwrap_or_else(|error| panic!("{error}"))
}

/// Servers that all tests share, with a database and a tenant of the test's own.
pub(crate) async fn settings(mode: StorageMode) -> Settings {
    try_settings(mode).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn try_settings(mode: StorageMode) -> Result<Settings, SetupError> {
    // An empty one counts as none, because a file of a CI may have no other way to unset it.
    let named = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    let url = match named {
        Some(server) => create_database(&server).await?,
        None => servers().create_database(),
    };
    if mode == StorageMode::Postgres {
        return Ok(Settings::postgres_only(url.as_str()));
    }
    let mut settings = Settings::new(servers().redis_url(), url.as_str());
    settings.tenant = Some(name_in(&url).to_owned());
    Ok(settings)
}

/// Makes a database on a server, where it stays.
async fn create_database(server: &str) -> Result<String, SetupError> {
    let is_meant = ["postgres://", "postgresql://"].iter().any(|scheme| server.starts_with(scheme));
    let path = server.find("://").and_then(|at| server[at + 3..].find('/').map(|to| at + 3 + to));
    let (true, Some(path)) = (is_meant, path) else { return Err(SetupError::Variable) };
    let end = server.find('?').unwrap_or(server.len());
    let name = format!("storage_{:016x}", fastrand::u64(..));
    let connection = AsyncPgConnection::establish(server).await;
    let mut connection = connection.map_err(|error| SetupError::Database(error.to_string()))?;
    let created = connection.batch_execute(&format!("CREATE DATABASE {name}")).await;
    created.map_err(|error| SetupError::Database(error.to_string()))?;
    Ok(format!("{}/{name}{}", &server[..path], &server[end..]))
}

/// The name of the database of an address.
fn name_in(url: &str) -> &str {
    let url = url.split('?').next().unwrap_or(url);
    url.rsplit('/').next().unwrap_or(url)
}

#[tokio::test]
async fn sql_is_run_before_and_after_the_tables_are_made() {
    let before = "CREATE TABLE found AS SELECT to_regclass('bsps') IS NULL AS is_empty";
    let after = format!("{} ALTER TABLE found ADD CHECK (is_empty)", snapshot_of_a_bsp());
    let services = setup(before, &after).await;
    let bsp = services.db.find_bsp_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    assert_eq!(bsp.map(|row| row.stake), Some(Amount::from(2)));
}

#[tokio::test]
async fn sql_that_is_wrong_is_told() {
    let without_tables = TestSetup { makes_tables: false, ..TestSetup::new(StorageMode::Postgres) };
    for setup in [
        TestSetup { pre: &snapshot_of_a_bsp(), ..TestSetup::new(StorageMode::Postgres) },
        TestSetup { post: &snapshot_of_a_bsp(), ..without_tables },
    ] {
        let error = setup.start().await.err().expect("there is no table");
        let problem = "the SQL of the test's set-up failed: relation \"bsps\" does not exist";
        assert_eq!(error.to_string(), problem);
    }
}

#[tokio::test]
async fn a_test_has_a_database_of_its_own_on_the_server_that_is_named() {
    let server = servers().postgres_url();
    for server in [server.to_owned(), format!("{server}?application_name=tests")] {
        let one = create_database(&server).await.expect("the server is up");
        let other = create_database(&server).await.expect("the server is up");
        assert_ne!(name_in(&one), name_in(&other));
        for url in [one, other] {
            assert_eq!(url.split('?').nth(1), server.split('?').nth(1), "{url}");
            let mut connection = AsyncPgConnection::establish(&url).await.expect("it is there");
            let name = name_in(&url);
            let is_there = format!("DO $$ BEGIN ASSERT current_database() = '{name}'; END $$");
            connection.batch_execute(&is_there).await.expect("it is the one");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_named_wrongly_is_told() {
    for server in ["", "localhost", "redis://localhost/0", "postgres://localhost"] {
        let error = create_database(server).await.expect_err(server).to_string();
        assert!(error.starts_with("`TEST_DATABASE_URL` is no address of a PostgreSQL;"), "{error}");
    }
    let nobody = "postgres://user:secret@127.0.0.1:1/postgres";
    let error = create_database(nobody).await.expect_err("nobody is there").to_string();
    let problem = "no database can be made on the server that `TEST_DATABASE_URL` names;";
    assert!(error.starts_with(problem) && !error.contains("secret"), "{error}");
}
