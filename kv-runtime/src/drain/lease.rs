//! Shares the partitions of the queues with the other drainers, by leases in Redis.
//!
//! A drainer is a member of each queue, and takes as many of its partitions as are its even share.
//! Who finds that it has more gives the rest back, once its worker is done with them; who has fewer
//! takes those that are free. A lease is only a claim: what keeps a drainer from committing whose
//! lease was taken over is the epoch in PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::context::Context;
use super::progress::{Place, Progress};
use super::worker::report;
use crate::hot_store::{HotStoreError, Membership};
use crate::key::Partition;
use crate::scheme::known;
use crate::stores::Stores;

/// A partition that a worker has the lease of, and the how-manieth lease of the drainer that is:
/// one that was lost and taken again is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Assigned {
    pub(super) partition: Partition,
    number: u64,
}

/// What a worker tells.
#[derive(Debug)]
pub(super) enum Report {
    /// It has lost these partitions, or is at its end.
    Dropped(Vec<Assigned>),
    /// This worker is done with all partitions but these. It says so to every assignment that it
    /// sees: of one that was taken back before that it knows nothing, and could not drop it.
    Follows { worker: usize, assigned: Vec<Assigned> },
    /// It met an entry of this queue that it does not know; a newer drainer may.
    StepAside(&'static str),
}

/// Keeps a drainer's leases, and assigns them to its workers.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) context: Arc<Context>,
    pub(super) stores: Arc<Stores>,
    pub(super) progress: Arc<Progress>,
    /// One a worker.
    pub(super) assignments: Vec<watch::Sender<Vec<Assigned>>>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// Random: no drainer can be taken for another.
    pub(super) owner: String,
    claims: HashMap<Partition, Claim>,
    /// Queues that are left to others until a time.
    aside: HashMap<&'static str, Instant>,
    members: HashMap<&'static str, usize>,
    leases_taken: u64,
}

/// A lease, and whose work it is.
#[derive(Debug, Clone, Copy)]
struct Claim {
    number: u64,
    worker: usize,
    /// Its worker was told to give it up.
    is_leaving: bool,
}

impl Keeper {
    pub(super) fn new(
        context: Arc<Context>,
        stores: Arc<Stores>,
        progress: Arc<Progress>,
        assignments: Vec<watch::Sender<Vec<Assigned>>>,
        reports: mpsc::UnboundedReceiver<Report>,
    ) -> Self {
        let owner = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let (claims, aside, members) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self {
            context,
            stores,
            progress,
            assignments,
            reports,
            owner,
            claims,
            aside,
            members,
            leases_taken: 0,
        }
    }

    /// Works until all workers have ended; then gives everything back.
    pub(super) async fn run(mut self) {
        // Who dies is forgotten after three quarters of a lease, and noticed within the last one.
        let period = self.context.settings.drain.lease / 4;
        loop {
            match self.share().await {
                Ok(()) => self.progress.leases_renewed(self.claims.len()),
                Err(error) => self.progress.failed(Place::Leases, report(&error)),
            }
            match tokio::time::timeout(period, self.next_report()).await {
                Ok(Some(told)) => {
                    if let Err(error) = self.heed(told).await {
                        self.progress.failed(Place::Leases, report(&error));
                    }
                }
                Ok(None) if self.reports.is_closed() => break,
                Ok(None) | Err(_) => {}
            }
        }
        if let Err(error) = self.give_all_back().await {
            // They end by themselves.
            tracing::warn!(%error, "leases could not be given back");
        }
    }

    /// What a worker tells; `None` if all have ended, or a queue has other partitions by now.
    async fn next_report(&mut self) -> Option<Report> {
        loop {
            let before = self.context.partitions();
            if let Ok(told) = tokio::time::timeout(known::LOOK_AGAIN, self.reports.recv()).await {
                return told;
            }
            for queue in self.context.queues() {
                self.stores.look_at_layouts(queue).await;
            }
            if self.context.partitions() != before {
                return None;
            }
        }
    }

    fn ttl(&self) -> Duration {
        self.context.settings.drain.lease * 3 / 4
    }

    async fn heed(&mut self, told: Report) -> Result<(), HotStoreError> {
        match told {
            Report::Dropped(dropped) => {
                let is_dropped = |claim: &Assigned, _: &Claim| dropped.contains(claim);
                self.drop_claims(is_dropped).await
            }
            Report::Follows { worker, assigned } => {
                let is_left = |left: &Assigned, claim: &Claim| {
                    claim.worker == worker && claim.is_leaving && !assigned.contains(left)
                };
                self.drop_claims(is_left).await
            }
            Report::StepAside(queue) => self.step_aside(queue).await,
        }
    }

    /// Gives back what no worker works at any more.
    async fn drop_claims(
        &mut self,
        is_dropped: impl Fn(&Assigned, &Claim) -> bool,
    ) -> Result<(), HotStoreError> {
        let dropped: Vec<Partition> = self
            .claims
            .iter()
            .filter(|(partition, claim)| {
                let assigned = Assigned { partition: **partition, number: claim.number };
                is_dropped(&assigned, claim)
            })
            .map(|(partition, _)| *partition)
            .collect();
        for partition in &dropped {
            self.claims.remove(partition);
        }
        self.assign();
        self.stores.hot.give_back(&dropped, &self.owner).await
    }

