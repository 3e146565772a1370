//! The order in which the entries of several partitions take effect.
//!
//! By their ids, which follow the server's clock; but an entry that depends on one of another
//! partition comes after that. Where that one is neither in the batch nor drained, its partition
//! ends before the entry.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use super::plan::{Action, Step};
use crate::durable_store::Offset;
use crate::entry::{Dependency, EntryId};
use crate::key::Partition;

/// What is known beside the entries of a batch.
pub(super) struct Past<'a> {
    /// How far partitions are drained that are not in the batch.
    pub(super) drained: &'a HashMap<Partition, EntryId>,
    /// Whether an entry has waited for the other partitions for long enough: what it depends on was
    /// lost.
    pub(super) has_waited: &'a (dyn Fn(Partition, EntryId) -> bool + Send + Sync),
}

/// Takes the steps of a batch in the order in which they have to take effect.
pub(super) struct CausalOrder<'s, 'p> {
    lanes: Vec<Lane<'s>>,
    past: &'p Past<'p>,
    /// The lanes that can go on, by their next entry.
    heads: BinaryHeap<Reverse<(EntryId, usize)>>,
    /// Those that depend on something to come.
    waiting: Vec<usize>,
}

/// A partition of the batch.
struct Lane<'s> {
    partition: Partition,
    steps: VecDeque<Step<'s>>,
    /// The last entry that was taken, or is drained; and the one before.
    position: EntryId,
    before: EntryId,
}

impl<'s, 'p> CausalOrder<'s, 'p> {
    /// Of the steps of each offset's partition.
    pub(super) fn new(offsets: &[Offset], steps: Vec<Vec<Step<'s>>>, past: &'p Past<'p>) -> Self {
        let lane = |(offset, steps): (&Offset, Vec<Step<'s>>)| Lane {
            partition: offset.partition,
            steps: steps.into(),
            position: offset.position,
            before: offset.position,
        };
        let lanes: Vec<Lane<'s>> = offsets.iter().zip(steps).map(lane).collect();
        let waiting = (0..lanes.len()).collect();
        Self { lanes, past, heads: BinaryHeap::new(), waiting }
    }

    /// The partition of the last entry ends before it after all.
    pub(super) fn end_before(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.position = lane.before;
        lane.steps.clear();
    }

    /// The entry before which a partition ends because of what it depends on.
    pub(super) fn waits_at(&self, lane: usize) -> Option<EntryId> {
        self.lanes[lane].steps.front().map(|step| step.raw.id)
    }

    /// Whether everything that a lane's next entry depends on is drained or was taken.
    fn is_ready(&self, lane: usize) -> bool {
        let Lane { partition, steps, .. } = &self.lanes[lane];
        let Some(step) = steps.front() else { return false };
        dependencies(step).iter().all(|dependency| {
            let of = Partition { queue: partition.queue, number: dependency.partition };
            let taken = self.lanes.iter().find(|lane| lane.partition == of);
            let position = taken.map(|lane| lane.position);
            let position = position.or_else(|| self.past.drained.get(&of).copied());
            position.is_some_and(|position| position >= dependency.entry)
                || (self.past.has_waited)(*partition, step.raw.id)
        })
    }
}

impl<'s> Iterator for CausalOrder<'s, '_> {
    /// With the place of its partition.
    type Item = (usize, Step<'s>);

    fn next(&mut self) -> Option<Self::Item> {
        let waiting = std::mem::take(&mut self.waiting);
        for at in waiting {
            match self.lanes[at].steps.front() {
                Some(step) if self.is_ready(at) => self.heads.push(Reverse((step.raw.id, at))),
                Some(_) => self.waiting.push(at),
                None => {}
            }
        }
        let Reverse((id, at)) = self.heads.pop()?;
        let lane = &mut self.lanes[at];
        let step = lane.steps.pop_front()?;
        (lane.before, lane.position) = (lane.position, id);
        // Looked at when the next one is asked for: this one may be given back.
        self.waiting.push(at);
        Some((at, step))
    }
}

