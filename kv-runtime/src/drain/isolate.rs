//! Finds the entries of a batch that PostgreSQL refuses for their content, and applies the others.
//!
//! A range of the entries is attempted in its grouped form; where that is refused, its halves are.
//! An entry that is refused by itself becomes a dead letter, and so do the later ones of its row.
//! So one bad row among thousands costs a few attempts, and swapped values, which no grouped form
//! can have, are applied in the order of the queue.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::causal::{CausalOrder, Past, dependencies};
use super::context::Context;
use super::fold::{Fold, in_queue_order};
use super::plan::{Action, Plan, Reached, Step, Steps, letter, letter_behind};
use super::worker::StepError;
use crate::durable_store::{DurableStoreError, Offset, Outcome, Refusal, Statement, Transaction};
use crate::entry::{Change, Dependency, Entry, EntryId, RowChange};
use crate::failpoint;
use crate::key::Partition;

/// What may be refused alike, before it is taken to be the fault of something else.
const SUSPECTS_MAX: usize = 16;

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The entry is to blame.
    Content,
    /// It may be for a row that is still on its way in another partition.
    Dependent,
    /// The entry is to blame if others like it are taken: a trigger of the user's refused it.
    Suspect,
    /// The schema, or a right.
    Configuration,
    /// The server; it passes.
    Outage,
}

impl Verdict {
    /// By SQLSTATE (PostgreSQL's documentation, appendix A), of which two characters are the class.
    fn of(refusal: &Refusal) -> Self {
        let Some(sqlstate) = refusal.sqlstate.as_deref() else { return Self::Content };
        match sqlstate {
            // Foreign key, unique, exclusion.
            "23503" | "23505" | "23P01" => return Self::Dependent,
            // A patch of no row; a value too large for an index.
            "KV404" | "54000" => return Self::Content,
            _ => {}
        }
        match sqlstate.get(..2).unwrap_or_default() {
            "22" | "23" => Self::Content,
            "P0" | "21" | "2F" | "38" | "39" | "44" => Self::Suspect,
            "08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX" => Self::Outage,
            _ => Self::Configuration,
        }
    }
}

/// What a refusal means that is not the fault of what was written.
pub(crate) fn fault_of_others(refusal: &Refusal) -> Option<DurableStoreError> {
    let reason = || describe(refusal).into();
    match Verdict::of(refusal) {
        Verdict::Outage => Some(DurableStoreError::Unavailable(reason())),
        Verdict::Configuration => Some(DurableStoreError::Configuration(reason())),
        Verdict::Content | Verdict::Dependent | Verdict::Suspect => None,
    }
}

