//! The private servers of `kv_runtime::testing`: they work, come back, and leave nothing behind
//! however the process that holds them ends.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kv_runtime::testing::{
    PostgresOptions, PostgresServer, RedisOptions, RedisServer, ServerError, servers,
};

type TestResult = Result<(), Box<dyn Error>>;

/// Says to `stand_in_for_a_run` how its process is to end.
const ENDING: &str = "KV_TESTING_ENDING";
const GONE_MAX: Duration = Duration::from_secs(10);

#[test]
fn shared_servers_answer_and_give_each_test_a_database() -> TestResult {
    let servers = servers();
    assert_eq!(redis(servers.redis_url(), "PING")?, "+PONG");
    assert_eq!(sql(servers.postgres_url(), "SELECT 1")?, "1");
    let (one, other) = (servers.create_database(), servers.create_database());
    assert_ne!(one, other);
    sql(&one, "CREATE TABLE only_here (id int)")?;
    assert_eq!(sql(&other, "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'")?, "0");
    Ok(())
}

#[test]
fn redis_comes_back_with_its_append_only_file() -> TestResult {
    let mut server = RedisServer::start_with(RedisOptions::new().append_only(true))?;
    redis(server.url(), "SET greeting hello")?;
    let port = server.port();
    server.kill()?;
    assert!(redis(server.url(), "PING").is_err(), "a killed server answers");
    server.kill()?;
    server.restart()?;
    assert_eq!(server.port(), port);
    assert_eq!(redis(server.url(), "STRLEN greeting")?, ":5");
    // It runs: a restart ends it first.
    server.restart()?;
    assert_eq!(redis(server.url(), "STRLEN greeting")?, ":5");
    Ok(())
}

#[test]
fn redis_without_append_only_file_comes_back_empty() -> TestResult {
    let mut server = RedisServer::start()?;
    redis(server.url(), "SET greeting hello")?;
    server.kill()?;
    server.restart()?;
    assert_eq!(redis(server.url(), "DBSIZE")?, ":0");
    Ok(())
}

#[test]
fn postgres_comes_back_with_what_was_committed() -> TestResult {
    let mut server = PostgresServer::start()?;
    sql(server.url(), "CREATE TABLE kept (id int)")?;
    // Busy, so that its process outlives the killed server and is in the way of the next one.
    let mut client = PostgresClient::connect(server.url())?;
    client.send_query("SELECT count(*) FROM generate_series(1, 10000000)")?;
    thread::sleep(Duration::from_millis(100));
    server.kill()?;
    assert!(sql(server.url(), "SELECT 1").is_err(), "a killed server answers");
    server.restart()?;
    sql(server.url(), "INSERT INTO kept VALUES (1)")?;
    server.stop_immediate()?;
    assert!(sql(server.url(), "SELECT 1").is_err(), "a stopped server answers");
    server.restart()?;
    server.restart()?;
    assert_eq!(sql(server.url(), "SELECT count(*) FROM kept")?, "1");
    Ok(())
}

#[test]
fn options_reach_the_servers() -> TestResult {
    let redis_server =
        RedisServer::start_with(RedisOptions::new().setting("maxmemory-policy", "volatile-lru"))?;
    assert!(redis(redis_server.url(), "INFO memory")?.contains("maxmemory_policy:volatile-lru"));
    let postgres_server =
        PostgresServer::start_with(PostgresOptions::new().fsync(true).setting("work_mem", "3MB"))?;
    let url = postgres_server.url();
    let settings =
        ["fsync", "full_page_writes", "synchronous_commit", "work_mem", "server_encoding"];
    let values = settings.map(|setting| sql(url, &format!("SHOW {setting}")).unwrap_or_default());
    assert_eq!(values, ["on", "on", "on", "3MB", "UTF8"]);
    Ok(())
}

