//! The drainer: it carries entries from the queues to PostgreSQL.
//!
//! Each worker owns a share of the partitions. A step of it reads entries from
//! the offsets on, folds them by row, applies them together with the new
//! offsets in one transaction, and settles the rows in Redis. A crash anywhere
//! repeats nothing and skips nothing, because rows and offsets commit together;
//! what a crash between commit and settle leaves is settled at the next start.

mod backoff;
mod causal;
mod context;
mod fold;
mod gate;
mod isolate;
mod lease;
mod pace;
mod part;
mod plan;
mod progress;
mod queues;
mod read;
mod rebuild;
mod repair;
mod share;
mod take_over;
mod tenants;
mod wait;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::fold::in_queue_order;
pub(crate) use self::isolate::fault_of_others;
use self::part::{Part, Turns};
pub use self::queues::{QueueStatus, Queues};
use self::tenants::{Choice, Crowd, Followed};
use crate::checks::{self, CheckError};
use crate::error::{Server, Source};
use crate::hot_store::HotStoreError;
use crate::model::{KvModel, ModelDescriptor};
use crate::schema::Schema;
use crate::stores::{Stores, check_for_tenants, is_among};
use crate::tenants::{TenantError, Tenants};

fn unlisted(error: TenantError) -> CheckError {
    CheckError::Unavailable { server: Server::PostgreSql, source: Box::new(error) }
}

/// How often a wait looks for what other drainers have done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Says which models a drainer carries; made by [`Kv::drainer`](crate::Kv::drainer).
#[derive(Debug)]
#[must_use = "nothing is drained until it is spawned"]
pub struct DrainerBuilder {
    stores: Arc<Stores>,
    tenants: Arc<Tenants>,
    models: Vec<&'static ModelDescriptor>,
    /// Which tenants, where it is not what it was made from.
    choice: Option<Choice>,
}

impl DrainerBuilder {
    pub(crate) fn new(stores: Arc<Stores>, tenants: Arc<Tenants>) -> Self {
        Self { stores, tenants, models: Vec::new(), choice: None }
    }

    /// Adds a model. A parent comes before its children, where foreign keys tie their tables.
    ///
    /// # Panics
    /// If another model has the same key prefix: their rows would overwrite each other.
    #[track_caller]
    pub fn model<M: KvModel>(mut self) -> Self {
        self.add(M::DESCRIPTOR);
        self
    }

    /// Adds all models of a schema, in its order, as [`model`](Self::model) does: those whose tables
    /// [`Kv::create_tables`](crate::Kv::create_tables) makes.
    ///
    /// # Panics
    /// If another model has the same key prefix.
    #[track_caller]
    pub fn models(mut self, schema: &Schema) -> Self {
        for model in schema.models() {
            self.add(model);
        }
        self
    }

    #[track_caller]
    fn add(&mut self, model: &'static ModelDescriptor) {
        if !is_among(&self.models, model) {
            self.models.push(model);
        }
    }

    /// Drains these tenants, and not what it was made from.
    ///
    /// Tenants share the workers ([`DrainSettings::workers`](crate::DrainSettings::workers)), which
    /// serve them in turn, a batch at a time: one that is written to without end keeps no other
    /// waiting for longer than that takes. One tenant alone has all workers but one.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel, TenantError};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # #[kv(table = "bookings")]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # async fn drain(kv: &Kv) -> Result<(), TenantError> {
    /// let drainer = kv.drainer().model::<Booking>().tenants(["acme", "globex"])?.spawn();
    /// # drainer.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TenantError`], as of [`Kv::tenant`](crate::Kv::tenant).
    pub fn tenants<T: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = T>,
    ) -> Result<Self, TenantError> {
        let mut chosen = Vec::new();
        for name in names {
            self.tenants.open(name.as_ref())?;
            chosen.push(name.as_ref().to_owned());
        }
        self.choice = Some(Choice::These(chosen));
        Ok(self)
    }

    /// Drains all tenants ([`Kv::tenants`](crate::Kv::tenants)), and not what it was made from: those
    /// that are added while it runs within a second or two, and no more those that are removed.
    /// They share the workers as those of [`tenants`](Self::tenants) do.
    ///
    /// A tenant that is not written to for [`DrainSettings::retention`](crate::DrainSettings::retention)
    /// and ten seconds more rests: it costs a look at its queues every minute. Writes tell that they
    /// are there; [`Drainer::status`] is about the tenants that do not rest. This is so of a list, too.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # #[kv(table = "bookings")]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let kv = Kv::memory();
    /// let drainer = kv.drainer().model::<Booking>().all_tenants().spawn();
    /// let acme = kv.tenant("acme")?;
    /// acme.migrate().await?;
    /// acme.repository::<Booking>().create(&Booking { id: 7, status: "new".into() }).await?;
    /// assert_eq!(drainer.shutdown().await?.entries_drained, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn all_tenants(mut self) -> Self {
        self.choice = Some(Choice::All);
        self
    }

    /// Checks the models' tables, the runtime's own ones and the number of partitions, as
    /// [`Checks::run`](crate::Checks::run) does, of each tenant that it is to drain: for who wants to
    /// know before it spawns.
    ///
    /// # Errors
    /// [`CheckError`], with all problems in one go.
    pub async fn check(&self) -> Result<(), CheckError> {
        let Some(choice) = &self.choice else {
            return checks::check_models(&self.stores, &self.models).await;
        };
        let names = choice.names(&self.tenants).await.map_err(unlisted)?;
        for name in names {
            let stores = self.tenants.open(&name).map_err(unlisted)?;
            checks::check_models(&stores, &self.models).await?;
        }
        Ok(())
    }

    /// Starts draining, on the Tokio runtime that this is called on.
    ///
    /// It needs no server to be up: what is missing is waited for and reported by
    /// [`Drainer::status`] and as warnings. The start-up checks are made first; a problem that
    /// they refuse is reported as an error, and nothing is drained until it is gone.
    ///
    /// # Panics
    /// If another model with the key prefix of one is in use here, as by a repository. If it is for
    /// tenants, and the table of a model is named with a schema: all tenants would have the same one.
    pub fn spawn(self) -> Drainer {
        let Self { stores, tenants, models, choice } = self;
        let parts = match choice {
            None => {
                for model in &models {
                    stores.know(model);
                }
                Parts::One(Part::spawn(&stores, models, None))
            }
            Some(choice) => {
                models.iter().copied().for_each(check_for_tenants);
                tenants.carry(&models);
                let turns = Turns::new(stores.settings.drain.workers);
                Parts::Tenants(Followed::spawn(Crowd::new(tenants, choice, models, turns)))
            }
        };
        Drainer { stores, parts }
    }
}