/// What an entry that is to be applied depends on.
pub(super) fn dependencies<'s>(step: &'s Step<'_>) -> &'s [Dependency] {
    match &step.action {
        Action::Apply(entry) => &entry.after,
        Action::Leave | Action::Refuse(_) | Action::Behind(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, RawEntry};

    fn partition(number: u16) -> Partition {
        Partition { queue: "q", number }
    }

    fn id(milliseconds: u64) -> EntryId {
        EntryId { milliseconds, sequence: 0 }
    }

    /// An entry's id, with the partitions and entries that it depends on.
    type Sketch<'a> = (u64, &'a [(u16, u64)]);

    fn step<'s>(raw: &'s RawEntry, &(_, after): &Sketch<'_>) -> Step<'s> {
        let dependency =
            |&(partition, entry): &(u16, u64)| Dependency { partition, entry: id(entry) };
        let after = after.iter().map(dependency).collect();
        let entry = Entry { id: raw.id, after, changes: vec![] };
        Step { raw, rows: vec![], action: Action::Apply(entry) }
    }

    /// The ids that are taken of the entries of some partitions, and where each partition waits.
    /// One of them may be given back.
    fn order(
        lanes: &[&[Sketch<'_>]],
        past: &Past<'_>,
        given_back: Option<u64>,
    ) -> (Vec<u64>, Vec<Option<u64>>) {
        let raw = |&(at, _): &Sketch<'_>| RawEntry { id: id(at), header: vec![], values: vec![] };
        let raws: Vec<Vec<RawEntry>> =
            lanes.iter().map(|lane| lane.iter().map(raw).collect()).collect();
        let steps = raws.iter().zip(lanes).map(|(raws, lane)| {
            raws.iter().zip(lane.iter()).map(|(raw, sketch)| step(raw, sketch)).collect()
        });
        let offsets: Vec<Offset> =
            (0..).take(lanes.len()).map(|number| Offset::start(partition(number))).collect();
        let mut order = CausalOrder::new(&offsets, steps.collect(), past);
        let mut taken = Vec::new();
        while let Some((at, step)) = order.next() {
            if Some(step.raw.id.milliseconds) == given_back {
                order.end_before(at);
            } else {
                taken.push(step.raw.id.milliseconds);
            }
        }
        let waits = (0..lanes.len()).map(|at| Some(order.waits_at(at)?.milliseconds));
        (taken, waits.collect())
    }

    fn past(drained: &HashMap<Partition, EntryId>) -> Past<'_> {
        Past { drained, has_waited: &|_, _| false }
    }

    #[test]
    fn entries_come_by_their_ids() {
        let lanes: [&[Sketch<'_>]; 2] = [&[(1, &[]), (4, &[])], &[(2, &[]), (3, &[])]];
        assert_eq!(order(&lanes, &past(&HashMap::new()), None), (vec![1, 2, 3, 4], vec![None; 2]));
    }

    #[test]
    fn an_entry_comes_after_what_it_depends_on() {
        // The clock went back between the two.
        let lanes: [&[Sketch<'_>]; 3] =
            [&[(1, &[(1, 7)]), (2, &[])], &[(5, &[]), (7, &[(2, 9)])], &[(9, &[])]];
        let (taken, waits) = order(&lanes, &past(&HashMap::new()), None);
        assert_eq!((taken, waits), (vec![5, 9, 7, 1, 2], vec![None; 3]));
    }

    #[test]
    fn a_partition_ends_before_an_entry_whose_dependency_is_elsewhere() {
        let lanes: [&[Sketch<'_>]; 2] = [&[(1, &[]), (3, &[(8, 2)])], &[(4, &[(0, 3)]), (5, &[])]];
        let far = HashMap::from([(partition(8), id(1))]);
        assert_eq!(order(&lanes, &past(&far), None), (vec![1], vec![Some(3), Some(4)]));
        let drained = HashMap::from([(partition(8), id(2))]);
        assert_eq!(order(&lanes, &past(&drained), None), (vec![1, 3, 4, 5], vec![None; 2]));
    }

    #[test]
    fn what_ends_early_takes_what_depends_on_it_along() {
        let lanes: [&[Sketch<'_>]; 2] = [&[(1, &[]), (2, &[])], &[(3, &[(0, 2)])]];
        let (taken, waits) = order(&lanes, &past(&HashMap::new()), Some(2));
        assert_eq!((taken, waits), (vec![1], vec![None, Some(3)]));
    }

    #[test]
    fn an_entry_whose_dependency_was_lost_goes_on_when_it_has_waited() {
        let lanes: [&[Sketch<'_>]; 1] = [&[(3, &[(8, 2)])]];
        let drained = HashMap::new();
        let has_waited = |of, entry| (of, entry) == (partition(0), id(3));
        let past = Past { drained: &drained, has_waited: &has_waited };
        assert_eq!(order(&lanes, &past, None), (vec![3], vec![None]));
    }
}