#[test]
fn a_wrong_setting_is_told_with_the_log() {
    let redis = RedisServer::start_with(RedisOptions::new().setting("no-such-thing", "1"));
    let message = redis.expect_err("it does not start").to_string();
    assert!(message.contains("no-such-thing"), "{message}");
    let postgres = PostgresServer::start_with(PostgresOptions::new().setting("no_such_thing", "1"));
    let message = postgres.expect_err("it does not start").to_string();
    assert!(message.contains("no_such_thing"), "{message}");
}

#[test]
fn a_database_name_is_checked_and_taken_once() -> TestResult {
    let server = PostgresServer::start()?;
    let url = server.create_database("orders")?;
    assert_eq!(sql(&url, "SELECT current_database()")?, "orders");
    let twice = server.create_database("orders");
    assert!(matches!(twice, Err(ServerError::Psql { .. })), "{twice:?}");
    let quoted = server.create_database("a\"b");
    assert!(matches!(quoted, Err(ServerError::DatabaseName { .. })), "{quoted:?}");
    Ok(())
}

#[test]
fn dropping_removes_servers_and_directories() -> TestResult {
    let redis_server = RedisServer::start()?;
    let postgres_server = PostgresServer::start()?;
    let info = redis(redis_server.url(), "INFO server")?;
    let configuration = info.lines().find_map(|line| line.strip_prefix("config_file:"));
    let directories = [
        PathBuf::from(configuration.ok_or("no config_file")?),
        PathBuf::from(sql(postgres_server.url(), "SHOW data_directory")?),
    ]
    .map(|path| path.parent().map(Path::to_owned).unwrap_or_default());
    assert!(directories.iter().all(|directory| directory.is_dir()), "{directories:?}");
    let urls = [redis_server.url().to_owned(), postgres_server.url().to_owned()];
    drop((redis_server, postgres_server));
    assert!(!directories.iter().any(|directory| directory.exists()), "{directories:?}");
    assert!(!urls.iter().any(|url| is_listening(url)), "{urls:?}");
    Ok(())
}

#[test]
fn a_killed_process_leaves_nothing_behind() -> TestResult {
    let mut run = Run::start("wait")?;
    run.wait_until_ready()?;
    run.process.kill()?;
    run.expect_nothing_left()
}

#[test]
fn an_interrupted_process_leaves_nothing_behind() -> TestResult {
    let mut run = Run::start("wait")?;
    run.wait_until_ready()?;
    // As a terminal does at Ctrl-C: to the whole process group.
    let group = format!("-{}", run.process.id());
    Command::new("kill").args(["-s", "INT", "--", &group]).status()?;
    run.expect_nothing_left()
}

#[test]
fn servers_in_a_static_go_with_their_process() -> TestResult {
    let mut run = Run::start("return")?;
    run.wait_until_ready()?;
    run.expect_nothing_left()
}

#[test]
fn a_panicking_process_leaves_nothing_behind() -> TestResult {
    let mut run = Run::start("panic")?;
    run.wait_until_ready()?;
    run.expect_nothing_left()
}

#[test]
fn a_process_killed_amid_start_up_leaves_nothing_behind() -> TestResult {
    let mut run = Run::start("wait")?;
    let deadline = Instant::now() + GONE_MAX;
    // There is a cluster being made as soon as there is a second directory.
    while fs::read_dir(run.directory.path())?.count() < 2 {
        assert!(Instant::now() < deadline, "nothing was started");
        thread::sleep(Duration::from_millis(5));
    }
    run.process.kill()?;
    run.expect_nothing_left()
}

/// The process of the tests above; does nothing in an ordinary run.
#[test]
fn stand_in_for_a_run() -> TestResult {
    let Ok(ending) = std::env::var(ENDING) else {
        return Ok(());
    };
    let servers = servers();
    println!("ready {} {}", servers.redis_url(), servers.postgres_url());
    match ending.as_str() {
        "wait" => thread::sleep(Duration::from_secs(600)),
        "panic" => panic!("as asked"),
        _ => {}
    }
    Ok(())
}

