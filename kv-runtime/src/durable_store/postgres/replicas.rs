//! Replicas of the server, which answer what may be behind.
//!
//! How far a replica is behind is not asked of clocks, and not of the replica, which does not know
//! what it has not got yet. A mark is a place in the primary's log and the time before which all that
//! was committed stands before that place. A replica that has come past a mark has all from before
//! its time, also where nothing was written since, and where the replica hears of the primary no
//! more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::sql_types::{BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::pool::Pool;
use super::session::Schema;
use super::{classify, select};
use crate::durable_store::{DurableStoreError, StoredRows};
use crate::error::with_sources;
use crate::query::select::Select;
use crate::settings::{Settings, SettingsError};

/// How long nothing is asked of a replica that has failed.
const REST: Duration = Duration::from_secs(5);

/// How long a replica may take to say where it stands, or to open a connection.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How often, within the time that a replica may be behind, it is looked at.
const LOOKS: u32 = 4;

const PRIMARY_POSITION: &str = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS position";

const REPLICA_POSITION: &str = "SELECT CASE WHEN pg_is_in_recovery() \
     THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END AS position";

#[derive(diesel::QueryableByName)]
struct PositionRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    position: Option<i64>,
}

/// The replicas of one primary.
pub(super) struct Replicas {
    replicas: Vec<Replica>,
    /// They take turns.
    next: AtomicUsize,
    lag_max: Option<Duration>,
    marks: Mutex<Vec<Mark>>,
    statement_timeout: Duration,
}

/// A place in the primary's log, and when the primary was asked for it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    position: i64,
}

struct Replica {
    /// The address, without its password.
    name: String,
    pool: Pool,
    state: Mutex<State>,
    /// Who looks at it; one at a time is enough.
    look: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// It has failed, or was never asked; it is let alone until then.
    Down { until: Instant },
    /// It has all that was committed before that time.
    Up { has_all_before: Option<Instant> },
}

impl Replicas {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let postgres = &settings.postgres;
        let replica = |url| {
            Ok(Replica {
                name: ToString::to_string(url),
                pool: Pool::of_replica(settings, url)?,
                state: Mutex::new(State::Down { until: Instant::now() }),
                look: tokio::sync::Mutex::default(),
            })
        };
        Ok(Self {
            replicas: postgres.replicas.iter().map(replica).collect::<Result<_, _>>()?,
            next: AtomicUsize::default(),
            lag_max: postgres.replica_max_lag,
            marks: Mutex::default(),
            statement_timeout: postgres.statement_timeout,
        })
    }

    /// Asks a replica that is not too far behind; `None` where there is none, or it fails.
    pub(super) async fn select(
        &self,
        primary: &Pool,
        schema: &Schema,
        select: &Select,
    ) -> Result<Option<StoredRows>, DurableStoreError> {
        let Some((replica, has_all_before)) = self.choose(primary).await else { return Ok(None) };
        // It has its reasons, such as that all its connections are in use.
        let Ok(mut connection) = replica.pool.get(schema).await else { return Ok(None) };
        let replica_lag = has_all_before.map(|time| time.elapsed());
        match select::load(&mut connection, select, self.statement_timeout).await {
            Ok(rows) => Ok(Some(StoredRows { rows, replica_lag })),
            Err(error @ DurableStoreError::RefusedQuery(_)) => Err(error),
            Err(error) => {
                replica.rest(&error);
                Ok(None)
            }
        }
    }

    /// The next replica that is not too far behind, and from before when it has all.
    async fn choose(&self, primary: &Pool) -> Option<(&Replica, Option<Instant>)> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for at in 0..self.replicas.len() {
            let replica = &self.replicas[first.wrapping_add(at) % self.replicas.len()];
            if self.is_to_be_looked_at(replica)
                && let Ok(_only_one) = replica.look.try_lock()
                && let Err(error) = self.look_in_time(replica, primary).await
            {
                replica.rest(&error);
            }
            let State::Up { has_all_before } = *replica.state() else { continue };
            let is_near = |max| has_all_before.is_some_and(|time| time.elapsed() <= max);
            if self.lag_max.is_none_or(is_near) {
                return Some((replica, has_all_before));
            }
        }
        None
    }

    fn is_to_be_looked_at(&self, replica: &Replica) -> bool {
        match (*replica.state(), self.lag_max) {
            (State::Down { until }, _) => Instant::now() >= until,
            (State::Up { .. }, None) => false,
            (State::Up { has_all_before }, Some(max)) => {
                has_all_before.is_none_or(|time| time.elapsed() > max / LOOKS)
            }
        }
    }

    /// One that does not answer keeps nobody waiting for long.
    async fn look_in_time(
        &self,
        replica: &Replica,
        primary: &Pool,
    ) -> Result<(), DurableStoreError> {
        match tokio::time::timeout(ANSWER_MAX, self.look(replica, primary)).await {
            Ok(looked) => looked,
            Err(_) => Err(DurableStoreError::Timeout("it did not say where it stands".into())),
        }
    }

    /// Finds how far a replica has come.
    async fn look(&self, replica: &Replica, primary: &Pool) -> Result<(), DurableStoreError> {
        let state = *replica.state();
        let mut has_all_before = match state {
            State::Up { has_all_before } => has_all_before,
            State::Down { .. } => {
                replica.pool.try_out().await?;
                None
            }
        };
        if let Some(max) = self.lag_max {
            self.set_mark(primary, max).await;
            let position = position(&mut *replica.pool.get(&None).await?, REPLICA_POSITION).await?;
            let position = position.ok_or_else(|| {
                DurableStoreError::Configuration(
                    "it is no standby, so that nobody can say how far behind it is; set \
                     `postgres.replica_max_lag` to `None`"
                        .into(),
                )
            })?;
            has_all_before = has_all_before.max(self.time_of(position));
        }
        *replica.state() = State::Up { has_all_before };
        Ok(())
    }

    /// Asks the primary how far it is, if that was not done just now.
    async fn set_mark(&self, primary: &Pool, max: Duration) {
        let at = Instant::now();
        if self.marks().last().is_some_and(|mark| at - mark.at <= max / LOOKS) {
            return;
        }
        let asked = async { position(&mut *primary.get(&None).await?, PRIMARY_POSITION).await };
        // Without an answer the marks that there are have to do, as long as they can.
        let Ok(Some(position)) = asked.await else { return };
        let mut marks = self.marks();
        marks.retain(|mark| at.saturating_duration_since(mark.at) <= max);
        marks.push(Mark { at, position });
    }

    /// The time of the newest mark that stands before a place.
    fn time_of(&self, position: i64) -> Option<Instant> {
        let marks = self.marks();
        marks.iter().filter(|mark| mark.position <= position).map(|mark| mark.at).max()
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    fn rest(&self, error: &DurableStoreError) {
        tracing::warn!(
            replica = self.name,
            error = with_sources(error),
            "a replica cannot be asked; the primary answers"
        );
        *self.state() = State::Down { until: Instant::now() + REST };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn position(
    connection: &mut AsyncPgConnection,
    sql: &str,
) -> Result<Option<i64>, DurableStoreError> {
    let row: PositionRow = diesel::sql_query(sql).get_result(connection).await.map_err(classify)?;
    Ok(row.position)
}