/// A drainer at work. Dropping it stops it after the batches that are on their way.
///
/// Any number of drainers, in any processes, share the partitions of the queues evenly: each has
/// leases, for [`DrainSettings::lease`](crate::DrainSettings::lease). One that was paused for longer
/// and comes back can commit nothing that another has taken over.
#[derive(Debug)]
#[must_use = "dropping it stops the drainer"]
pub struct Drainer {
    stores: Arc<Stores>,
    parts: Parts,
}

/// Whose queues they are.
// There are few drainers.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
enum Parts {
    One(Part),
    Tenants(Followed),
}

/// What a drainer has done, and what is left to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrainStatus {
    /// Entries whose effect is committed, since it was spawned.
    pub entries_drained: u64,
    /// Rows written to PostgreSQL for them.
    pub rows_written: u64,
    /// Entries that needed no statement of their own, because others of their row had one.
    pub entries_folded: u64,
    /// Transactions.
    pub batches: u64,
    /// Entries that PostgreSQL refused for their content, or that queued behind such a one.
    pub dead_letters: u64,
    /// How often Redis or PostgreSQL was found to have gone back in time; each was repaired.
    pub setbacks: u64,
    /// How often a worker has panicked and was started again.
    pub panics: u64,
    /// The partitions that it has leases of.
    pub partitions: usize,
    /// Entries that wait on the queues.
    pub undrained: u64,
    /// The age of the oldest of them; zero where none waits.
    pub lag: Duration,
    /// The greatest age of an entry at its commit.
    pub lag_max: Duration,
    /// What stands in the way of some worker now, if anything does.
    pub last_error: Option<String>,
}

/// Why a drainer could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// Redis did not answer.
    #[error("Redis cannot be asked for the state of the queues")]
    Unavailable(#[source] Source),
    /// It cannot be found out which tenants there are.
    #[error("it is not known which tenants there are")]
    Tenants(#[source] Source),
    /// The time for draining ran out. The entries are safe on their queues.
    #[error(
        "{undrained} entries are not drained yet; they stay queued for the next drainer ({reason})"
    )]
    Undrained {
        /// How many.
        undrained: u64,
        /// What stood in the way, as far as is known.
        reason: String,
    },
}

impl From<HotStoreError> for DrainError {
    fn from(error: HotStoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Drainer {
    /// Waits until everything that was written before this call is drained, by whichever drainer.
    ///
    /// It waits for as long as that takes; an outage is reported by [`status`](Self::status). What
    /// Redis loses meanwhile is not waited for.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn flush(&self) -> Result<(), DrainError> {
        match &self.parts {
            Parts::One(part) => part.flush().await,
            Parts::Tenants(followed) => followed.crowd().flush().await,
        }
    }

    /// What it has done, and what is left to do.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn status(&self) -> Result<DrainStatus, DrainError> {
        let (counts, queued, last_error) = match &self.parts {
            Parts::One(part) => (part.counts(), part.queued().await?, part.last_error()),
            Parts::Tenants(followed) => {
                let crowd = followed.crowd();
                (crowd.counts(), crowd.queued().await?, crowd.last_error())
            }
        };
        Ok(DrainStatus {
            entries_drained: counts.entries_drained,
            rows_written: counts.rows_written,
            entries_folded: counts
                .entries_drained
                .saturating_sub(counts.rows_written + counts.dead_letters),
            batches: counts.batches,
            dead_letters: counts.dead_letters,
            setbacks: counts.setbacks,
            panics: counts.panics,
            partitions: counts.partitions,
            undrained: queued.undrained,
            lag: queued.lag,
            lag_max: counts.lag_max,
            last_error,
        })
    }

    /// Drains everything that was written before this call, and stops.
    ///
    /// A dead letter counts as drained.
    ///
    /// # Errors
    /// [`DrainError::Undrained`] if that takes longer than `drain.shutdown_timeout`; the
    /// entries stay on their queues. It has stopped in any case.
    pub async fn shutdown(mut self) -> Result<DrainStatus, DrainError> {
        let timeout = self.stores.settings.drain.shutdown_timeout;
        let flushed = tokio::time::timeout(timeout, self.flush()).await;
        self.end().await;
        if let Ok(Err(error)) = flushed {
            return Err(error);
        }
        let status = self.status().await?;
        if flushed.is_err() {
            let reason = status.last_error.unwrap_or_else(|| "the time ran out".to_owned());
            return Err(DrainError::Undrained { undrained: status.undrained, reason });
        }
        Ok(status)
    }

    /// Stops: batches that are on their way are finished or rolled back, and the leases are given
    /// back. What is not drained stays on the queues. It takes three seconds at most.
    pub async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        match &mut self.parts {
            Parts::One(part) => part.end().await,
            Parts::Tenants(followed) => followed.end().await,
        }
    }
}
