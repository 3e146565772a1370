//! A process that writes or drains, as the one that torments it sees it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use kv_runtime::testing::Proxy;
use tokio::process::{Child, Command};

use crate::Failure;
use crate::schedule::{Member, Server};

/// Longer than a shutdown takes that drains what is left, on a busy machine.
const END_MAX: Duration = Duration::from_secs(90);

/// What is the same for all processes of a run.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) seed: u64,
    pub(crate) tasks: usize,
    pub(crate) partitions: u16,
    pub(crate) redis_url: String,
    pub(crate) database_url: String,
    /// Where the ledgers are, and what the processes say.
    pub(crate) directory: PathBuf,
}

/// A process with ways of its own to the servers.
#[derive(Debug)]
pub(crate) struct Process {
    member: Member,
    common: Common,
    redis: Proxy,
    postgres: Proxy,
    starts: u64,
    /// `None` between a kill and the next start.
    child: Option<Child>,
}

impl Process {
    pub(crate) async fn start(member: Member, common: &Common) -> Result<Self, Failure> {
        let mut process = Self {
            member,
            redis: Proxy::to(&common.redis_url).await?,
            postgres: Proxy::to(&common.database_url).await?,
            common: common.clone(),
            starts: 0,
            child: None,
        };
        process.start_again()?;
        Ok(process)
    }

    pub(crate) fn start_again(&mut self) -> Result<(), Failure> {
        let said = OpenOptions::new().append(true).create(true).open(self.said())?;
        let mut command = Command::new(std::env::current_exe()?);
        match self.member {
            Member::Writer(number) => command
                .args(["writer", "--seed", &self.common.seed.to_string()])
                .args(["--number", &number.to_string()])
                .args(["--restarts", &self.starts.to_string()])
                .args(["--tasks", &self.common.tasks.to_string()])
                .arg("--ledgers")
                .arg(&self.common.directory),
            Member::Drainer(_) => command.arg("drainer"),
        };
        self.starts += 1;
        let child = command
            .env("REDIS_URL", self.redis.url())
            .env("DATABASE_URL", self.postgres.url())
            .env("KV_PARTITIONS", self.common.partitions.to_string())
            .env("KV_DRAIN_BATCH_ENTRIES", "200")
            .env("DATABASE_MAX_CONNECTIONS", "6")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    fn said(&self) -> PathBuf {
        let name = self.member.to_string().replace(' ', "-");
        self.common.directory.join(format!("{name}.log"))
    }

    /// Kills it, wherever it is. Answers what is wrong where it was gone already.
    ///
    /// What it sent last must not arrive after what its successor sends: its connections are cut,
    /// and what a server has received by then comes before the successor's first words.
    pub(crate) async fn kill(&mut self) -> Result<Option<String>, Failure> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        if let Some(status) = child.try_wait()? {
            return Ok(Some(self.ended_by_itself(status)));
        }
        child.kill().await?;
        self.redis.cut();
        self.postgres.cut();
        Ok(None)
    }

    /// Stops it in its tracks, by SIGSTOP.
    pub(crate) async fn pause(&self) -> Result<(), Failure> {
        self.signal("-STOP").await
    }

    /// Lets it go on, by SIGCONT.
    pub(crate) async fn go_on(&self) -> Result<(), Failure> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> Result<(), Failure> {
        if let Some(id) = self.child.as_ref().and_then(Child::id) {
            // One that has ended by itself is found where it is killed or told to end.
            let _ = Command::new("kill").args([signal, &id.to_string()]).status().await?;
        }
        Ok(())
    }

    /// Its way to a server.
    pub(crate) fn way_to(&self, server: Server) -> &Proxy {
        match server {
            Server::Redis => &self.redis,
            Server::Postgres => &self.postgres,
        }
    }

    /// Tells it to end, and waits until it has. Answers what is wrong with its end.
    pub(crate) async fn end(&mut self) -> Result<Option<String>, Failure> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        if let Some(status) = child.try_wait()? {
            return Ok(Some(self.ended_by_itself(status)));
        }
        drop(child.stdin.take());
        Ok(match tokio::time::timeout(END_MAX, child.wait()).await {
            Ok(status) => {
                let status = status?;
                (!status.success()).then(|| self.tell(&format!("ended with {status}")))
            }
            Err(_) => Some(self.tell("does not end")),
        })
    }

    fn ended_by_itself(&self, status: ExitStatus) -> String {
        self.tell(&format!("ended by itself with {status}"))
    }

    fn tell(&self, what: &str) -> String {
        format!("{} {what}; it said:\n{}", self.member, last_lines(&self.said()))
    }
}

fn last_lines(path: &Path) -> String {
    const LINES_MAX: usize = 10;
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
