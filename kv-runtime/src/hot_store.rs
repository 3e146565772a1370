//! The hot side, as the rest of the runtime sees it: rows, queues and settling.
//!
//! [`redis`] keeps them on a server, [`memory`] in this process. Both take the
//! same requests and enforce the same rules; one contract suite runs over both.

mod claim;
mod error;
pub(crate) mod memory;
mod moving;
mod queue;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod terms;
mod unit;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::checks::StoreChecks;
use crate::durability::Durability;
use crate::durable_store::Refusal;
use crate::entry::{self, Change, EntryId, RawEntry};
use crate::key::{KeySpace, Layout, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::notices::Notices;
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;

pub(crate) use self::claim::{Claim, FreeValue, ValueContent, ValueFill};
pub(crate) use self::error::{HotStoreError, NotReplicated};
pub(crate) use self::moving::{LOADED, Load, SchemeMark};
pub(crate) use self::queue::{PartitionState, ReadRequest, ReadSize, SettledRow, Settlement, Tail};
pub(crate) use self::terms::{Increment, Terms};
pub(crate) use self::unit::{Observed, Stamp, Unit, UnitOutcome, UnitRow};

/// A change of one row, to be made together with its entry.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: RowKey,
    pub(crate) change: Change,
    /// Random; a retry carries the same, and so gets the first answer.
    pub(crate) operation_id: String,
    /// What is known of a create's id beside what the hot side knows.
    pub(crate) probe: Probe,
    /// What a patch asks of the row that it finds.
    pub(crate) terms: Terms,
}

impl Write {
    /// What the entry says of itself, beside the columns.
    pub(crate) fn header(&self) -> String {
        entry::header(self.key.model, &self.change, &self.key.id, &self.operation_id)
    }

    /// The bytes of its entry, if they are more than `max`. The row's new values are among them.
    pub(crate) fn entry_bytes_over(&self, max: usize) -> Option<usize> {
        /// What a byte can take once it is escaped.
        const ESCAPED_MAX: usize = 6;
        let model = self.key.model;
        let names: usize = model.columns.iter().map(|column| column.name.len()).sum();
        let texts = names + self.change.byte_len() + model.key_prefix.len() + self.key.id.len();
        // Hardly ever is it worth counting: 64 bytes are for the rest of the header, and eight
        // for the quotes and what is between them.
        if texts * ESCAPED_MAX + model.columns.len() * 8 + 64 <= max {
            return None;
        }
        let bytes = self.header().len() + self.change.encode_values(model).len();
        (bytes > max).then_some(bytes)
    }
}

/// Whether PostgreSQL may have a row that the hot side does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The id is fresh, or the change is no create: nothing to ask.
    NotNeeded,
    /// It was not asked.
    Missing,
    /// It had none, after this token was left in the row's place.
    Done(String),
}

impl Probe {
    /// As the scripts have it.
    pub(crate) fn token(&self) -> &str {
        match self {
            Self::NotNeeded => "",
            Self::Missing => "?",
            Self::Done(token) => token,
        }
    }
}

/// What became of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// It is done, now or by an earlier try of the same operation.
    Written(EntryId),
    /// A create found a row.
    Exists,
    /// A patch or a delete found no row here; PostgreSQL may have it.
    Absent,
    /// A patch or a delete found a row that was deleted.
    Deleted,
    /// The partition's queue is at its bound.
    Full,
    /// A create's id has to be probed first, or again.
    Unprobed,
    /// The row has dead letters.
    Held,
    /// The row of a patch has another version than it must have.
    Stale,
    /// An increment is done, and this is what it came to.
    Counted(EntryId, i64),
    /// A counter is NULL.
    Null,
    /// A counter cannot hold what the increment would come to.
    Overflow,
    /// It is done, past the queue: it is durable already. With what an increment came to.
    Stored { entry: EntryId, result: Option<i64> },
    /// PostgreSQL refuses it, past the queue.
    Refused(Refusal),
}

/// How a row stands on the hot side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowState {
    /// Nothing is here, or a reader's token.
    Missing,
    Clean,
    Dirty,
    /// A tombstone.
    Deleted,
    /// It has dead letters.
    Held,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    Row(EncodedRow),
    /// A tombstone: there is no row, whatever PostgreSQL still has.
    Deleted,
    /// Nothing here, or a token in its place; PostgreSQL may have it.
    Missing {
        token: Option<String>,
    },
}

/// A row that was read from the durable side, to be put where it was missed.
#[derive(Debug)]
pub(crate) struct Fill {
    pub(crate) key: RowKey,
    /// What was in its place when it was missed.
    pub(crate) token: String,
    pub(crate) row: EncodedRow,
    /// The partition's offset in the snapshot that the row was read in.
    pub(crate) offset: EntryId,
    pub(crate) ttl: Duration,
    /// The keys of its unique values.
    pub(crate) value_keys: Vec<String>,
}

