//! What a drainer does with the entries it has read: decisions only, no input
//! or output.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::durable_store::{Batch, HeldRow, Letter, Offset, OffsetMove, Refusal};
use crate::entry::{Entry, EntryError, EntryId, RawEntry, RowChange};
use crate::hot_store::{SettledRow, Settlement};
use crate::key::Partition;
use crate::scheme::StorageScheme;

use super::causal::{CausalOrder, Past};
use super::context::Context;
use super::fold::Fold;
use super::worker::age;

/// A transaction, and what follows its commit.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) batch: Batch,
    pub(super) settlements: Vec<Settlement>,
    /// How many entries the batch has.
    pub(super) entries: usize,
    /// How many rows are written for them.
    pub(super) rows: usize,
    /// How many of them become dead letters.
    pub(super) letters: usize,
    /// The oldest of them.
    pub(super) oldest: Option<EntryId>,
    /// Partitions that wait before an entry for one that it depends on.
    pub(super) behind: Vec<Partition>,
    /// Entries that are not understood, before each of which its partition stops.
    pub(super) blocked: Vec<Blocked>,
}

/// An entry that stops its partition.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{partition} waits before entry {entry}: {reason}")]
pub(super) struct Blocked {
    pub(super) partition: Partition,
    pub(super) entry: EntryId,
    pub(super) reason: EntryError,
}

/// The queue does not hold the entry that PostgreSQL has last seen of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partition} no longer holds entry {position}, the last one drained: Redis was emptied or \
     went back in time, and entries that were not drained before that are lost"
)]
pub(super) struct WentBack {
    pub(super) partition: Partition,
    pub(super) position: EntryId,
}

/// The rows of a batch that have dead letters already, with the first entry of those.
pub(super) type Held = HashMap<HeldRow, EntryId>;

/// An entry, and what is to be done with it.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) raw: &'a RawEntry,
    /// Those that it names; of a unit of work there are several.
    pub(super) rows: Vec<SettledRow>,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Apply(Entry),
    /// Its rows stay where they are, in Redis alone.
    Leave,
    /// Keep it as a dead letter.
    Refuse(Box<Refusal>),
    /// Keep it behind another dead letter of one of its rows.
    Behind(EntryId),
}

/// What is to be done with the entries of each partition, in order.
#[derive(Debug, Default)]
pub(super) struct Steps<'a> {
    pub(super) of_partitions: Vec<Vec<Step<'a>>>,
    blocked: Vec<Blocked>,
}

/// Decides about what was read of each partition, from its offset on.
pub(super) fn steps<'a>(
    context: &Context,
    offsets: &[Offset],
    read: &'a [Vec<RawEntry>],
    held: &Held,
) -> Result<Steps<'a>, WentBack> {
    let mut steps = Steps::default();
    let mut bytes = 0;
    for (offset, entries) in offsets.iter().zip(read) {
        let mut of_partition: Vec<Step<'a>> = Vec::with_capacity(entries.len());
        // Rows with an entry in this batch that will be a dead letter.
        let mut held_here: HashMap<String, EntryId> = HashMap::new();
        for raw in after_offset(offset, entries)? {
            bytes += raw.byte_len();
            if bytes > context.settings.drain.batch_bytes && bytes > raw.byte_len() {
                break;
            }
            let mut step = match step(context, offset, raw) {
                Ok(step) => step,
                Err(reason) => {
                    let partition = offset.partition;
                    steps.blocked.push(Blocked { partition, entry: raw.id, reason });
                    break;
                }
            };
            let earlier = step.rows.iter().filter_map(|row| held_here.get(&row.key).copied());
            let earlier = earlier.chain(held_before(offset, raw, held)).min();
            if let Some(earlier) = earlier {
                step.action = Action::Behind(earlier);
            }
            if !matches!(step.action, Action::Apply(..) | Action::Leave) {
                for row in &mut step.rows {
                    row.held = true;
                    held_here.entry(row.key.clone()).or_insert(earlier.unwrap_or(raw.id));
                }
            }
            of_partition.push(step);
        }
        steps.of_partitions.push(of_partition);
    }
    Ok(steps)
}

/// The first dead letter that one of the entry's rows has already.
fn held_before(offset: &Offset, raw: &RawEntry, held: &Held) -> Option<EntryId> {
    if offset.held == 0 {
        return None;
    }
    HeldRow::all_of(offset.partition, raw).iter().filter_map(|row| held.get(row).copied()).min()
}

/// The rows of what was read of partitions that have dead letters.
pub(super) fn rows_to_look_up(offsets: &[Offset], read: &[Vec<RawEntry>]) -> Vec<HeldRow> {
    let with_letters = offsets.iter().zip(read).filter(|(offset, _)| offset.held > 0);
    let rows: HashSet<HeldRow> = with_letters
        .flat_map(|(offset, entries)| {
            entries.iter().flat_map(|raw| HeldRow::all_of(offset.partition, raw))
        })
        .collect();
    rows.into_iter().collect()
}

