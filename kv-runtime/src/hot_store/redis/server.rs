//! The start-up checks of the server: what `INFO` says of it, and what was written before.
//!
//! `CONFIG` would say more, but managed servers forbid it.

use async_trait::async_trait;
use redis::{FromRedisValue, Pipeline, RedisError, Value, from_redis_value};

use super::RedisHotStore;
use super::failure::classify;
use crate::checks::{Check, CheckError, CheckSettings, Problem, StoreChecks, queues_of};
use crate::hot_store::HotStore;
use crate::model::ModelDescriptor;

/// Of what the scripts and commands need, `XADD`'s `NOMKSTREAM` came last.
const VERSION_MIN: (u32, u32) = (6, 2);

/// A check that a line of `INFO` answers.
struct Rule {
    check: Check,
    field: &'static str,
    /// What is wrong with that field's value.
    problem: fn(&str) -> Option<String>,
}

const RULES: [Rule; 3] = [
    Rule { check: Check::RedisVersion, field: "redis_version", problem: version_problem },
    Rule { check: Check::Eviction, field: "maxmemory_policy", problem: eviction_problem },
    Rule { check: Check::Persistence, field: "aof_enabled", problem: persistence_problem },
];

impl Rule {
    fn apply(&self, info: &str) -> Option<Problem> {
        let &Self { check, field, problem } = self;
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        match lines.find(|(name, _)| *name == field) {
            Some((_, value)) => problem(value.trim()).map(|message| Problem::new(check, message)),
            // Nobody knows, so nobody is refused.
            None => Some(Problem::advice(
                check,
                format!("Redis does not tell its `{field}`; let its user run INFO"),
            )),
        }
    }
}

#[async_trait]
impl StoreChecks for RedisHotStore {
    async fn check_server(&self, settings: &CheckSettings) -> Result<Vec<Problem>, CheckError> {
        let wanted = RULES.into_iter().filter(|rule| settings.wants(rule.check));
        let wanted: Vec<Rule> = wanted.collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut problems: Vec<Problem> = Vec::new();
        for server in self.entries.servers() {
            let answer = server.send(&redis::cmd("INFO")).await.and_then(read);
            let info: String = match answer {
                Err(error) if error.code() == Some("NOPERM") => String::new(),
                answer => answer.map_err(classify)?,
            };
            let found = wanted.iter().filter_map(|rule| rule.apply(&info));
            // The nodes of a cluster are mostly set up alike.
            problems
                .extend(found.filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
        }
        Ok(problems)
    }

    async fn check_models(
        &self,
        models: &[&'static ModelDescriptor],
        settings: &CheckSettings,
    ) -> Result<Vec<Problem>, CheckError> {
        if !settings.wants(Check::Partitions) {
            return Ok(Vec::new());
        }
        let mut problems = Vec::new();
        for queue in queues_of(models) {
            if !self.layouts(queue).await?.is_empty() {
                // It was changed since, and PostgreSQL says how.
                continue;
            }
            // Which keys there are depends on the number of partitions, and so does where that
            // number was written down; the first partition has it in all likelihood.
            let mut pipeline = Pipeline::new();
            for state in self.keys.first_states(queue) {
                pipeline.cmd("HGET").arg(state).arg("partitions");
            }
            for answer in self.entries.send(&pipeline).await.map_err(classify)? {
                let written: Option<String> = read(answer).map_err(classify)?;
                let ours = self.keys.layout(queue).count;
                if let Some(written) = written.filter(|written| *written != ours.to_string()) {
                    problems.push(Problem::partitions(queue, &written, ours));
                }
            }
        }
        Ok(problems)
    }
}

fn read<T: FromRedisValue>(answer: Value) -> Result<T, RedisError> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(from_redis_value(answer)?),
    }
}

fn version_problem(version: &str) -> Option<String> {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = VERSION_MIN;
    (found < VERSION_MIN).then(|| {
        format!("Redis is {version}, which is too old; upgrade it to {major}.{minor} or newer")
    })
}

fn eviction_problem(policy: &str) -> Option<String> {
    let is_safe = policy == "noeviction" || policy.starts_with("volatile-");
    (!is_safe).then(|| {
        format!(
            "Redis evicts any key when memory is short (`maxmemory-policy {policy}`), and so \
             loses rows that are not drained; set it to `noeviction` or one of `volatile-*`"
        )
    })
}

fn persistence_problem(aof_enabled: &str) -> Option<String> {
    (aof_enabled != "1").then(|| {
        "Redis keeps no append-only file, so that a crash of it loses what is not drained; set \
         `appendonly yes` there"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(info: &str) -> Vec<Problem> {
        RULES.iter().filter_map(|rule| rule.apply(info)).collect()
    }

    #[test]
    fn old_versions_are_told_from_new_ones() {
        for version in ["2.8.24", "5.0.14", "6.0.16", "6.1.9", "none"] {
            let message = version_problem(version).expect(version);
            assert!(message.contains(version) && message.contains("6.2 or newer"), "{message}");
        }
        for version in ["6.2.0", "6.10.1", "7.0.15", "7.2.4", "10.0.0", "8.0-rc1"] {
            assert_eq!(version_problem(version), None, "{version}");
        }
    }

    #[test]
    fn only_policies_that_keep_pinned_rows_pass() {
        for policy in ["noeviction", "volatile-lru", "volatile-ttl", "volatile-lfu"] {
            assert_eq!(eviction_problem(policy), None, "{policy}");
        }
        for policy in ["allkeys-lru", "allkeys-random", "allkeys-lfu"] {
            assert!(eviction_problem(policy).is_some_and(|message| message.contains(policy)));
        }
    }

    #[test]
    fn what_the_server_does_not_tell_is_advice() {
        let fit = "# Server\r\nredis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n\
                   aof_enabled:1\r\n";
        assert_eq!(found(fit), []);
        let silent = found("");
        assert_eq!(silent.len(), RULES.len());
        assert!(silent.iter().all(|problem| problem.is_advice), "{silent:?}");
    }
}
