//! The partitions of a worker, and which of them can be drained now.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::lease::Assigned;
use crate::durable_store::Offset;
use crate::entry::EntryId;
use crate::key::Partition;
use crate::settings::DrainSettings;

/// The partitions that a worker has leases of.
#[derive(Debug)]
pub(super) struct Share {
    claims: Vec<Claim>,
    /// What was lost to another drainer, until it is assigned anew.
    lost: Vec<Assigned>,
    settings: DrainSettings,
}

#[derive(Debug)]
struct Claim {
    assigned: Assigned,
    partition: Partition,
    /// As it was raised to when the partition was taken over; `None` before.
    epoch: Option<i64>,
    /// Before this time there is nothing to be done.
    rests_until: Option<Instant>,
    backoff: Backoff,
    waits: Option<Waiting>,
}

/// How long entries of one millisecond wait for each other: which of them is older, nobody can say.
const TIE_PATIENCE: Duration = Duration::from_secs(5);
/// The pauses before an entry that waits is attempted again: they grow.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A partition that waits for others before an entry.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) entry: EntryId,
    /// The newest entry of each other partition, when the wait began.
    pub(super) tails: Vec<(Partition, EntryId)>,
    since: Instant,
    /// When it is attempted again; what it waits for may be there by then.
    again_at: Instant,
    pause: Duration,
    /// Whether they have been drained: then it may be refused.
    pub(super) is_over: bool,
}

impl Share {
    pub(super) fn new(settings: &DrainSettings) -> Self {
        Self { claims: Vec::new(), lost: Vec::new(), settings: settings.clone() }
    }

    /// Whether it is what is assigned.
    pub(super) fn has(&self, assigned: &[Assigned]) -> bool {
        let expected = assigned.iter().filter(|assigned| !self.lost.contains(assigned));
        expected.eq(self.claims.iter().map(|claim| &claim.assigned))
    }

    /// Takes what is assigned; answers what is given up.
    pub(super) fn follow(&mut self, assigned: &[Assigned]) -> Vec<Assigned> {
        self.lost.retain(|lost| assigned.contains(lost));
        let mut before = std::mem::take(&mut self.claims);
        for &assigned in assigned.iter().filter(|assigned| !self.lost.contains(assigned)) {
            let kept = before.iter().position(|claim| claim.assigned == assigned);
            self.claims.push(match kept {
                Some(at) => before.swap_remove(at),
                None => Claim::new(assigned, &self.settings),
            });
        }
        before.iter().map(|claim| claim.assigned).collect()
    }

    /// Those that neither rest nor wait.
    pub(super) fn active(&self, now: Instant) -> Vec<Partition> {
        let is_active = |claim: &&Claim| {
            claim.rests_until.is_none_or(|until| until <= now)
                && claim.waits.as_ref().is_none_or(|waits| waits.is_over || waits.again_at <= now)
        };
        self.claims.iter().filter(is_active).map(|claim| claim.partition).collect()
    }

    pub(super) fn epoch(&self, partition: Partition) -> Option<i64> {
        self.claim(partition)?.epoch
    }

    pub(super) fn taken_over(&mut self, offsets: &[Offset]) {
        for offset in offsets {
            if let Some(claim) = self.claim_mut(offset.partition) {
                claim.epoch = Some(offset.epoch);
            }
        }
    }

    /// Gives partitions up that are another's by now.
    pub(super) fn lose(&mut self, partitions: &[Partition]) -> Vec<Assigned> {
        let is_lost = |claim: &&Claim| partitions.contains(&claim.partition);
        let lost: Vec<Assigned> =
            self.claims.iter().filter(is_lost).map(|claim| claim.assigned).collect();
        self.claims.retain(|claim| !is_lost(&claim));
        self.lost.extend(&lost);
        lost
    }

    /// Leaves a partition alone for a while; answers for how long.
    pub(super) fn rest(&mut self, partition: Partition) -> Duration {
        let Some(claim) = self.claim_mut(partition) else { return Duration::ZERO };
        let wait = claim.backoff.failed();
        claim.rests_until = Some(Instant::now() + wait);
        wait
    }

    /// A partition has moved on.
    pub(super) fn moved(&mut self, to: &Offset) {
        let Some(claim) = self.claim_mut(to.partition) else { return };
        claim.backoff.succeeded();
        claim.rests_until = None;
        let passed = |waiting: &Waiting| waiting.entry <= to.position;
        if claim.waits.as_ref().is_some_and(passed) {
            claim.waits = None;
        }
    }

