//! Partitions that cannot go on now: those before an entry that is not understood rest, those before
//! an entry that depends on another partition wait for that.

use std::collections::HashMap;
use std::time::Instant;

use super::lease::Report;
use super::plan::Plan;
use super::progress::Place;
use super::share::{Share, Waiting};
use super::worker::{StepError, Worker};
use crate::durable_store::Offset;
use crate::entry::EntryId;
use crate::key::Partition;

impl Worker {
    /// Lets partitions rest that stand before an entry that is not understood.
    pub(super) fn rest_before_blocked(&self, share: &mut Share, plan: &Plan) {
        for blocked in &plan.blocked {
            let partition = blocked.partition;
            if plan.batch.moves.iter().any(|step| step.to.partition == partition) {
                // What comes before the entry is drained first.
                continue;
            }
            let wait = share.rest(partition);
            let error = blocked.to_string();
            tracing::error!(error, ?wait, "an entry is not understood, a newer drainer is needed");
            self.progress.failed(Place::Partition(partition), error);
            let _ = self.reports.send(Report::StepAside(partition.queue));
        }
    }

    /// Partitions that stopped before an entry begin to wait for the others.
    pub(super) async fn begin_waits(
        &self,
        share: &mut Share,
        offsets: &[Offset],
        plan: &Plan,
    ) -> Result<(), StepError> {
        for offset in offsets {
            let (Some(entry), partition) = (offset.waits_at, offset.partition) else { continue };
            if share.waits_on(partition, entry) {
                continue;
            }
            let mut others = self.context.partitions();
            others.retain(|other| *other != partition);
            let states = self.stores.hot.states(&others).await?;
            let tails = others.into_iter().zip(states.iter().map(|state| state.newest)).collect();
            if plan.behind.contains(&partition) {
                // That is on its way.
                tracing::debug!(%partition, %entry, "an entry waits for one of another partition");
            } else {
                tracing::warn!(%partition, %entry, "a constraint ties an entry to a row that is not \
                    there: it waits until the other partitions are drained");
                let error = format!(
                    "{partition} waits before entry {entry} for a row of another partition"
                );
                self.progress.failed(Place::Partition(partition), error);
            }
            share.wait(partition, Waiting::new(entry, tails, Instant::now()));
        }
        Ok(())
    }

    /// Finds out which of the waiting partitions have waited for long enough.
    pub(super) async fn look_at_waiting(&self, share: &mut Share) -> Result<(), StepError> {
        let now = Instant::now();
        if !share.waiting().any(|(_, waiting)| waiting.is_to_be_tried(now)) {
            return Ok(());
        }
        let partitions = self.context.partitions();
        let offsets = self.stores.durable.offsets(&partitions).await?;
        let states = self.stores.hot.states(&partitions).await?;
        let newest: HashMap<Partition, EntryId> =
            partitions.into_iter().zip(states.iter().map(|state| state.newest)).collect();
        for (partition, waiting) in share.waiting() {
            // What Redis has lost meanwhile, nobody will ever drain.
            waiting.tails.retain(|(other, tail)| newest.get(other).is_some_and(|at| tail <= at));
            waiting.is_over |= waiting.has_ended(partition, &offsets, now);
        }
        Ok(())
    }
}
