//! The tenants of a drainer, each with a part of its own, as they come and go.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinSet;

use super::DrainError;
use super::part::{Part, Turns};
use super::progress::Counts;
use super::queues::QueueStatus;
use super::worker::report;
use crate::model::ModelDescriptor;
use crate::tenants::{TenantError, Tenants};

/// How often it is looked which tenants there are.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Which tenants are drained.
#[derive(Debug, Clone)]
pub(super) enum Choice {
    These(Vec<String>),
    All,
}

impl Choice {
    pub(super) async fn names(&self, tenants: &Tenants) -> Result<Vec<String>, TenantError> {
        match self {
            Self::These(names) => Ok(names.clone()),
            Self::All => tenants.names().await,
        }
    }
}

/// The parts of a drainer, one a tenant.
#[derive(Debug)]
pub(super) struct Crowd {
    tenants: Arc<Tenants>,
    choice: Choice,
    models: Vec<&'static ModelDescriptor>,
    turns: Turns,
    state: Mutex<State>,
    /// Who looks which tenants there are; one at a time.
    look: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<String, Arc<Part>>,
    /// What those did that are drained no more.
    past: Counts,
    /// Why it is not known which tenants there are.
    error: Option<String>,
}

impl Crowd {
    pub(super) fn new(
        tenants: Arc<Tenants>,
        choice: Choice,
        models: Vec<&'static ModelDescriptor>,
        turns: Turns,
    ) -> Self {
        let (state, look) = Default::default();
        Self { tenants, choice, models, turns, state, look }
    }

    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> Vec<Arc<Part>> {
        self.lock().parts.values().map(Arc::clone).collect()
    }

    /// Begins with tenants that are new, and ends with those that are there no more.
    async fn look(&self) -> Result<(), TenantError> {
        let _only_one = self.look.lock().await;
        let names = self.choice.names(&self.tenants).await;
        let begun = names.and_then(|names| self.begin(&names).map(|()| names));
        self.lock().error = begun.as_ref().err().map(|error| report(error));
        let names = begun?;
        let gone = {
            let parts = &mut self.lock().parts;
            let gone = parts.keys().filter(|name| !names.contains(name)).cloned();
            let gone: Vec<String> = gone.collect();
            gone.iter().filter_map(|name| parts.remove(name)).collect::<Vec<_>>()
        };
        join_all(gone.iter().map(|part| part.end())).await;
        let mut state = self.lock();
        for part in gone {
            state.past = state.past.and(Counts { partitions: 0, ..part.counts() });
        }
        Ok(())
    }

    fn begin(&self, names: &[String]) -> Result<(), TenantError> {
        for name in names {
            if self.lock().parts.contains_key(name) {
                continue;
            }
            let stores = self.tenants.open(name)?;
            for model in &self.models {
                stores.know(model);
            }
            let part = Part::spawn(&stores, self.models.clone(), Some(self.turns.clone()));
            self.lock().parts.insert(name.clone(), Arc::new(part));
        }
        Ok(())
    }

    pub(super) async fn flush(&self) -> Result<(), DrainError> {
        // Those count, too, that were added a moment ago.
        self.look().await.map_err(|error| DrainError::Tenants(Box::new(error)))?;
        try_join_all(self.parts().iter().map(|part| part.flush())).await.map(drop)
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        state.parts.values().fold(state.past, |counts, part| counts.and(part.counts()))
    }

    pub(super) async fn queued(&self) -> Result<QueueStatus, DrainError> {
        let of_parts = try_join_all(self.parts().iter().map(|part| part.queued())).await?;
        Ok(of_parts.into_iter().fold(QueueStatus::default(), QueueStatus::and))
    }

    pub(super) fn last_error(&self) -> Option<String> {
        let state = self.lock();
        let of_part = |(name, part): (&String, &Arc<Part>)| {
            part.last_error().map(|error| format!("tenant `{name}`: {error}"))
        };
        state.error.clone().or_else(|| state.parts.iter().find_map(of_part))
    }
}

/// A crowd, and who looks after it until this is dropped.
#[derive(Debug)]
pub(super) struct Followed {
    crowd: Arc<Crowd>,
    looking: JoinSet<()>,
}

impl Followed {
    pub(super) fn spawn(crowd: Crowd) -> Self {
        let crowd = Arc::new(crowd);
        let mut looking = JoinSet::new();
        let looked_after = Arc::clone(&crowd);
        looking.spawn(async move {
            loop {
                if let Err(error) = looked_after.look().await {
                    tracing::warn!(
                        error = report(&error),
                        "it is not known which tenants there are"
                    );
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        Self { crowd, looking }
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) async fn end(&mut self) {
        self.looking.shutdown().await;
        join_all(self.crowd.parts().iter().map(|part| part.end())).await;
    }
}
