//! The tenants of a drainer, as they come and go.
//!
//! One that is written to has a part of its own, which looks after its queues. One that is not rests:
//! it costs nothing but a look every minute, because what says that it was written to can be lost
//! with the process that wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DrainError;
use super::part::{Part, Turns};
use super::progress::Counts;
use super::queues::{QueueStatus, Queues};
use super::worker::report;
use crate::hot_store::HotStoreError;
use crate::model::ModelDescriptor;
use crate::stores::Stores;
use crate::tenants::{TenantError, Tenants};

/// How often it is looked which tenants there are.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often those are looked at that rest.
const LOOK_AT_ALL: Duration = Duration::from_secs(60);

/// How many of them at once.
const LOOKS_AT_ONCE: usize = 8;

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

/// The tenants of a drainer.
#[derive(Debug)]
pub(super) struct Crowd {
    tenants: Arc<Tenants>,
    choice: Choice,
    models: Vec<&'static ModelDescriptor>,
    turns: Turns,
    state: Mutex<State>,
    /// Who begins and ends parts; one at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<String>,
    /// Of those that do not rest.
    parts: BTreeMap<String, Busy>,
    /// What those did that rest, or are drained no more.
    past: Counts,
    /// Why it is not known which tenants there are, or which were written to.
    error: Option<String>,
}

/// A tenant's part, and when it was last written to.
#[derive(Debug)]
struct Busy {
    part: Arc<Part>,
    since: Instant,
}

/// Why it is not known what is to be drained.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Tenants(#[from] TenantError),
    #[error("it is not known which tenants were written to")]
    Written(#[from] HotStoreError),
    #[error(transparent)]
    Queues(#[from] DrainError),
}

impl From<LookError> for DrainError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Tenants(error) => Self::Tenants(Box::new(error)),
            LookError::Written(error) => error.into(),
            LookError::Queues(error) => error,
        }
    }
}

impl Crowd {
    pub(super) fn new(
        tenants: Arc<Tenants>,
        choice: Choice,
        models: Vec<&'static ModelDescriptor>,
        turns: Turns,
    ) -> Self {
        let (state, turn) = Default::default();
        Self { tenants, choice, models, turns, state, turn }
    }

    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> Vec<Arc<Part>> {
        self.lock().parts.values().map(|busy| Arc::clone(&busy.part)).collect()
    }

    /// Looks which tenants there are: begins with new ones that have something to do, and leaves those
    /// that are there no more.
    async fn look(&self) -> Result<(), LookError> {
        let names: BTreeSet<String> = self.choice.names(&self.tenants).await?.into_iter().collect();
        let (new, gone): (Vec<String>, Vec<String>) = {
            let state = &mut *self.lock();
            let before = std::mem::replace(&mut state.names, names);
            let gone = state.parts.keys().filter(|name| !state.names.contains(*name));
            (state.names.difference(&before).cloned().collect(), gone.cloned().collect())
        };
        {
            let _turn = self.turn.lock().await;
            self.end(&gone).await;
        }
        self.look_at(new).await
    }

    /// Looks at the queues of all that rest.
    async fn look_at_all(&self) -> Result<(), LookError> {
        let resting: Vec<String> = {
            let state = self.lock();
            state.names.iter().filter(|name| !state.parts.contains_key(*name)).cloned().collect()
        };
        self.look_at(resting).await
    }

