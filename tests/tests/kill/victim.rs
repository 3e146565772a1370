//! A drainer process that is killed.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kv_tests::pair::Pair;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Longer than a start-up, a batch and a shutdown take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(30);
const SIGKILL: i32 = 9;

/// The process and what it says.
pub(crate) struct Victim {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    dies_at: Option<String>,
}

impl Victim {
    /// A drainer that goes on until it is told to end.
    pub(crate) fn spawn(pair: &Pair, workers: usize) -> Self {
        Self::spawn_with(pair, workers, None)
    }

    /// A drainer that kills itself when it is at a failpoint for the n-th time.
    pub(crate) fn spawn_to_die_at(pair: &Pair, workers: usize, point: &str, times: usize) -> Self {
        Self::spawn_with(pair, workers, Some((point, times)))
    }

    fn spawn_with(pair: &Pair, workers: usize, death: Option<(&str, usize)>) -> Self {
        let settings = &pair.settings;
        let mut command = Command::new(env!("CARGO_BIN_EXE_drain_process"));
        if let Some((point, times)) = death {
            command.args(["--die-at", point, "--after", &times.to_string()]);
        }
        let mut process = command
            .env("REDIS_URL", settings.redis.url.expose())
            .env("DATABASE_URL", settings.postgres.url.expose())
            .env("KV_TENANT", settings.tenant.as_deref().unwrap_or_default())
            .env("KV_PARTITIONS", settings.partitions.to_string())
            .env("KV_DRAIN_WORKERS", workers.to_string())
            // Small, so that there are many batches to be killed in.
            .env("KV_DRAIN_BATCH_ENTRIES", "40")
            .env("KV_DRAIN_INTERVAL_MS", "5")
            // What a killed one had a claim on is soon free.
            .env("KV_DRAIN_LEASE_MS", "200")
            // The accounts have a trigger, which keeps a log of what is done to them.
            .env("KV_CHECKS_SCHEMA", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program is built");
        let output = process.stdout.take().expect("its output is piped");
        let dies_at = death.map(|(point, _)| point.to_owned());
        Self { process, output: BufReader::new(output).lines(), dies_at }
    }

    /// Waits until it drains.
    pub(crate) async fn drains(&mut self) {
        assert_eq!(self.says().await.as_deref(), Some("ready"));
    }

    /// Waits for its death, which must be at its failpoint and by SIGKILL.
    pub(crate) async fn dies_by_itself(mut self) {
        let point = self.dies_at.clone().expect("it was told where to die");
        let reached = format!("reached {point}");
        loop {
            match self.says().await {
                Some(line) if line == reached => break,
                Some(_) => {}
                None => panic!("{:?} before it reached {point}", self.status().await),
            }
        }
        let status = self.status().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{status:?} at {point}");
    }

    /// Kills it, wherever it is.
    pub(crate) async fn kill(mut self) {
        self.process.start_kill().expect("it runs");
        let status = self.status().await;
        assert_eq!(status.signal(), Some(SIGKILL), "{status:?}");
    }

    /// Asks it to drain everything and end.
    pub(crate) async fn ends(mut self) {
        drop(self.process.stdin.take());
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