/// What comes after the offset's own entry, which must still be there as it was.
///
/// An offset without a nonce is a place and no entry.
fn after_offset<'a>(offset: &Offset, entries: &'a [RawEntry]) -> Result<&'a [RawEntry], WentBack> {
    if offset.nonce.is_empty() {
        let drained = entries.partition_point(|entry| entry.id <= offset.position);
        return Ok(&entries[drained..]);
    }
    let went_back = WentBack { partition: offset.partition, position: offset.position };
    let (first, rest) = entries.split_first().ok_or_else(|| went_back.clone())?;
    let is_same = first.id == offset.position && first.nonce() == Some(offset.nonce.as_str());
    if is_same { Ok(rest) } else { Err(went_back) }
}

/// Decides about one entry by itself; an error where it has to wait.
fn step<'a>(context: &Context, offset: &Offset, raw: &'a RawEntry) -> Result<Step<'a>, EntryError> {
    let partition = offset.partition;
    match Entry::decode(raw, &context.models) {
        Ok(entry) => {
            let row = |change: &RowChange| {
                settled_row(context, partition, change.model, &change.row_id, raw.id)
            };
            let mut rows: Vec<SettledRow> = entry.changes.iter().map(row).collect();
            if offset.scheme == StorageScheme::RedisOnly {
                rows.iter_mut().for_each(|row| row.ttl = None);
                return Ok(Step { raw, rows, action: Action::Leave });
            }
            Ok(Step { raw, rows, action: Action::Apply(entry) })
        }
        Err(reason) if must_wait(context, raw, &reason) => Err(reason),
        Err(reason) => {
            let model_of =
                |prefix: &str| context.models.iter().position(|model| model.key_prefix == prefix);
            let row = |(prefix, row_id): (String, String)| {
                Some(settled_row(context, partition, model_of(&prefix)?, &row_id, raw.id))
            };
            let rows = raw.rows().into_iter().filter_map(row).collect();
            let message = format!("the entry is not understood: {reason}");
            let refusal = Refusal { message, ..Refusal::default() };
            Ok(Step { raw, rows, action: Action::Refuse(Box::new(refusal)) })
        }
    }
}

/// A newer drainer may know the model or the column; only the user can say that none will.
fn must_wait(context: &Context, raw: &RawEntry, reason: &EntryError) -> bool {
    let is_unknown =
        matches!(reason, EntryError::UnknownModel(_) | EntryError::UnknownColumn { .. });
    is_unknown && context.settings.drain.refuse_unknown_after.is_none_or(|wait| age(raw.id) < wait)
}

fn settled_row(
    context: &Context,
    partition: Partition,
    model: usize,
    row_id: &str,
    entry: EntryId,
) -> SettledRow {
    let model = context.models[model];
    // What PostgreSQL has filled meanwhile is not here: the next read brings it in.
    let ttl = match model.has_read_only() {
        true => Duration::ZERO,
        false => model.ttl.unwrap_or(context.settings.row_ttl),
    };
    SettledRow {
        key: context.keys.key_of(model.key_prefix, row_id, partition),
        entry,
        ttl: Some(ttl),
        held: false,
        has_values: !model.unique.is_empty(),
    }
}

/// An entry that is to become a dead letter.
pub(super) fn letter(
    partition: Partition,
    raw: &RawEntry,
    refusal: Refusal,
    behind: Option<EntryId>,
) -> Letter {
    Letter { partition, entry: raw.clone(), rows: HeldRow::all_of(partition, raw), refusal, behind }
}

/// An entry that queues behind another dead letter.
pub(super) fn letter_behind(partition: Partition, raw: &RawEntry, earlier: EntryId) -> Letter {
    let message = format!("it queues behind entry {earlier} of its row");
    letter(partition, raw, Refusal { message, ..Refusal::default() }, Some(earlier))
}

/// How far a partition comes by a transaction.
#[derive(Debug, Default)]
pub(super) struct Reached<'a> {
    last: Option<&'a RawEntry>,
    first: Option<EntryId>,
    entries: usize,
    rows: Vec<SettledRow>,
    pub(super) letters: Vec<Letter>,
    /// Where it waits for other partitions then.
    pub(super) waits_at: Option<EntryId>,
    /// Whether that is because of what the entry says that it depends on.
    is_behind: bool,
}

impl<'a> Reached<'a> {
    /// One more entry is done with.
    pub(super) fn pass(&mut self, raw: &'a RawEntry, rows: Vec<SettledRow>) {
        self.last = Some(raw);
        self.first.get_or_insert(raw.id);
        self.entries += 1;
        self.rows.extend(rows);
    }

    /// It ends before an entry that depends on another partition. Only where it has come no further
    /// does it wait there: what it depends on may be in the next batch.
    pub(super) fn depends_at(&mut self, entry: Option<EntryId>) {
        if let (Some(entry), None) = (entry, &self.last) {
            self.waits_at = Some(entry);
            self.is_behind = true;
        }
    }

