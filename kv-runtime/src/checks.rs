//! The start-up checks: whether the servers, their data and the models fit together.
//!
//! Each store tells what it finds; here it is decided what that leads to. The servers are
//! checked when a pair is opened, the models when somebody asks and before a drainer's first
//! batch. No write waits for a check: a table that is missing holds up the drainer alone.

mod problem;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::problem::{Check, CheckError, Problem};
pub use self::settings::{CheckMode, CheckSettings};
use crate::model::{KvModel, ModelDescriptor};
use crate::schema::Schema;
use crate::scheme::StorageScheme;
use crate::stores::Stores;

/// The part of both ports that the start-up checks use. In memory there is nothing to find.
///
/// What the settings have turned off is not looked for.
#[async_trait]
pub(crate) trait StoreChecks: Sync {
    /// What is wrong with the server, whatever the models.
    async fn check_server(&self, _settings: &CheckSettings) -> Result<Vec<Problem>, CheckError> {
        Ok(Vec::new())
    }

    /// What does not fit these models.
    async fn check_models(
        &self,
        _models: &[&'static ModelDescriptor],
        _settings: &CheckSettings,
    ) -> Result<Vec<Problem>, CheckError> {
        Ok(Vec::new())
    }
}

/// Checks that some models fit the stores; made by [`Kv::checks`](crate::Kv::checks).
#[derive(Debug)]
#[must_use = "nothing is checked until it is run"]
pub struct Checks {
    stores: Arc<Stores>,
    models: Vec<&'static ModelDescriptor>,
}

impl Checks {
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { stores, models: Vec::new() }
    }

    /// Adds a model.
    pub fn model<M: KvModel>(mut self) -> Self {
        self.models.push(M::DESCRIPTOR);
        self
    }

    /// Adds all models of a schema: those whose tables
    /// [`Kv::create_tables`](crate::Kv::create_tables) makes.
    pub fn models(mut self, schema: &Schema) -> Self {
        self.models.extend(schema.models());
        self
    }

    /// Checks the models' tables, the runtime's own ones and the number of partitions.
    ///
    /// # Errors
    /// [`CheckError`], with all problems in one go.
    pub async fn run(&self) -> Result<(), CheckError> {
        check_models(&self.stores, &self.models).await
    }
}

/// Whether the servers can be used, whatever the models.
pub(crate) async fn check_servers(stores: &Stores) -> Result<(), CheckError> {
    let settings = &stores.settings.checks;
    let (hot, durable) =
        tokio::try_join!(stores.hot.check_server(settings), stores.durable.check_server(settings))?;
    judge(settings, hot.into_iter().chain(durable))
}

/// Whether the models fit what is on the servers.
pub(crate) async fn check_models(
    stores: &Stores,
    models: &[&'static ModelDescriptor],
) -> Result<(), CheckError> {
    let settings = &stores.settings.checks;
    let mut with_table = Vec::with_capacity(models.len());
    for model in models {
        // Without an answer it is checked: then the server is what is found to be missing.
        if !matches!(stores.scheme(model).await, Ok(StorageScheme::RedisOnly)) {
            with_table.push(*model);
        }
    }
    let (hot, durable) = tokio::try_join!(
        stores.hot.check_models(models, settings),
        stores.durable.check_models(&with_table, settings)
    )?;
    judge(settings, hot.into_iter().chain(durable))
}

/// The queues of some models, each once.
pub(crate) fn queues_of(models: &[&'static ModelDescriptor]) -> Vec<&'static str> {
    let mut queues: Vec<&str> = models.iter().map(|model| model.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    queues
}

/// Refuses, warns or keeps silent, as the settings say.
fn judge(
    settings: &CheckSettings,
    problems: impl Iterator<Item = Problem>,
) -> Result<(), CheckError> {
    let mut refused = Vec::new();
    for problem in problems {
        match settings.mode(problem.check) {
            CheckMode::Off => {}
            // Both sides may have found the same.
            CheckMode::Refuse if refused.contains(&problem) => {}
            CheckMode::Refuse if !problem.is_advice => refused.push(problem),
            CheckMode::Refuse | CheckMode::Warn => {
                let setting = problem.check.setting();
                tracing::warn!("{}, or set `{setting}` to `off`", problem.message);
            }
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(CheckError::Refused(refused)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_in_one_go_each_with_its_override() {
        let problems = || {
            let eviction = Problem::new(Check::Eviction, "a; do b");
            let twice = Problem::partitions("q", "8", 64);
            [eviction, twice.clone(), twice, Problem::advice(Check::Schema, "c; do d")].into_iter()
        };
        let error = judge(&CheckSettings::default(), problems()).expect_err("two problems");
        assert_eq!(
            error.to_string(),
            "the start-up checks found 2 problems:\n\
             - a; do b, or set `checks.eviction` (KV_CHECKS_EVICTION) to `warn`\n\
             - queue `q` was written with 8 partitions, but the settings say 64; \
             set `partitions` to 8, or set `checks.partitions` (KV_CHECKS_PARTITIONS) to `warn`"
        );
        let mut settings = CheckSettings { eviction: CheckMode::Warn, ..CheckSettings::default() };
        let error = judge(&settings, problems()).expect_err("one problem");
        assert!(error.to_string().starts_with("a start-up check found that queue `q`"), "{error}");
        settings.partitions = CheckMode::Off;
        assert!(judge(&settings, problems()).is_ok());
    }
}
