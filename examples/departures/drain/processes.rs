//! Drainer processes, as seen by the process that starts them.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kv_runtime::{DrainError, Kv, Queues};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{DrainView, Drained};
use crate::model::Flight;
use crate::pair::Urls;

/// A short one, so that the partitions are soon shared anew when a drainer joins or dies.
const LEASE: Duration = Duration::from_secs(1);

/// How long a drainer may take until it has its share of the partitions.
const START_MAX: Duration = Duration::from_secs(30);

/// How long it may take to end; longer than a drainer needs to stop.
const END_MAX: Duration = Duration::from_secs(5);

/// The processes, and a look at what waits for them.
pub(crate) struct Processes {
    queues: Queues,
    all: Vec<Process>,
}

struct Process {
    number: u8,
    process_id: Option<u32>,
    told: watch::Receiver<Told>,
    attendant: JoinHandle<()>,
}

/// What is known of a process.
#[derive(Debug, Default)]
struct Told {
    /// As it said last.
    drained: Drained,
    /// How it ended, once it has.
    end: Option<ExitStatus>,
}

impl Processes {
    /// Starts them, and waits until each has a share of the partitions.
    pub(crate) async fn start(kv: &Kv, urls: &Urls, count: u8) -> Result<Self> {
        let started = (1..=count).map(|number| Process::start(number, urls));
        let mut all = started.collect::<Result<Vec<_>>>()?;
        let deadline = Instant::now() + START_MAX;
        for process in &mut all {
            process.wait_for_its_share(deadline).await?;
        }
        Ok(Self { queues: kv.queues().model::<Flight>(), all })
    }

    pub(crate) async fn view(&self) -> Result<DrainView, DrainError> {
        let status = self.queues.status().await?;
        let drained: Vec<Drained> = self.all.iter().map(Process::drained).collect();
        let drained = Drained::sum(&drained);
        Ok(DrainView { drained, undrained: status.undrained, lag: status.lag })
    }

    /// Waits until everything that was written is drained.
    pub(crate) async fn wait_until_drained(&self) -> Result<()> {
        tokio::select! {
            drained = self.queues.wait_until_drained() => Ok(drained?),
            () = self.wait_until_all_have_ended() => bail!(
                "all drainers have ended early; what they left stays queued for the next ones: \
                 run again with --reset"
            ),
        }
    }

    async fn wait_until_all_have_ended(&self) {
        for process in &self.all {
            process.ended().await;
        }
    }

    /// Ends them by SIGTERM; answers what each has done.
    pub(crate) async fn stop(self) -> Vec<Drained> {
        let early: Vec<bool> = self.all.iter().map(Process::has_ended).collect();
        for process in &self.all {
            process.terminate().await;
        }
        let deadline = Instant::now() + END_MAX;
        let mut all = Vec::new();
        for (process, is_early) in self.all.into_iter().zip(early) {
            all.push(process.end(is_early, deadline).await);
        }
        all
    }
}

impl Process {
    fn start(number: u8, urls: &Urls) -> Result<Self> {
        let program = std::env::current_exe().context("this program does not know its file")?;
        // By the environment, because others can see the arguments.
        let mut child = Command::new(program)
            .arg("drain")
            .env("REDIS_URL", urls.redis.expose())
            .env("DATABASE_URL", urls.database.expose())
            .env("KV_DRAIN_LEASE_MS", LEASE.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("drainer {number} cannot be started"))?;
        let output = child.stdout.take().context("its output is piped")?;
        let process_id = child.id();
        let (tell, told) = watch::channel(Told::default());
        let attendant = tokio::spawn(attend(child, output, tell));
        Ok(Self { number, process_id, told, attendant })
    }

    async fn wait_for_its_share(&mut self, deadline: Instant) -> Result<()> {
        let is_there = |told: &Told| told.end.is_some() || told.drained.partitions > 0;
        let number = self.number;
        let seconds = START_MAX.as_secs();
        let told = tokio::time::timeout_at(deadline, self.told.wait_for(is_there));
        let told = told.await.with_context(|| {
            format!(
                "drainer {number} got no share of the partitions within {seconds} s; \
                 does another drainer hold them?"
            )
        })??;
        match told.end {
            Some(end) => bail!("drainer {number} ended before it drained anything ({end})"),
            None => Ok(()),
        }
    }

    /// What it has done, as far as it told.
    fn drained(&self) -> Drained {
        let told = self.told.borrow();
        let mut drained = told.drained.clone();
        if let Some(end) = told.end {
            let number = self.number;
            drained.trouble =
                Some(format!("drainer {number} ended early ({end}); the others go on"));
        }
        drained
    }

    fn has_ended(&self) -> bool {
        self.told.borrow().end.is_some()
    }

    async fn ended(&self) {
        // It fails where nobody attends to the process any more, which is an end too.
        let _ = self.told.clone().wait_for(|told| told.end.is_some()).await;
    }

    async fn terminate(&self) {
        // One that has ended leaves its number to others.
        if let (false, Some(process_id)) = (self.has_ended(), self.process_id) {
            // If it fails, the deadline for the end will tell.
            let _ =
                Command::new("kill").args(["-s", "TERM", &process_id.to_string()]).status().await;
        }
    }

    /// Waits for its end, or makes one.
    async fn end(self, is_early: bool, deadline: Instant) -> Drained {
        // What comes of it is seen below.
        let _ = tokio::time::timeout_at(deadline, self.ended()).await;
        // The process is killed with it, if it is still there.
        self.attendant.abort();
        let told = self.told.borrow();
        let trouble = match told.end {
            None => {
                let seconds = END_MAX.as_secs();
                Some(format!("did not end within {seconds} s of SIGTERM and was killed"))
            }
            Some(end) if is_early => Some(format!("ended early ({end})")),
            Some(end) if !end.success() => Some(format!("ended with an error ({end})")),
            Some(_) => None,
        };
        Drained { trouble, ..told.drained.clone() }
    }
}

/// Listens to a process until it ends.
async fn attend(mut child: Child, output: ChildStdout, tell: watch::Sender<Told>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A process that is killed may leave half a line.
        if let Ok(drained) = serde_json::from_str(&line) {
            tell.send_modify(|told| told.drained = drained);
        }
    }
    // Should it fail, `tell` is dropped, which tells as much.
    if let Ok(end) = child.wait().await {
        tell.send_modify(|told| told.end = Some(end));
    }
}