    /// The offset's move, if it has one.
    fn movement(&mut self, offset: &Offset) -> Option<OffsetMove> {
        if self.last.is_none() && self.waits_at == offset.waits_at {
            return None;
        }
        let mut to = offset.clone();
        if let Some(last) = self.last {
            to.position = last.id;
            to.nonce = last.nonce().unwrap_or_default().to_owned();
        }
        to.held += i64::try_from(self.letters.len()).unwrap_or_default();
        to.waits_at = self.waits_at;
        Some(OffsetMove { from: offset.position, from_held: offset.held, to })
    }
}

impl Plan {
    /// What follows from how far each partition comes.
    pub(super) fn of(context: &Context, offsets: &[Offset], reached: Vec<Reached<'_>>) -> Self {
        let mut plan = Self::default();
        for (offset, mut reached) in offsets.iter().zip(reached) {
            if reached.is_behind {
                plan.behind.push(offset.partition);
            }
            let Some(step) = reached.movement(offset) else { continue };
            plan.entries += reached.entries;
            plan.oldest = plan.oldest.into_iter().chain(reached.first).min();
            plan.letters += reached.letters.len();
            plan.batch.letters.append(&mut reached.letters);
            if reached.entries > 0 {
                let count = reached.entries;
                let from = offset.position;
                plan.settlements.push(settlement(context, from, &step.to, count, reached.rows));
            }
            plan.batch.moves.push(step);
        }
        plan
    }
}

/// Plans one transaction: folded by row, grouped by model and kind.
pub(super) fn plan(
    context: &Context,
    offsets: &[Offset],
    steps: Steps<'_>,
    past: &Past<'_>,
) -> Plan {
    let mut fold = Fold::default();
    let mut all_reached: Vec<Reached<'_>> = offsets.iter().map(|_| Reached::default()).collect();
    let mut order = CausalOrder::new(offsets, steps.of_partitions, past);
    while let Some((at, step)) = order.next() {
        let (reached, partition) = (&mut all_reached[at], offsets[at].partition);
        match step.action {
            Action::Apply(entry) => {
                if !fold.add(entry) {
                    order.end_before(at);
                    continue;
                }
            }
            Action::Leave => {}
            Action::Refuse(refusal) => {
                reached.letters.push(letter(partition, step.raw, *refusal, None));
            }
            Action::Behind(earlier) => {
                reached.letters.push(letter_behind(partition, step.raw, earlier));
            }
        }
        reached.pass(step.raw, step.rows);
    }
    for (at, reached) in all_reached.iter_mut().enumerate() {
        reached.depends_at(order.waits_at(at));
    }
    let mut plan = Plan::of(context, offsets, all_reached);
    plan.batch.statements = fold.into_statements(&context.models);
    plan.rows = plan.batch.statements.iter().map(|step| step.operation.rows().len()).sum();
    plan.blocked = steps.blocked;
    plan
}

/// What follows the commit of an offset. Of a row's entries only the newest matters.
fn settlement(
    context: &Context,
    from: EntryId,
    to: &Offset,
    entries: usize,
    rows: Vec<SettledRow>,
) -> Settlement {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut is_newest: Vec<bool> = rows.iter().rev().map(|row| seen.insert(&row.key)).collect();
    let newest = rows.into_iter().rev().zip(is_newest.drain(..));
    let newest = newest.filter_map(|(row, is_newest)| is_newest.then_some(row)).collect();
    let retention = u64::try_from(context.settings.drain.retention.as_millis()).unwrap_or(u64::MAX);
    let milliseconds = to.position.milliseconds.saturating_sub(retention);
    Settlement {
        partition: to.partition,
        from,
        to: to.position,
        entries,
        retain_from: EntryId { milliseconds, sequence: 0 }.min(to.position),
        rows: newest,
    }
}

/// Settles nothing more, and trims what is before the offsets' own entries.
pub(super) fn trims(offsets: &[Offset]) -> Vec<Settlement> {
    let trim = |offset: &Offset| Settlement {
        partition: offset.partition,
        from: offset.position,
        to: offset.position,
        entries: 0,
        retain_from: offset.position,
        rows: Vec::new(),
    };
    offsets.iter().filter(|offset| offset.position != EntryId::ZERO).map(trim).collect()
}

/// Settles again what was committed: entries after the settled position, up to the offset.
pub(super) fn settle_again(
    context: &Context,
    from: EntryId,
    to: &Offset,
    entries: &[RawEntry],
    held: &Held,
) -> Settlement {
    let committed = || entries.iter().filter(|raw| raw.id > from && raw.id <= to.position);
    let rows = committed()
        .flat_map(|raw| {
            let mut rows = step(context, to, raw).map(|step| step.rows).unwrap_or_default();
            // One row of a unit may have a younger letter, of which the others know nothing.
            let of_entry = HeldRow::all_of(to.partition, raw);
            let is_held = |row: &&HeldRow| held.get(row).is_some_and(|letter| *letter <= raw.id);
            let key = |row: &HeldRow| context.keys.key_of(&row.model, &row.row_id, row.partition);
            let held_keys: HashSet<String> = of_entry.iter().filter(is_held).map(key).collect();
            rows.iter_mut().for_each(|row| row.held = held_keys.contains(&row.key));
            rows
        })
        .collect();
    settlement(context, from, to, committed().count(), rows)
}
