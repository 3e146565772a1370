//! The whole contest without containers: servers, two instances, a balancer and two processors, each
//! a process of its own, and the load generator.

use std::process::Stdio;

use anyhow::{Context, Result};
use kv_runtime::testing::{PostgresOptions, PostgresServer, RedisOptions, RedisServer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::config::Processors;
use crate::load::{Report, Schedule, Target, run, start_floor};

/// The processes, which end with it.
#[derive(Debug)]
pub struct Stage {
    service_url: String,
    floor_balancer_url: String,
    processors: Processors,
    _children: Vec<Child>,
    _floor: tokio::task::JoinSet<()>,
    _servers: (RedisServer, PostgresServer),
}

impl Stage {
    /// Starts them by the program that is running, whose roles they are.
    ///
    /// # Errors
    /// What does not start.
    pub async fn start() -> Result<Self> {
        let servers = tokio::task::spawn_blocking(start_servers).await.context("the servers")??;
        let (redis, postgres) = &servers;
        let mut children = Vec::new();
        let mut processor = async |fee: &str| -> Result<String> {
            let arguments = ["processor", "--listen", "127.0.0.1:0", "--fee", fee];
            let (child, url) = start_role(&arguments, &[]).await?;
            children.push(child);
            Ok(url)
        };
        let (default_url, fallback_url) = (processor("0.05").await?, processor("0.15").await?);
        let variables = [
            ("LISTEN", "127.0.0.1:0"),
            ("USE_DATABASE_STORAGE", "true"),
            ("USE_REDIS_HEALTH_MONITORING", "true"),
            ("USE_REDIS_SESSION_CACHE", "true"),
            ("REDIS_URL", redis.url()),
            ("DATABASE_URL", postgres.url()),
            ("PROCESSOR_DEFAULT_URL", &default_url),
            ("PROCESSOR_FALLBACK_URL", &fallback_url),
        ];
        let mut instances = Vec::new();
        for _ in 0..2 {
            let (child, url) = start_role(&["serve"], &variables).await?;
            children.push(child);
            instances.push(url);
        }
        let (floor_url, floor) = start_floor("127.0.0.1:0").await?;
        let mut balancer = async |servers: &[String]| -> Result<String> {
            let mut arguments = vec!["balance", "--listen", "127.0.0.1:0"];
            let hosts = servers.iter().map(|url| url.trim_start_matches("http://"));
            arguments.extend(hosts.flat_map(|host| ["--to", host]));
            let (child, url) = start_role(&arguments, &[]).await?;
            children.push(child);
            Ok(url)
        };
        let service_url = balancer(&instances).await?;
        // The floor has the same way to go.
        let floor_balancer_url = balancer(&[floor_url]).await?;
        Ok(Self {
            service_url,
            floor_balancer_url,
            processors: Processors { default_url, fallback_url },
            _children: children,
            _floor: floor,
            _servers: servers,
        })
    }

    /// Runs a schedule.
    ///
    /// # Errors
    /// Those of [`run`].
    pub async fn run(&self, schedule: &Schedule) -> Result<Report> {
        let target = Target {
            service_url: self.service_url.clone(),
            processors: self.processors.clone(),
            floor_url: self.floor_balancer_url.clone(),
        };
        run(schedule, &target).await
    }
}

fn start_servers() -> Result<(RedisServer, PostgresServer)> {
    let redis = RedisServer::start_with(RedisOptions::new().append_only(true))?;
    // As durable as a real one, or its figures would mean nothing.
    let postgres = PostgresServer::start_with(PostgresOptions::new().fsync(true))?;
    Ok((redis, postgres))
}

/// Starts this program in another role, and answers where it listens.
async fn start_role(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(Child, String)> {
    let role = arguments.first().copied().unwrap_or_default();
    let program = std::env::current_exe().context("this program does not know its file")?;
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("`{role}` cannot be started"))?;
    let output = child.stdout.take().context("its output is piped")?;
    let line = BufReader::new(output).lines().next_line().await?;
    let url = line.with_context(|| format!("`{role}` ended before it listened"))?;
    Ok((child, url))
}