/// This test binary again, with a temporary directory of its own to look into.
struct Run {
    process: Child,
    directory: tempfile::TempDir,
    urls: Vec<String>,
}

impl Run {
    fn start(ending: &str) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        // Like the usual one: PostgreSQL may run as another user, who removes its directory.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777))?;
        let process = Command::new(std::env::current_exe()?)
            .args(["--exact", "stand_in_for_a_run", "--nocapture"])
            .env(ENDING, ending)
            .env("TMPDIR", directory.path())
            .env_remove("REDIS_URL")
            .env_remove("DATABASE_URL")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { process, directory, urls: Vec::new() })
    }

    fn wait_until_ready(&mut self) -> TestResult {
        let output = self.process.stdout.take().ok_or("no output")?;
        for line in BufReader::new(output).lines() {
            if let Some((_, urls)) = line?.split_once("ready ") {
                self.urls = urls.split(' ').map(str::to_owned).collect();
                return Ok(());
            }
        }
        Err("the process ended before its servers were ready".into())
    }

    fn expect_nothing_left(&mut self) -> TestResult {
        self.process.wait()?;
        let deadline = Instant::now() + GONE_MAX;
        loop {
            let directories = fs::read_dir(self.directory.path())?.count();
            let listening = self.urls.iter().filter(|url| is_listening(url)).count();
            if (directories, listening) == (0, 0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{directories} directories and {listening} servers stay").into()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Run {
    /// A failed test must not leave its run to the 600 seconds.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1.split('/').next()?;
    Some(rest.rsplit('@').next().unwrap_or(rest))
}

fn is_listening(url: &str) -> bool {
    host_of(url).is_some_and(|host| TcpStream::connect(host).is_ok())
}

/// Sends one command and answers what comes back until the server hangs up.
fn redis(url: &str, command: &str) -> Result<String, Box<dyn Error>> {
    let mut stream = TcpStream::connect(host_of(url).ok_or("no host")?)?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.strip_suffix("+OK\r\n").ok_or("no end")?;
    Ok(answer.replace("\r\n", "\n").trim_end().to_owned())
}

/// Runs one statement and answers the first column of the last row.
fn sql(url: &str, statement: &str) -> Result<String, Box<dyn Error>> {
    PostgresClient::connect(url)?.query(statement)
}

/// As much of PostgreSQL's protocol as this file needs, so that it tests the server alone.
struct PostgresClient {
    stream: TcpStream,
}

impl PostgresClient {
    fn connect(url: &str) -> Result<Self, Box<dyn Error>> {
        let stream = TcpStream::connect(host_of(url).ok_or("no host")?)?;
        let mut client = Self { stream };
        let database = url.rsplit('/').next().ok_or("no database")?;
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        startup.extend_from_slice(format!("user\0kv\0database\0{database}\0\0").as_bytes());
        client.send(&startup)?;
        client.read_answer()?;
        Ok(client)
    }

    fn query(&mut self, statement: &str) -> Result<String, Box<dyn Error>> {
        self.send_query(statement)?;
        self.read_answer()
    }

    fn send_query(&mut self, statement: &str) -> TestResult {
        self.stream.write_all(b"Q")?;
        self.send(format!("{statement}\0").as_bytes())
    }

    fn send(&mut self, message: &[u8]) -> TestResult {
        let length = u32::try_from(message.len() + 4)?;
        self.stream.write_all(&[&length.to_be_bytes(), message].concat())?;
        Ok(())
    }

    fn read_answer(&mut self) -> Result<String, Box<dyn Error>> {
        let mut answer = String::new();
        loop {
            let mut header = [0; 5];
            self.stream.read_exact(&mut header)?;
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
            let mut body = vec![0; usize::try_from(length)? - 4];
            self.stream.read_exact(&mut body)?;
            match header[0] {
                b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ").into()),
                b'Z' => return Ok(answer),
                // The count of columns and the length of the first come before its text.
                b'D' => answer = String::from_utf8_lossy(&body[6..]).into_owned(),
                _ => {}
            }
        }
    }
}
