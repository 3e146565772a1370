//! A run: servers and processes are started, tormented, and told to end; then all is compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, RedisOptions, RedisServer};
use kv_runtime::{Kv, Settings};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::audit::Audit;
use crate::member::{Common, Process};
use crate::models::TABLES;
use crate::options::RunOptions;
use crate::report::{Difference, Report};
use crate::schedule::{self, Action, Fault, Member, Server, Timed};
use crate::{Failure, audit};

const PARTITIONS: u16 = 8;
/// How long it may take to drain what is left when the faults are over.
const DRAIN_MAX: Duration = Duration::from_secs(60);
const DRAIN_PROBE: Duration = Duration::from_millis(100);

/// The servers and processes of a run.
struct Torment {
    redis: RedisServer,
    postgres: PostgresServer,
    processes: BTreeMap<Member, Process>,
    faults: BTreeMap<Fault, u64>,
    differences: Vec<Difference>,
}

/// Does all, and reports.
pub(crate) async fn run(options: &RunOptions, seed: u64) -> Result<Report, Failure> {
    let temporary = tempfile::tempdir()?;
    let directory = options.keep.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(directory)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let length = Duration::from_secs(options.seconds);
    let actions = schedule::draw(&mut random, length, options.writers, options.drainers);

    let mut torment = Torment::start(options, seed, directory).await?;
    torment.perform(&actions, length, &directory.join("faults.log")).await?;
    torment.end(Member::Writer(0)..Member::Drainer(0)).await?;
    let urls = (torment.redis.url().to_owned(), torment.postgres.url().to_owned());
    let mut audit = Audit::of(&urls.0, &urls.1).await?;
    torment.wait_until_drained(&mut audit).await?;
    torment.end(Member::Drainer(0)..).await?;

    let mut report = Report {
        seed,
        seconds: options.seconds,
        writers: options.writers,
        drainers: options.drainers,
        faults: torment.faults.iter().map(|(fault, n)| (fault.to_string(), *n)).collect(),
        differences: torment.differences,
        ..Report::default()
    };
    audit.compare(&audit::histories(directory)?, &mut report).await?;
    Ok(report)
}

impl Torment {
    async fn start(options: &RunOptions, seed: u64, directory: &Path) -> Result<Self, Failure> {
        // What is acknowledged must outlive a SIGKILL of Redis, or there is nothing to compare.
        let durable = RedisOptions::new().append_only(true).setting("appendfsync", "always");
        let (redis, postgres) = block_in_place(|| {
            Ok::<_, Failure>((RedisServer::start_with(durable)?, PostgresServer::start()?))
        })?;
        let mut settings = Settings::new(redis.url(), postgres.url());
        settings.partitions = PARTITIONS;
        Kv::connect(settings).await?.migrate().await?;
        AsyncPgConnection::establish(postgres.url()).await?.batch_execute(TABLES).await?;
        let common = Common {
            seed,
            tasks: options.tasks,
            partitions: PARTITIONS,
            redis_url: redis.url().to_owned(),
            database_url: postgres.url().to_owned(),
            directory: directory.to_owned(),
        };
        let writers = (0..options.writers).map(Member::Writer);
        let drainers = (0..options.drainers).map(Member::Drainer);
        let mut processes = BTreeMap::new();
        for member in writers.chain(drainers) {
            processes.insert(member, Process::start(member, &common).await?);
        }
        let (faults, differences) = (BTreeMap::new(), Vec::new());
        Ok(Self { redis, postgres, processes, faults, differences })
    }

    /// Does what is drawn, and notes when it was done by the clock that entries have too.
    async fn perform(
        &mut self,
        actions: &[Timed],
        length: Duration,
        log: &Path,
    ) -> Result<(), Failure> {
        let mut log = File::create(log)?;
        let start = Instant::now();
        for timed in actions {
            tokio::time::sleep_until(start + timed.at).await;
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
            writeln!(log, "{now_ms} {:?}", timed.action)?;
            self.act(timed.action).await?;
            if let Some(fault) = timed.begins {
                *self.faults.entry(fault).or_default() += 1;
            }
        }
        tokio::time::sleep_until(start + length).await;
        Ok(())
    }

    async fn act(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Kill(member) => {
                if let Some(wrong) = self.process(member)?.kill().await? {
                    self.differences.push(Difference::at(member, wrong));
                }
            }
            Action::Start(member) => self.process(member)?.start_again()?,
            Action::Pause(member) => self.process(member)?.pause().await?,
            Action::Continue(member) => self.process(member)?.go_on().await?,
            Action::Cut(member, server) => self.process(member)?.way_to(server).cut(),
            Action::Stall(member, server) => self.process(member)?.way_to(server).stall(),
            Action::Resume(member, server) => self.process(member)?.way_to(server).resume(),
            Action::StallAnswers(member, server) => {
                self.process(member)?.way_to(server).stall_answers();
            }
            Action::LoseAnswers(member, server) => {
                let way = self.process(member)?.way_to(server);
                way.cut();
                way.resume();
            }
            Action::Stop(Server::Redis) => block_in_place(|| self.redis.kill())?,
            Action::Stop(Server::Postgres) => block_in_place(|| self.postgres.stop_immediate())?,
            Action::StartAgain(Server::Redis) => block_in_place(|| self.redis.restart())?,
            Action::StartAgain(Server::Postgres) => block_in_place(|| self.postgres.restart())?,
        }
        Ok(())
    }

    fn process(&mut self, member: Member) -> Result<&mut Process, Failure> {
        self.processes.get_mut(&member).ok_or_else(|| format!("there is no {member}").into())
    }

    /// Tells processes to end, all before any is waited for.
    async fn end(&mut self, members: impl std::ops::RangeBounds<Member>) -> Result<(), Failure> {
        for (member, process) in self.processes.range_mut(members) {
            if let Some(wrong) = process.end().await? {
                self.differences.push(Difference::at(member, wrong));
            }
        }
        Ok(())
    }

    async fn wait_until_drained(&mut self, audit: &mut Audit) -> Result<(), Failure> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            let undrained = audit.undrained().await?;
            if undrained.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("not drained after {DRAIN_MAX:?}: {}", undrained.join(", "));
                self.differences.push(Difference::at("the queues", what));
                return Ok(());
            }
            tokio::time::sleep(DRAIN_PROBE).await;
        }
    }
}
