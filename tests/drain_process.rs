//! A drainer process, to be killed, paused and ended.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kv_runtime::{ServerUrl, StorageScheme};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::pair::Pair;

/// Longer than a start-up, a batch and a shutdown take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);
const SIGKILL: i32 = 9;

/// A drainer of the accounts, with a pair's settings. It is killed when it is dropped.
#[derive(Debug)]
pub struct DrainProcess {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    point: Option<String>,
}

/// How a drainer process is to be started.
#[derive(Debug)]
pub struct DrainCommand {
    command: Command,
    url: ServerUrl,
    point: Option<String>,
}

impl DrainCommand {
    /// A drainer that goes on until it is told to end; `program` is `bin/drain_process.rs`, of
    /// which only an integration test knows where it was built.
    pub fn new(program: &str, pair: &Pair) -> Self {
        let settings = &pair.settings;
        let mut command = Command::new(program);
        command
            .env("REDIS_URL", settings.redis.url.expose())
            .env("DATABASE_URL", settings.postgres.url.expose())
            .env("KV_TENANT", settings.tenant.as_deref().unwrap_or_default())
            .env("KV_PARTITIONS", settings.partitions.to_string())
            .env("KV_DRAIN_WORKERS", settings.drain.workers.to_string())
            .env("KV_DRAIN_BATCH_ENTRIES", settings.drain.batch_entries.to_string())
            .env("KV_DRAIN_INTERVAL_MS", settings.drain.interval.as_millis().to_string())
            .env("KV_DRAIN_LEASE_MS", settings.drain.lease.as_millis().to_string())
            // The tables have triggers, which keep a log of what is done to them.
            .env("KV_CHECKS_SCHEMA", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Self { command, url: settings.postgres.url.clone(), point: None }
    }

    /// The name by which PostgreSQL knows it.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let url = self.url.expose();
        self.command.env("DATABASE_URL", format!("{url}?application_name={name}"));
        self
    }

    /// It moves the queue to a storage scheme instead of draining it.
    #[must_use]
    pub fn switches_to(mut self, scheme: StorageScheme) -> Self {
        self.command.args(["--switch", scheme.name()]);
        self
    }

    /// It gives the queue so many partitions instead of draining it.
    #[must_use]
    pub fn changes_partitions_to(mut self, count: u16) -> Self {
        self.command.args(["--partitions", &count.to_string()]);
        self
    }

    /// It drains all tenants of the pair, and not the pair itself.
    #[must_use]
    pub fn of_all_tenants(mut self) -> Self {
        self.command.arg("--all-tenants");
        self
    }

    /// It kills itself when it is at a failpoint for the n-th time.
    #[must_use]
    pub fn dies_at(self, point: &str, times: usize) -> Self {
        self.at(point, "KILL", times)
    }

    /// It pauses itself, by SIGSTOP, when it is at a failpoint for the n-th time.
    #[must_use]
    pub fn pauses_at(self, point: &str, times: usize) -> Self {
        self.at(point, "STOP", times)
    }

    fn at(mut self, point: &str, signal: &str, times: usize) -> Self {
        self.command.args(["--at", point, "--after", &times.to_string(), "--signal", signal]);
        self.point = Some(point.to_owned());
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> DrainProcess {
        let mut process = self.command.spawn().expect("the program is built");
        let output = process.stdout.take().expect("its output is piped");
        DrainProcess { process, output: BufReader::new(output).lines(), point: self.point }
    }
}

impl DrainProcess {
    /// Waits until it drains.
    pub async fn drains(&mut self) {
        assert_eq!(self.says().await.as_deref(), Some("ready"));
    }

    /// Waits until it is at its failpoint.
    pub async fn reaches_its_point(&mut self) {
        let reached = format!("reached {}", self.point.as_deref().expect("it has a failpoint"));
        loop {
            match self.says().await {
                Some(line) if line == reached => return,
                Some(_) => {}
                None => panic!("{:?} before it {reached}", self.status().await),
            }
        }
    }

    /// Waits for its death, which must be at its failpoint and by SIGKILL.
    pub async fn dies_by_itself(mut self) {
        self.reaches_its_point().await;
        let status = self.status().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{status:?} at {:?}", self.point);
    }

    /// Kills it, wherever it is.
    pub async fn kill(mut self) {
        self.process.start_kill().expect("it runs");
        let status = self.status().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{status:?}");
    }

    /// Sends it a signal: `STOP`, `CONT`, `TERM`.
    pub async fn signal(&self, signal: &str) {
        let process_id = self.process.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", signal, &process_id]).status().await;
        assert!(sent.expect("`kill` is there").success(), "it was not there to be told {signal}");
    }

    /// Asks it to drain everything and end.
    pub async fn ends(mut self) {
        drop(self.process.stdin.take());
        let status = self.status().await;
        assert!(status.success(), "{status:?}");
    }

    /// Waits for its end, which must be a failure.
    pub async fn fails(mut self) {
        let status = self.status().await;
        assert_eq!(status.code(), Some(1), "{status:?}");
    }

    /// Stops it by SIGTERM, in order.
    pub async fn terminate(mut self) {
        // Waiting would end its input, at which it drains everything.
        let _input = self.process.stdin.take();
        self.signal("TERM").await;
        let status = self.status().await;
        assert!(status.success(), "{status:?}");
    }

    async fn says(&mut self) -> Option<String> {
        let line = tokio::time::timeout(WAIT_MAX, self.output.next_line()).await;
        line.expect("it says something in time").expect("its output is text")
    }

    async fn status(&mut self) -> ExitStatus {
        let status = tokio::time::timeout(WAIT_MAX, self.process.wait()).await;
        status.expect("it ends in time").expect("it was not waited for")
    }
}
