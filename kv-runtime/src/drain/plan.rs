//! What a drainer does with the entries it has read: decisions only, no input
//! or output.

use crate::durable_store::{Batch, Offset, OffsetMove};
use crate::entry::{Entry, EntryError, EntryId, RawEntry};
use crate::hot_store::{SettledRow, Settlement};
use crate::key::{KeySpace, Partition};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;
use crate::settings::Settings;

use super::fold::{Fold, in_queue_order};

/// What a drainer knows while it plans.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) models: Vec<&'static ModelDescriptor>,
    pub(crate) keys: KeySpace,
    pub(crate) settings: Settings,
}

/// A transaction, and what follows its commit.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) batch: Batch,
    pub(crate) settlements: Vec<Settlement>,
    /// How many entries the batch has.
    pub(crate) entries: usize,
    /// The oldest of them.
    pub(crate) oldest: Option<EntryId>,
    /// The first entry that is not understood, before which its partition stops.
    pub(crate) blocked: Option<Blocked>,
}

/// An entry that stops its partition.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{partition} waits before entry {entry}: {reason}")]
pub(crate) struct Blocked {
    partition: Partition,
    entry: EntryId,
    reason: EntryError,
}

/// The queue does not hold the entry that PostgreSQL has last seen of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{partition} no longer holds entry {position}, the last one drained: Redis was emptied or \
     went back in time; entries written before that may be lost, so draining it has stopped"
)]
pub(crate) struct WentBack {
    partition: Partition,
    position: EntryId,
}

/// How the statements of a plan are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Folded by row, grouped by model and kind.
    Grouped,
    /// One statement an entry, as the queue has them.
    Queue,
}

/// Plans one transaction from what was read of each partition, from its offset on.
pub(crate) fn plan(
    context: &Context,
    offsets: &[Offset],
    read: &[Vec<RawEntry>],
    order: Order,
) -> Result<Plan, WentBack> {
    let mut plan = Plan::default();
    let mut fold = Fold::default();
    let mut queue = Vec::new();
    for (offset, entries) in offsets.iter().zip(read) {
        let mut reached: Option<(EntryId, String)> = None;
        let mut rows = Vec::new();
        for raw in after_offset(offset, entries)? {
            let (entry, id) = match understand(raw, &context.models) {
                Ok(understood) => understood,
                Err(reason) => {
                    let partition = offset.partition;
                    plan.blocked.get_or_insert(Blocked { partition, entry: raw.id, reason });
                    break;
                }
            };
            let row = settled_row(context, offset.partition, &entry);
            let step = (entry.id, entry.nonce.clone());
            let is_added = match order {
                Order::Grouped => fold.add(entry, id),
                Order::Queue => {
                    queue.push((entry, id));
                    true
                }
            };
            if !is_added {
                break;
            }
            rows.push(row);
            plan.entries += 1;
            plan.oldest = Some(plan.oldest.map_or(raw.id, |oldest| oldest.min(raw.id)));
            reached = Some(step);
        }
        if let Some((position, nonce)) = reached {
            let to = Offset { position, nonce, ..offset.clone() };
            plan.settlements.push(settlement(context, offset.position, &to, rows));
            plan.batch.moves.push(OffsetMove { from: offset.position, to });
        }
    }
    plan.batch.statements = match order {
        Order::Grouped => fold.into_statements(&context.models),
        Order::Queue => {
            // Entry ids follow the server's clock, also from one partition to another.
            queue.sort_by_key(|(entry, _): &(Entry, EncodedRow)| entry.id);
            in_queue_order(queue, &context.models)
        }
    };
    Ok(plan)
}

/// What comes after the offset's own entry, which must still be there as it was.
fn after_offset<'a>(offset: &Offset, entries: &'a [RawEntry]) -> Result<&'a [RawEntry], WentBack> {
    if offset.position == EntryId::ZERO {
        return Ok(entries);
    }
    let went_back = WentBack { partition: offset.partition, position: offset.position };
    let (first, rest) = entries.split_first().ok_or_else(|| went_back.clone())?;
    let is_same = first.id == offset.position && first.nonce() == Some(offset.nonce.as_str());
    if is_same { Ok(rest) } else { Err(went_back) }
}

fn understand(
    raw: &RawEntry,
    models: &[&'static ModelDescriptor],
) -> Result<(Entry, EncodedRow), EntryError> {
    let entry = Entry::decode(raw, models)?;
    let id = entry.id_values()?;
    Ok((entry, id))
}

fn settled_row(context: &Context, partition: Partition, entry: &Entry) -> SettledRow {
    let model = context.models[entry.model];
    SettledRow {
        key: context.keys.key_of(model, &entry.row_id, partition.number),
        entry: entry.id,
        ttl: model.ttl.unwrap_or(context.settings.row_ttl),
    }
}

/// What follows the commit of an offset. Of a row's entries only the newest matters.
fn settlement(context: &Context, from: EntryId, to: &Offset, rows: Vec<SettledRow>) -> Settlement {
    let entries = rows.len();
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    let mut newest: Vec<SettledRow> = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        if seen.insert(row.key.clone()) {
            newest.push(row);
        }
    }
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
pub(crate) fn trims(offsets: &[Offset]) -> Vec<Settlement> {
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
pub(crate) fn settle_again(
    context: &Context,
    from: EntryId,
    to: &Offset,
    entries: &[RawEntry],
) -> Settlement {
    let rows = entries
        .iter()
        .filter(|raw| raw.id > from && raw.id <= to.position)
        .filter_map(|raw| Entry::decode(raw, &context.models).ok())
        .map(|entry| settled_row(context, to.partition, &entry))
        .collect();
    settlement(context, from, to, rows)
}
