//! Consumer groups.

use std::time::Duration;

use redis::Cmd;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamPendingCountReply, StreamPendingReply,
};

use super::streams::{first, texts};
use super::{At, EntryPosition, Error, Family, Redis, StreamEntries, StreamEntry};
use crate::entry::EntryId;

/// What a group has delivered and no consumer has acknowledged yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// How many entries.
    pub count: u64,
    /// How many of them each consumer has that has any.
    pub consumers: Vec<(String, u64)>,
}

/// An entry that was delivered and not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEntry {
    /// Its id.
    pub id: EntryId,
    /// Whom it was delivered to last.
    pub consumer: String,
    /// How long ago.
    pub idle: Duration,
    /// How many times it was delivered.
    pub deliveries: u64,
}

/// Entries that were another consumer's before.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The entries.
    pub entries: Vec<StreamEntry>,
    /// Where to look on; [`EntryId::ZERO`] when all were looked at.
    pub next: EntryId,
}

/// # Consumer groups
impl Redis {
    /// Creates a group that begins behind a position, and the stream where there is none. Answers
    /// whether it is new: one that is there stays as it is.
    ///
    /// # Errors
    /// [`Error::Group`], or what any call can fail with.
    pub async fn group_create(
        &self,
        stream: &str,
        group: &str,
        from: EntryPosition,
    ) -> Result<bool, Error> {
        let at = At::new(Family::Group, "group_create", stream);
        let command = Cmd::xgroup_create_mkstream(self.key(stream), group, from);
        let mut link = self.pool.link();
        let create = async {
            match command.query_async::<()>(&mut link).await {
                Ok(()) => Ok(true),
                Err(error) if error.code() == Some("BUSYGROUP") => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.pool.run(at, create).await
    }

    /// Destroys a group with all that it knows, and answers whether there was one.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_destroy(&self, stream: &str, group: &str) -> Result<bool, Error> {
        let at = At::new(Family::Group, "group_destroy", stream);
        self.query(at, &Cmd::xgroup_destroy(self.key(stream), group)).await
    }

    /// Has a group go on behind a position.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_set_id(
        &self,
        stream: &str,
        group: &str,
        position: EntryPosition,
    ) -> Result<(), Error> {
        let at = At::new(Family::Group, "group_set_id", stream);
        self.query(at, &Cmd::xgroup_setid(self.key(stream), group, position)).await
    }

    /// Up to `count` entries of each stream for a consumer of a group;
    /// [`EntryPosition::Undelivered`] are those that nobody has. `None` is
    /// [`stream_read_count`](crate::RedisSettings::stream_read_count).
    ///
    /// Where the answer is lost, the entries are delivered all the same: the consumer finds them
    /// behind [`EntryPosition::START`], and another one by [`Redis::group_claim`].
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_read(
        &self,
        group: &str,
        consumer: &str,
        streams: &[(&str, EntryPosition)],
        count: Option<usize>,
    ) -> Result<StreamEntries, Error> {
        let at = At::new(Family::Group, "group_read", first(streams));
        let options = self.read_options(count).group(group, consumer);
        self.entries(at, self.query(at, &self.read_command(streams, options)).await?)
    }

    /// The same, and where there are none yet, waits for them up to `wait`, a millisecond at least;
    /// no entry in this time is no error. It has a connection of its own, so that nobody else
    /// waits.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_read_blocking(
        &self,
        group: &str,
        consumer: &str,
        streams: &[(&str, EntryPosition)],
        count: Option<usize>,
        wait: Duration,
    ) -> Result<StreamEntries, Error> {
        let at = At::new(Family::Group, "group_read_blocking", first(streams));
        let options = self.read_options(count).group(group, consumer);
        self.read_blocking(at, streams, options, wait).await
    }

    /// Acknowledges entries, and answers how many of them were pending.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_ack(
        &self,
        stream: &str,
        group: &str,
        ids: &[EntryId],
    ) -> Result<u64, Error> {
        let at = At::new(Family::Group, "group_ack", stream);
        self.query(at, &Cmd::xack(self.key(stream), group, &texts(ids))).await
    }

    /// How much is pending, and whose it is.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_pending(&self, stream: &str, group: &str) -> Result<Pending, Error> {
        let at = At::new(Family::Group, "group_pending", stream);
        match self.query(at, &Cmd::xpending(self.key(stream), group)).await? {
            StreamPendingReply::Data(data) => {
                let consumers = data.consumers.into_iter();
                let consumers = consumers.map(|consumer| (consumer.name, consumer.pending as u64));
                Ok(Pending { count: data.count as u64, consumers: consumers.collect() })
            }
            _ => Ok(Pending::default()),
        }
    }

    /// The oldest `count` entries that are pending.
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_pending_entries(
        &self,
        stream: &str,
        group: &str,
        count: usize,
    ) -> Result<Vec<PendingEntry>, Error> {
        let at = At::new(Family::Group, "group_pending_entries", stream);
        let command = Cmd::xpending_count(self.key(stream), group, "-", "+", count);
        let reply: StreamPendingCountReply = self.query(at, &command).await?;
        let entries = reply.ids.into_iter().map(|entry| {
            Ok(PendingEntry {
                id: entry.id.parse().map_err(|_| at.no_such_type::<EntryId>())?,
                consumer: entry.consumer,
                idle: Duration::from_millis(entry.last_delivered_ms as u64),
                deliveries: entry.times_delivered as u64,
            })
        });
        entries.collect()
    }

    /// Gives a consumer up to `count` entries that are pending for longer than `idle`, whoever has
    /// them: of one that has died. It looks from `start` on, where it begins with
    /// [`EntryId::ZERO`].
    ///
    /// # Errors
    /// As [`Redis::group_create`].
    pub async fn group_claim(
        &self,
        stream: &str,
        group: &str,
        consumer: &str,
        idle: Duration,
        start: EntryId,
        count: usize,
    ) -> Result<Claimed, Error> {
        let at = At::new(Family::Group, "group_claim", stream);
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let command = Cmd::xautoclaim_options(
            self.key(stream),
            group,
            consumer,
            idle_ms,
            start.to_string(),
            StreamAutoClaimOptions::default().count(count),
        );
        let reply: StreamAutoClaimReply = self.query(at, &command).await?;
        let entries = reply.claimed.into_iter().map(|entry| StreamEntry::new(at, entry));
        Ok(Claimed {
            entries: entries.collect::<Result<_, _>>()?,
            next: reply.next_stream_id.parse().map_err(|_| at.no_such_type::<EntryId>())?,
        })
    }
}