/// What became of an [`invalidate`](HotStore::invalidate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalidated {
    /// The row is gone from the hot side, or was not there.
    Clean,
    /// It has an undrained entry and was left alone.
    Dirty,
}

/// A drainer's place among those of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    /// How many there are, this one included.
    pub(crate) members: usize,
    /// How many stand before this one.
    pub(crate) rank: usize,
}

/// An entry, with what tells it from any other that ever had its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryMark {
    pub(crate) partition: Partition,
    pub(crate) id: EntryId,
    /// The id of the operation that wrote it.
    pub(crate) nonce: String,
}

/// Where an entry stands on the hot side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is on its queue and not settled.
    Queued,
    /// It is settled: the durable side has its effect, or has refused it.
    Settled,
    /// It is neither: the queue went back behind it.
    Gone,
}

impl Standing {
    /// From whether it is there, and how far its partition is settled and trimmed.
    fn new(entry: EntryId, is_there: bool, settled: EntryId, trimmed: EntryId) -> Self {
        match is_there {
            // Nothing is trimmed before it is settled.
            false if entry >= trimmed => Self::Gone,
            true if entry > settled => Self::Queued,
            _ => Self::Settled,
        }
    }
}

/// The port of the hot side.
#[async_trait]
pub(crate) trait HotStore: StoreChecks + std::fmt::Debug + Send + Sync {
    /// Whether a unit test has its hand on it.
    fn is_watched(&self) -> bool {
        false
    }

    /// Where the caches of this process are told of changes, those of all tenants.
    fn notices(&self) -> &Notices;

    /// Begins to tell them of what other processes change, if there are others.
    #[cfg(feature = "cache")]
    fn tell_of_others(&self) {}

    /// What a tenant has, over the same connections.
    fn of_tenant(&self, name: &str, keys: KeySpace) -> Arc<dyn HotStore>;

    /// The tenants that were written to since a number, and the number of the last write: at once
    /// or a moment later, and in a process that dies perhaps never.
    async fn written_since(&self, number: u64) -> Result<(u64, Vec<String>), HotStoreError>;

    /// Makes changes of rows in any partitions, in order for each row.
    ///
    /// Each change is made together with its entry or not at all, whatever becomes of the others.
    async fn write(&self, writes: &[Arc<Write>]) -> Vec<Result<WriteOutcome, HotStoreError>>;

