//! Who drains: a drainer in this process, or processes that share the partitions.

pub(crate) mod process;
mod processes;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use kv_runtime::{DrainError, DrainStatus, Drainer, Kv};
use serde::{Deserialize, Serialize};

use self::processes::Processes;
use crate::model::Flight;
use crate::pair::Pair;
use crate::summary::milliseconds;

/// The drain of a run.
pub(crate) enum Drain {
    Here(Drainer),
    Processes(Processes),
}

/// What a drainer has done, or several together.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Drained {
    pub(crate) entries: u64,
    /// Entries that shared the write of their row with others.
    pub(crate) folded: u64,
    pub(crate) rows: u64,
    pub(crate) batches: u64,
    /// The partitions that it has leases of.
    pub(crate) partitions: usize,
    /// The greatest age of an entry at its commit.
    pub(crate) lag_max_ms: f64,
    /// What stands in the way, if anything does.
    pub(crate) trouble: Option<String>,
}

/// How the drain stands while it goes on.
#[derive(Debug)]
pub(crate) struct DrainView {
    pub(crate) drained: Drained,
    /// Entries that wait, and the age of the oldest.
    pub(crate) undrained: u64,
    pub(crate) lag: Duration,
}

impl Drain {
    /// A drainer in this process.
    pub(crate) fn here(kv: &Kv) -> Self {
        Self::Here(kv.drainer().model::<Flight>().spawn())
    }

    /// As many drainer processes as are asked for, or a drainer in this process.
    pub(crate) async fn start(pair: &Pair, processes: Option<u8>) -> Result<Self> {
        let Some(count) = processes else { return Ok(Self::here(&pair.kv)) };
        let Some(urls) = &pair.urls else {
            bail!(
                "--drainers: processes can share only what is on servers; \
                 add --servers, or name yours with --redis and --database"
            );
        };
        Ok(Self::Processes(Processes::start(&pair.kv, urls, count).await?))
    }

    pub(crate) async fn view(&self) -> Result<DrainView, DrainError> {
        match self {
            Self::Here(drainer) => {
                let status = drainer.status().await?;
                let (undrained, lag) = (status.undrained, status.lag);
                Ok(DrainView { drained: status.into(), undrained, lag })
            }
            Self::Processes(processes) => processes.view().await,
        }
    }

    /// Waits until everything that was written is drained.
    pub(crate) async fn wait_until_drained(&self) -> Result<()> {
        match self {
            Self::Here(drainer) => Ok(drainer.flush().await?),
            Self::Processes(processes) => processes.wait_until_drained().await,
        }
    }

    /// Stops it; answers what each drainer has done.
    pub(crate) async fn stop(self) -> Result<Vec<Drained>> {
        match self {
            Self::Here(drainer) => {
                let status = drainer.shutdown().await;
                Ok(vec![status.context("the drainer could not stop in order")?.into()])
            }
            Self::Processes(processes) => Ok(processes.stop().await),
        }
    }
}

impl Drained {
    /// What several drainers have done together; the first trouble stands for all.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            entries: sum.entries + one.entries,
            folded: sum.folded + one.folded,
            rows: sum.rows + one.rows,
            batches: sum.batches + one.batches,
            partitions: sum.partitions + one.partitions,
            lag_max_ms: sum.lag_max_ms.max(one.lag_max_ms),
            trouble: sum.trouble.or_else(|| one.trouble.clone()),
        })
    }
}

impl From<DrainStatus> for Drained {
    fn from(status: DrainStatus) -> Self {
        Self {
            entries: status.entries_drained,
            folded: status.entries_folded,
            rows: status.rows_written,
            batches: status.batches,
            partitions: status.partitions,
            lag_max_ms: milliseconds(status.lag_max),
            trouble: status.last_error.map(|error| format!("the drain waits: {error}")),
        }
    }
}