/// The entries of a batch in the order of the queues, and what became of them so far.
struct Isolation<'a, 'b> {
    context: &'b Context,
    offsets: &'b [Offset],
    past: &'b Past<'b>,
    /// With the place of its partition.
    steps: Vec<(usize, Step<'a>)>,
    /// Where each partition ends because of what the next entry depends on.
    ends: Vec<Option<EntryId>>,
    /// Rows with a refused entry, by key.
    held: HashMap<String, EntryId>,
    refused: HashMap<usize, Refusal>,
    /// Where each partition stops, if it does.
    stops: Vec<Option<EntryId>>,
    /// What was taken, and what was refused by a user's trigger.
    taken: HashSet<Shape>,
    suspects: Vec<(Shape, Refusal)>,
}

/// What statements have alike: model, kind, and a patch's columns.
type Shape = (usize, &'static str, Vec<usize>);

fn shapes(entry: &Entry) -> impl Iterator<Item = Shape> {
    entry.changes.iter().map(|RowChange { model, change, .. }| {
        let columns = match change {
            Change::Patch(patch) => patch.columns().to_vec(),
            _ => Vec::new(),
        };
        (*model, change.name(), columns)
    })
}

/// Applies what can be applied within a transaction, and commits it: the plan of that.
///
/// An entry that depends on another partition is not refused before that was waited for.
pub(super) async fn isolate(
    mut transaction: Box<dyn Transaction + '_>,
    context: &Context,
    offsets: &[Offset],
    steps: Steps<'_>,
    past: &Past<'_>,
) -> Result<Plan, StepError> {
    if transaction.offsets() != offsets {
        return Err(DurableStoreError::OffsetMoved.into());
    }
    let mut isolation = Isolation::new(context, offsets, past, steps);
    isolation.run(transaction.as_mut()).await?;
    let mut plan = isolation.into_plan();
    let moves = plan.batch.moves.clone();
    let letters = std::mem::take(&mut plan.batch.letters);
    failpoint::reach("before_isolated_commit");
    transaction.commit(Outcome { moves, letters, ..Outcome::default() }).await?;
    Ok(plan)
}

impl<'a, 'b> Isolation<'a, 'b> {
    fn new(
        context: &'b Context,
        offsets: &'b [Offset],
        past: &'b Past<'b>,
        steps: Steps<'a>,
    ) -> Self {
        let mut order = CausalOrder::new(offsets, steps.of_partitions, past);
        let steps = order.by_ref().collect();
        let ends = (0..offsets.len()).map(|at| order.waits_at(at)).collect();
        Self {
            context,
            offsets,
            past,
            steps,
            ends,
            held: HashMap::new(),
            refused: HashMap::new(),
            stops: vec![None; offsets.len()],
            taken: HashSet::new(),
            suspects: Vec::new(),
        }
    }

    async fn run(&mut self, transaction: &mut dyn Transaction) -> Result<(), StepError> {
        // The last range is the next one, so that the entries go in order.
        let mut ranges: Vec<Range<usize>> = Vec::new();
        ranges.push(0..self.steps.len());
        while let Some(range) = ranges.pop() {
            let places = self.standing(range);
            let (Some(&first), Some(&last)) = (places.first(), places.last()) else { continue };
            let refusal = match self.statements(&places) {
                Some(statements) => transaction.attempt(&statements).await?,
                // They cannot be one batch.
                None => Some(Refusal::default()),
            };
            failpoint::reach("after_attempt");
            match refusal {
                None => self.take(&places),
                Some(refusal) if first == last => self.refuse(first, refusal)?,
                Some(refusal) => {
                    self.can_be_isolated(&refusal)?;
                    let middle = places[places.len() / 2];
                    ranges.push(middle..last + 1);
                    ranges.push(first..middle);
                }
            }
        }
        self.judge_suspects()
    }

    /// The entries of a range that are to be applied, and have nothing before them that is not.
    fn standing(&mut self, range: Range<usize>) -> Vec<usize> {
        let mut standing = Vec::with_capacity(range.len());
        for place in range {
            let (at, step) = &self.steps[place];
            if !matches!(step.action, Action::Apply(..)) || self.stops[*at].is_some() {
                continue;
            }
            if self.depends_on_stopped(*at, step) {
                self.stops[*at] = Some(step.raw.id);
                continue;
            }
            if step.rows.iter().any(|row| self.held.contains_key(&row.key)) {
                // A unit of work that queues behind one of its rows holds the others too.
                for row in &step.rows {
                    self.held.entry(row.key.clone()).or_insert(step.raw.id);
                }
                continue;
            }
            standing.push(place);
        }
        standing
    }

    fn depends_on_stopped(&self, at: usize, step: &Step<'_>) -> bool {
        let Partition { queue, .. } = self.offsets[at].partition;
        let is_stopped = |dependency: &Dependency| {
            let of = Partition { queue, number: dependency.partition };
            let of = self.offsets.iter().position(|offset| offset.partition == of);
            of.is_some_and(|of| self.stops[of].is_some_and(|stop| stop <= dependency.entry))
        };
        dependencies(step).iter().any(is_stopped)
            && !(self.past.has_waited)(self.offsets[at].partition, step.raw.id)
    }

    /// `None` where they cannot be folded.
    fn statements(&self, places: &[usize]) -> Option<Vec<Statement>> {
        let models = &self.context.models;
        let entries = places.iter().filter_map(|&place| self.entry(place).cloned());
        if let [_] = places {
            return Some(in_queue_order(entries, models));
        }
        let mut fold = Fold::default();
        for entry in entries {
            if !fold.add(entry) {
                return None;
            }
        }
        Some(fold.into_statements(models))
    }

    fn entry(&self, place: usize) -> Option<&Entry> {
        match &self.steps[place].1.action {
            Action::Apply(entry) => Some(entry),
            _ => None,
        }
    }

    fn take(&mut self, places: &[usize]) {
        let entries = places.iter().filter_map(|&place| self.entry(place));
        let taken: Vec<Shape> = entries.flat_map(shapes).collect();
        self.taken.extend(taken);
    }

    /// An error where looking for the entry to blame is in vain.
    fn can_be_isolated(&self, refusal: &Refusal) -> Result<(), StepError> {
        match Verdict::of(refusal) {
            Verdict::Configuration => Err(misfit(refusal)),
            Verdict::Outage => Err(outage(refusal)),
            Verdict::Suspect if self.suspects.len() > SUSPECTS_MAX && self.taken.is_empty() => {
                Err(misfit(refusal))
            }
            _ => Ok(()),
        }
    }

    /// An entry was refused by itself.
    fn refuse(&mut self, place: usize, refusal: Refusal) -> Result<(), StepError> {
        let (at, step) = &self.steps[place];
        let (at, id) = (*at, step.raw.id);
        let rows: Vec<String> = step.rows.iter().map(|row| row.key.clone()).collect();
        match Verdict::of(&refusal) {
            Verdict::Dependent if !(self.past.has_waited)(self.offsets[at].partition, id) => {
                self.stops[at] = Some(id);
                return Ok(());
            }
            Verdict::Suspect => {
                let suspects: Vec<Shape> = self.entry(place).into_iter().flat_map(shapes).collect();
                self.suspects.extend(suspects.into_iter().map(|shape| (shape, refusal.clone())));
            }
            Verdict::Content | Verdict::Dependent => {}
            Verdict::Configuration | Verdict::Outage => return self.can_be_isolated(&refusal),
        }
        for key in rows {
            self.held.entry(key).or_insert(id);
        }
        self.refused.insert(place, refusal);
        Ok(())
    }

    /// What a user's trigger refused is the entries' fault if it took others like them.
    fn judge_suspects(&self) -> Result<(), StepError> {
        let unheard = self.suspects.iter().find(|(shape, _)| !self.taken.contains(shape));
        unheard.map_or(Ok(()), |(_, refusal)| Err(misfit(refusal)))
    }

    fn into_plan(mut self) -> Plan {
        let mut reached: Vec<Reached<'_>> =
            self.offsets.iter().map(|_| Reached::default()).collect();
        for (place, (at, step)) in self.steps.into_iter().enumerate() {
            let Step { raw, mut rows, action } = step;
            if self.stops[at].is_some_and(|stop| raw.id >= stop) {
                continue;
            }
            let partition = self.offsets[at].partition;
            let earlier = rows.iter().filter_map(|row| self.held.get(&row.key).copied()).min();
            let letter = match (self.refused.remove(&place), action, earlier) {
                (Some(refusal), ..) => Some(letter(partition, raw, refusal, None)),
                (None, Action::Refuse(refusal), None) => {
                    Some(letter(partition, raw, *refusal, None))
                }
                (None, Action::Behind(earlier), _) => Some(letter_behind(partition, raw, earlier)),
                (None, _, Some(earlier)) if earlier < raw.id => {
                    Some(letter_behind(partition, raw, earlier))
                }
                _ => None,
            };
            rows.iter_mut().for_each(|row| row.held = letter.is_some());
            reached[at].letters.extend(letter);
            reached[at].pass(raw, rows);
        }
        for ((reached, stop), end) in reached.iter_mut().zip(&self.stops).zip(&self.ends) {
            reached.depends_at(*end);
            reached.waits_at = stop.or(reached.waits_at);
        }
        let mut plan = Plan::of(self.context, self.offsets, reached);
        plan.rows = plan.entries - plan.letters;
        plan
    }
}

fn describe(refusal: &Refusal) -> String {
    match &refusal.sqlstate {
        Some(sqlstate) => format!("{} (SQLSTATE {sqlstate})", refusal.message),
        None => refusal.message.clone(),
    }
}

fn misfit(refusal: &Refusal) -> StepError {
    DurableStoreError::Configuration(describe(refusal).into()).into()
}

fn outage(refusal: &Refusal) -> StepError {
    DurableStoreError::Unavailable(describe(refusal).into()).into()
}