    /// Makes the changes of a unit of work: all of them with one entry, or none.
    async fn write_unit(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError>;

    /// [`reserve`](Self::reserve) for one row, with what a unit of work knows it again by.
    async fn observe(&self, key: &RowKey, token: &str) -> Result<Observed, HotStoreError>;

    /// Reads some rows, in any partitions.
    async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError>;

    /// Reads rows again; where nothing is, leaves `token` in its place, for a
    /// [`fill`](Self::fill) with the same token. Where another token is, it is shared.
    async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError>;

    /// Puts rows where their token still is; those without are left out, silently.
    async fn fill(&self, fills: &[Fill]) -> Result<(), HotStoreError>;

    /// What is under the keys of unique values; where nothing is, leaves a token, for a
    /// [`fill_value`](Self::fill_value) with it.
    async fn reserve_values(
        &self,
        keys: &[String],
        token: &str,
    ) -> Result<Vec<ValueContent>, HotStoreError>;

    /// Says whose a unique value is, where its token still is.
    async fn fill_value(&self, fill: &ValueFill, ttl: Duration) -> Result<(), HotStoreError>;

    /// Makes sure that a try to write a unit of this partition, by its nonce, which has not been made
    /// yet never will: before values are taken over that were being taken for it.
    async fn revoke(&self, partition: Partition, nonce: &str) -> Result<(), HotStoreError>;

    /// Removes a clean row.
    async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError>;

    /// Reads entries, for each request in order.
    async fn read_entries(
        &self,
        requests: &[ReadRequest],
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError>;

    /// Lets clean rows expire and removes tombstones, after the commit of their entries.
    ///
    /// `false` where another position than a settlement's `from` was settled before.
    async fn settle(&self, settlements: &[Settlement]) -> Result<bool, HotStoreError>;

    /// How a row stands.
    async fn row_state(&self, key: &RowKey) -> Result<RowState, HotStoreError>;

    /// Removes rows whose newest entry is not younger than `up_to`; the others go when they are
    /// clean. What held them does so no more.
    async fn let_go(&self, keys: &[String], up_to: EntryId) -> Result<(), HotStoreError>;

    /// The keys of the model's rows in a partition, or in all, by a look at all keys.
    async fn scan(
        &self,
        model: &'static ModelDescriptor,
        partition: Option<Partition>,
    ) -> Result<Vec<String>, HotStoreError>;

    /// What a partition says of its queue's scheme.
    async fn scheme(&self, partition: Partition) -> Result<SchemeMark, HotStoreError>;

    /// Lets partitions take no entries, and no rows from readers, for the switch with this id.
    async fn close(&self, partitions: &[Partition], switch: &str) -> Result<(), HotStoreError>;

    /// Puts rows where nobody looks for them elsewhere from then on; with
    /// [`Elsewhere`](HotStoreError::Elsewhere) where it is not this switch that keeps a partition
    /// closed.
    async fn load(&self, rows: &[Load], switch: &str) -> Result<(), HotStoreError>;

    /// Removes rows that the durable side has, under the same condition.
    async fn drop_rows(&self, keys: &[RowKey], switch: &str) -> Result<(), HotStoreError>;

    /// Notes the scheme of a partition's queue, and takes entries if they go here under it; where it
    /// was written past, all of them behind the place that this has come to.
    async fn open(
        &self,
        partition: Partition,
        scheme: StorageScheme,
        from: Option<EntryId>,
    ) -> Result<(), HotStoreError>;

    /// The layouts that a queue has had, the oldest first, where they were changed; else none.
    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, HotStoreError>;

    /// Notes the layouts that a queue has had. The partitions of all but the last take nothing any
    /// more, and say so.
    async fn move_on(&self, queue: &'static str, layouts: &[Layout]) -> Result<(), HotStoreError>;

    /// Removes clean rows, and keeps them out until they are lifted with the same token, or for a
    /// while; `false` where one is dirty.
    async fn bar(&self, keys: &[String], token: &str) -> Result<bool, HotStoreError>;

    /// Ends a [`bar`](Self::bar), and removes what was put in its place since.
    async fn lift(&self, keys: &[String], token: &str) -> Result<(), HotStoreError>;

    /// Takes a partition to be settled up to an entry, whatever was said before.
    async fn rebase(&self, partition: Partition, to: EntryId) -> Result<(), HotStoreError>;

    /// Makes or keeps a drainer a member of a queue for some time.
    async fn join(
        &self,
        queue: &'static str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Membership, HotStoreError>;

    /// Ends a drainer's membership of a queue.
    async fn leave(&self, queue: &'static str, owner: &str) -> Result<(), HotStoreError>;

    /// Takes or renews leases for some time: whether each is the owner's now.
    async fn lease(
        &self,
        partitions: &[Partition],
        owner: &str,
        ttl: Duration,
    ) -> Result<Vec<bool>, HotStoreError>;

    /// Gives leases back that are the owner's.
    async fn give_back(&self, partitions: &[Partition], owner: &str) -> Result<(), HotStoreError>;

    /// How far each partition was written and settled.
    async fn states(&self, partitions: &[Partition]) -> Result<Vec<PartitionState>, HotStoreError>;

    /// What of each partition is not settled, which costs less than all of its state.
    async fn tails(&self, partitions: &[Partition]) -> Result<Vec<Tail>, HotStoreError>;

    /// The first entries behind a place in each partition, of each at most so many.
    async fn entries_behind(
        &self,
        places: &[(Partition, EntryId)],
        count: usize,
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError>;

    /// Where an entry stands.
    async fn standing(&self, entry: &EntryMark) -> Result<Standing, HotStoreError>;

    /// Whether the server knows a mode at all; asked before something is written in it.
    async fn check_durability(&self, durability: Durability) -> Result<(), HotStoreError>;

    /// Waits until entries are as safe as a mode says, with all that was written before them.
    ///
    /// For a write after its answer, and for the drainer before it commits: else PostgreSQL could
    /// have what a replica that takes over does not.
    async fn replicate(
        &self,
        entries: &[EntryMark],
        durability: Durability,
    ) -> Result<(), NotReplicated>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_read_at_once_as_an_answer_can_hold() {
        let entries = |count, bytes| {
            let entry = RawEntry { id: EntryId::ZERO, header: Vec::new(), values: vec![0; bytes] };
            vec![entry; count]
        };
        let mut size = ReadSize::default();
        let mut next = |count, bytes| {
            size.learn(entries(count, bytes).iter());
            size.count()
        };
        assert_eq!([next(64, 300), next(256, 300), next(1_000, 300)], [256, 1_000, 1_000]);
        assert_eq!(next(0, 0), 1_000);
        assert_eq!([next(10, 1024 * 1024), next(1, 64 * 1024 * 1024)], [16, 1]);
        assert_eq!(next(1, 300), 4);
    }
}