    /// Renews what is held, gives up what is more than its share, and takes what is missing.
    async fn share(&mut self) -> Result<(), HotStoreError> {
        let held: Vec<Partition> = self.claims.keys().copied().collect();
        let renewed = self.stores.hot.lease(&held, &self.owner, self.ttl()).await?;
        for (partition, _) in held.iter().zip(renewed).filter(|(_, is_held)| !is_held) {
            self.claims.remove(partition);
        }
        let now = Instant::now();
        self.aside.retain(|_, until| *until > now);
        for queue in self.context.queues() {
            if !self.aside.contains_key(queue) {
                self.stores.look_at_layouts(queue).await;
                let membership = self.stores.hot.join(queue, &self.owner, self.ttl()).await?;
                self.members.insert(queue, membership.members);
                self.share_queue(queue, membership).await?;
            }
        }
        self.assign();
        Ok(())
    }

    async fn share_queue(
        &mut self,
        queue: &'static str,
        membership: Membership,
    ) -> Result<(), HotStoreError> {
        let all: Vec<Partition> = self.context.keys.partitions_of(queue).collect();
        let share = even_share(all.len(), membership);
        // What the queue has no more, nobody drains.
        for (_, claim) in self
            .claims
            .iter_mut()
            .filter(|(partition, _)| partition.queue == queue && !all.contains(partition))
        {
            claim.is_leaving = true;
        }
        let held: Vec<Partition> = all
            .iter()
            .filter(|partition| self.claims.get(partition).is_some_and(|claim| !claim.is_leaving))
            .copied()
            .collect();
        for partition in held.iter().skip(share) {
            if let Some(claim) = self.claims.get_mut(partition) {
                claim.is_leaving = true;
            }
        }
        let mut missing = share.saturating_sub(held.len());
        let mut others: Vec<Partition> =
            all.into_iter().filter(|partition| !self.claims.contains_key(partition)).collect();
        // Drainers that start together should not all ask for the same ones.
        fastrand::shuffle(&mut others);
        while missing > 0 && !others.is_empty() {
            let asked = others.split_off(others.len().saturating_sub(missing));
            let taken = self.stores.hot.lease(&asked, &self.owner, self.ttl()).await?;
            for (partition, _) in asked.into_iter().zip(taken).filter(|(_, is_taken)| *is_taken) {
                self.claim(partition);
                missing -= 1;
            }
        }
        Ok(())
    }

    /// Gives a partition to the worker that has the fewest.
    fn claim(&mut self, partition: Partition) {
        let load =
            |worker: &usize| self.claims.values().filter(|claim| claim.worker == *worker).count();
        let worker = (0..self.assignments.len()).min_by_key(load).unwrap_or_default();
        self.leases_taken += 1;
        let claim = Claim { number: self.leases_taken, worker, is_leaving: false };
        self.claims.insert(partition, claim);
    }

    /// Tells the workers what is theirs.
    fn assign(&self) {
        for (worker, assignment) in self.assignments.iter().enumerate() {
            let is_its =
                |(_, claim): &(&Partition, &Claim)| claim.worker == worker && !claim.is_leaving;
            let assigned = |(partition, claim): (&Partition, &Claim)| Assigned {
                partition: *partition,
                number: claim.number,
            };
            let mut all: Vec<Assigned> = self.claims.iter().filter(is_its).map(assigned).collect();
            all.sort_unstable();
            assignment.send_if_modified(|current| {
                let is_other = *current != all;
                *current = all;
                is_other
            });
        }
    }

    /// Leaves a queue to the other drainers for a while, where there are any.
    async fn step_aside(&mut self, queue: &'static str) -> Result<(), HotStoreError> {
        let has_others = self.members.get(queue).is_some_and(|members| *members > 1);
        if !has_others || self.aside.contains_key(queue) {
            return Ok(());
        }
        tracing::warn!(queue, "the queue is left to other drainers for a while");
        let wait = self.context.settings.drain.backoff_max.max(self.context.settings.drain.lease);
        self.aside.insert(queue, Instant::now() + wait);
        for (partition, claim) in &mut self.claims {
            claim.is_leaving |= partition.queue == queue;
        }
        self.assign();
        self.stores.hot.leave(queue, &self.owner).await
    }

    async fn give_all_back(&mut self) -> Result<(), HotStoreError> {
        let held: Vec<Partition> = self.claims.keys().copied().collect();
        self.stores.hot.give_back(&held, &self.owner).await?;
        for queue in self.context.queues() {
            self.stores.hot.leave(queue, &self.owner).await?;
        }
        Ok(())
    }
}

/// How many of some partitions are a member's: the first ones have one more where it does not
/// come out even.
fn even_share(partitions: usize, membership: Membership) -> usize {
    let Membership { members, rank } = membership;
    let members = members.max(1);
    partitions / members + usize::from(rank < partitions % members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_add_up() {
        for partitions in [1, 8, 64, 100] {
            for members in 1..=10 {
                let share = |rank| even_share(partitions, Membership { members, rank });
                let shares: Vec<usize> = (0..members).map(share).collect();
                assert_eq!(shares.iter().sum::<usize>(), partitions);
                assert!(shares[0] - shares[members - 1] <= 1, "{shares:?}");
            }
        }
    }
}