    /// Looks at queues, and begins where something waits.
    async fn look_at(&self, names: Vec<String>) -> Result<(), LookError> {
        let looks = names.into_iter().map(async |name| {
            let status = self.queues(&self.tenants.open(&name)?).status().await?;
            Ok::<_, LookError>((status.undrained > 0).then_some(name))
        });
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE).collect().await;
        // One that cannot be looked at does not hold up the others.
        let (waiting, failed): (Vec<_>, Vec<_>) = looked.into_iter().partition(Result::is_ok);
        self.begin(waiting.into_iter().flatten().flatten().collect()).await?;
        failed.into_iter().next().map_or(Ok(()), |failed| failed.map(drop))
    }

    fn queues(&self, stores: &Arc<Stores>) -> Queues {
        let queues: BTreeSet<&'static str> = self.models.iter().map(|model| model.queue).collect();
        Queues::of(Arc::clone(stores), queues.into_iter().collect())
    }

    /// Begins with tenants that were written to, those among them that are its own.
    async fn begin(&self, written: Vec<String>) -> Result<(), TenantError> {
        let _turn = self.turn.lock().await;
        for name in written {
            let is_resting = {
                let mut state = self.lock();
                if let Some(busy) = state.parts.get_mut(&name) {
                    busy.since = Instant::now();
                }
                state.names.contains(&name) && !state.parts.contains_key(&name)
            };
            if is_resting {
                let stores = self.tenants.open(&name)?;
                let part = Part::spawn(&stores, self.models.clone(), Some(self.turns.clone()));
                let busy = Busy { part: Arc::new(part), since: Instant::now() };
                self.lock().parts.insert(name, busy);
            }
        }
        Ok(())
    }

    /// Lets those rest that were not written to for long and have nothing to do.
    async fn let_rest(&self) {
        let patience = self.tenants.patience();
        let quiet: Vec<(String, Arc<Part>)> = {
            let state = self.lock();
            let quiet = state.parts.iter().filter(|(_, busy)| busy.since.elapsed() >= patience);
            quiet.map(|(name, busy)| (name.clone(), Arc::clone(&busy.part))).collect()
        };
        let _turn = self.turn.lock().await;
        for (name, part) in quiet {
            let is_done = part.last_error().is_none()
                && part.queued().await.is_ok_and(|queued| queued.undrained == 0);
            if is_done {
                self.end(&[name]).await;
            } else if let Some(busy) = self.lock().parts.get_mut(&name) {
                busy.since = Instant::now();
            }
        }
    }

    /// Ends parts, and remembers what they did.
    async fn end(&self, names: &[String]) {
        let ended: Vec<Busy> = {
            let parts = &mut self.lock().parts;
            names.iter().filter_map(|name| parts.remove(name)).collect()
        };
        join_all(ended.iter().map(|busy| busy.part.end())).await;
        let mut state = self.lock();
        for busy in ended {
            state.past = state.past.and(Counts { partitions: 0, ..busy.part.counts() });
        }
    }

    pub(super) async fn flush(&self) -> Result<(), DrainError> {
        // Those count, too, that were added or written to a moment ago.
        self.look().await?;
        self.look_at_all().await?;
        try_join_all(self.parts().iter().map(|part| part.flush())).await.map(drop)
    }

    pub(super) fn counts(&self) -> Counts {
        let state = self.lock();
        state.parts.values().fold(state.past, |counts, busy| counts.and(busy.part.counts()))
    }

    pub(super) async fn queued(&self) -> Result<QueueStatus, DrainError> {
        let of_parts = try_join_all(self.parts().iter().map(|part| part.queued())).await?;
        Ok(of_parts.into_iter().fold(QueueStatus::default(), QueueStatus::and))
    }

    pub(super) fn last_error(&self) -> Option<String> {
        let state = self.lock();
        let of_part = |(name, busy): (&String, &Busy)| {
            busy.part.last_error().map(|error| format!("tenant `{name}`: {error}"))
        };
        state.error.clone().or_else(|| state.parts.iter().find_map(of_part))
    }

    /// Looks after the tenants, for ever.
    async fn follow(&self) {
        let mut looked: Option<Instant> = None;
        let mut looked_at_all = Some(Instant::now());
        let mut number = None;
        loop {
            let is_due = |last: Option<Instant>, period: Duration| {
                last.is_none_or(|at| at.elapsed() >= period)
            };
            let round = async {
                // Before it is looked for the first time at queues: what is written later is told.
                let (last, written) = self.tenants.written_since(number.unwrap_or(0)).await?;
                if number.is_some() {
                    self.begin(written).await?;
                }
                number = Some(last);
                if is_due(looked, LOOK_AGAIN) {
                    self.look().await?;
                    self.let_rest().await;
                    looked = Some(Instant::now());
                }
                if is_due(looked_at_all, LOOK_AT_ALL) {
                    self.look_at_all().await?;
                    looked_at_all = Some(Instant::now());
                }
                Ok::<_, LookError>(())
            };
            let error = round.await.err().map(|error| report(&error));
            if let Some(error) = &error {
                tracing::warn!(error, "it is not known what tenants have to be drained");
                // Some may not have been looked at.
                looked_at_all = None;
            }
            self.lock().error = error;
            tokio::time::sleep(self.tenants.interval()).await;
        }
    }
}

/// A crowd, and who looks after it until this is dropped.
#[derive(Debug)]
pub(super) struct Followed {
    crowd: Arc<Crowd>,
    following: JoinSet<()>,
}

impl Followed {
    pub(super) fn spawn(crowd: Crowd) -> Self {
        let crowd = Arc::new(crowd);
        let followed = Arc::clone(&crowd);
        let mut following = JoinSet::new();
        following.spawn(async move { followed.follow().await });
        Self { crowd, following }
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    pub(super) async fn end(&mut self) {
        self.following.shutdown().await;
        join_all(self.crowd.parts().iter().map(|part| part.end())).await;
    }
}