    pub(super) fn wait(&mut self, partition: Partition, waiting: Waiting) {
        if let Some(claim) = self.claim_mut(partition) {
            claim.waits = Some(waiting);
        }
    }

    /// A partition has come to the entry that it waits at, and could not pass it; `false` if it does
    /// not wait there yet.
    pub(super) fn waits_on(&mut self, partition: Partition, entry: EntryId) -> bool {
        let waits = self.claim_mut(partition).and_then(|claim| claim.waits.as_mut());
        let waits = waits.filter(|waiting| waiting.entry == entry);
        waits.map(Waiting::pause).is_some()
    }

    /// The partitions that wait, with what for.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = (Partition, &mut Waiting)> {
        let claims = self.claims.iter_mut();
        claims.filter_map(|claim| Some((claim.partition, claim.waits.as_mut()?)))
    }

    /// Whether other partitions were waited for before this entry.
    pub(super) fn has_waited(&self, partition: Partition, entry: EntryId) -> bool {
        let waits = self.claim(partition).and_then(|claim| claim.waits.as_ref());
        waits.is_some_and(|waiting| waiting.is_over && waiting.entry == entry)
    }

    fn claim(&self, partition: Partition) -> Option<&Claim> {
        self.claims.iter().find(|claim| claim.partition == partition)
    }

    fn claim_mut(&mut self, partition: Partition) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|claim| claim.partition == partition)
    }
}

impl Claim {
    fn new(assigned: Assigned, settings: &DrainSettings) -> Self {
        let (partition, backoff) = (assigned.partition, Backoff::new(settings));
        Self { assigned, partition, epoch: None, rests_until: None, backoff, waits: None }
    }
}

impl Waiting {
    pub(super) fn new(entry: EntryId, tails: Vec<(Partition, EntryId)>, now: Instant) -> Self {
        let (again_at, pause) = (now + PAUSE_MIN, PAUSE_MIN);
        Self { entry, tails, since: now, again_at, pause, is_over: false }
    }

    /// Whether its entry is attempted again now, and may not be refused yet.
    pub(super) fn is_to_be_tried(&self, now: Instant) -> bool {
        !self.is_over && self.again_at <= now
    }

    fn pause(&mut self) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.again_at = Instant::now() + self.pause;
    }

    /// Whether nothing that the entry could depend on is still on its way: every other partition
    /// has passed the tail it had, or itself waits before a younger entry.
    pub(super) fn has_ended(&self, partition: Partition, offsets: &[Offset], now: Instant) -> bool {
        self.tails.iter().all(|(other, tail)| {
            let offset = offsets.iter().find(|offset| offset.partition == *other);
            offset.is_some_and(|offset| {
                let waits_in_vain = |entry| self.is_older_than(entry, partition, *other, now);
                offset.position >= *tail || offset.waits_at.is_some_and(waits_in_vain)
            })
        })
    }

    /// Of two that wait for each other, the older one cannot be waiting in truth. Sequence numbers
    /// are each partition's own, so they say nothing within a millisecond.
    fn is_older_than(
        &self,
        entry: EntryId,
        partition: Partition,
        other: Partition,
        now: Instant,
    ) -> bool {
        match self.entry.milliseconds.cmp(&entry.milliseconds) {
            Ordering::Less => true,
            Ordering::Equal => {
                let is_first = (self.entry, partition) < (entry, other);
                is_first && now - self.since >= TIE_PATIENCE
            }
            Ordering::Greater => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_millisecond_nobody_is_older_for_a_while() {
        let partition = |number| Partition { queue: "q", number };
        let entry = |milliseconds, sequence| EntryId { milliseconds, sequence };
        let since = Instant::now();
        let tails = vec![(partition(1), entry(9, 0))];
        let waiting = Waiting::new(entry(5, 3), tails, since);
        let has_ended = |position, waits_at, now| {
            let offset = Offset { position, waits_at, ..Offset::start(partition(1)) };
            waiting.has_ended(partition(0), &[offset], now)
        };
        assert!(!has_ended(entry(8, 0), None, since), "the tail is not passed");
        assert!(has_ended(entry(9, 0), None, since), "it is");
        assert!(has_ended(entry(4, 0), Some(entry(6, 0)), since), "the other one is younger");
        assert!(!has_ended(entry(4, 0), Some(entry(4, 9)), since), "it is older");
        for sequence in [0, 9] {
            let tie = Some(entry(5, sequence));
            assert!(!has_ended(entry(4, 0), tie, since));
            assert_eq!(has_ended(entry(4, 0), tie, since + TIE_PATIENCE), sequence > 3);
        }
    }
}
