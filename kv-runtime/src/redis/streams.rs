//! Streams.

use std::collections::HashMap;
use std::time::Duration;

use redis::streams::{
    StreamId, StreamReadOptions, StreamReadReply, StreamTrimOptions, StreamTrimmingMode,
};
use redis::{Cmd, RedisWrite};
use serde::de::DeserializeOwned;

use super::strings::from_json;
use super::{At, Error, Family, FromRedisValue, Redis, ToRedisArgs, Value, milliseconds, read};
use crate::entry::EntryId;

/// Where an entry stands in a stream, or is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPosition {
    /// `*`: where Redis puts it. For [`Redis::xadd`].
    Auto,
    /// `$`: behind the last entry that is there now. For [`Redis::xread_blocking`], and for a group
    /// that is to begin there.
    AfterLast,
    /// `>`: behind what was delivered to any consumer of the group. For [`Redis::group_read`].
    Undelivered,
    /// This one. A read begins behind it, a group too; a consumer of a group reads what was
    /// delivered to it behind this and not acknowledged yet.
    At(EntryId),
}

impl EntryPosition {
    /// Before every entry.
    pub const START: Self = Self::At(EntryId::ZERO);
}

impl ToRedisArgs for EntryPosition {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self {
            Self::Auto => out.write_arg(b"*"),
            Self::AfterLast => out.write_arg(b"$"),
            Self::Undelivered => out.write_arg(b">"),
            Self::At(id) => out.write_arg_fmt(id),
        }
    }
}

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// Its id.
    pub id: EntryId,
    fields: HashMap<String, Value>,
}

impl StreamEntry {
    pub(super) fn new(at: At<'_>, entry: StreamId) -> Result<Self, Error> {
        let id = entry.id.parse().map_err(|_| at.no_such_type::<EntryId>())?;
        Ok(Self { id, fields: entry.map })
    }

    /// The names of its fields, in no order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// A field's value.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Parsing`] where it is no `T`.
    pub fn get<T: FromRedisValue>(&self, field: &str) -> Result<T, Error> {
        let at = At::new(Family::Stream, "field", field);
        let value = self.fields.get(field).ok_or_else(|| at.not_found())?;
        read(at, value.clone())
    }

    /// The value whose JSON a field has.
    ///
    /// # Errors
    /// As [`StreamEntry::get`].
    pub fn json<T: DeserializeOwned>(&self, field: &str) -> Result<T, Error> {
        let json: Vec<u8> = self.get(field)?;
        from_json(At::new(Family::Stream, "field", field), &json)
    }
}

/// Entries by the name of their stream, each in order. Streams without any are left out.
pub type StreamEntries = HashMap<String, Vec<StreamEntry>>;

/// # Streams
impl Redis {
    /// Appends an entry, and answers its id.
    ///
    /// # Errors
    /// [`Error::Stream`], also where an explicit id is not behind the last one; or what any call
    /// can fail with.
    pub async fn xadd<F: ToRedisArgs, V: ToRedisArgs>(
        &self,
        stream: &str,
        position: EntryPosition,
        fields: &[(F, V)],
    ) -> Result<EntryId, Error> {
        let at = At::new(Family::Stream, "xadd", stream);
        let id: String = self.query(at, &Cmd::xadd(self.key(stream), position, fields)).await?;
        id.parse().map_err(|_| at.no_such_type::<EntryId>())
    }

    /// Up to `count` entries of each stream behind a position; `None` is
    /// [`stream_read_count`](crate::RedisSettings::stream_read_count).
    ///
    /// # Errors
    /// [`Error::Stream`], or what any call can fail with.
    pub async fn xread(
        &self,
        streams: &[(&str, EntryPosition)],
        count: Option<usize>,
    ) -> Result<StreamEntries, Error> {
        let at = At::new(Family::Stream, "xread", first(streams));
        let answer = self.query(at, &self.read_command(streams, self.read_options(count))).await?;
        self.entries(at, answer)
    }

    /// The same, and where there are none yet, waits for them up to `wait`, a millisecond at least;
    /// no entry in this time is no error. It has a connection of its own, so that nobody else
    /// waits.
    ///
    /// # Errors
    /// As [`Redis::xread`].
    pub async fn xread_blocking(
        &self,
        streams: &[(&str, EntryPosition)],
        count: Option<usize>,
        wait: Duration,
    ) -> Result<StreamEntries, Error> {
        let at = At::new(Family::Stream, "xread_blocking", first(streams));
        self.read_blocking(at, streams, self.read_options(count), wait).await
    }

    /// Deletes entries, and answers how many of them there were.
    ///
    /// # Errors
    /// As [`Redis::xread`].
    pub async fn xdel(&self, stream: &str, ids: &[EntryId]) -> Result<u64, Error> {
        let at = At::new(Family::Stream, "xdel", stream);
        self.query(at, &Cmd::xdel(self.key(stream), &texts(ids))).await
    }

    /// Leaves the newest `length` entries, and answers how many it has removed.
    ///
    /// # Errors
    /// As [`Redis::xread`].
    pub async fn xtrim(&self, stream: &str, length: usize) -> Result<u64, Error> {
        let options = StreamTrimOptions::maxlen(StreamTrimmingMode::Exact, length);
        self.trim(stream, &options).await
    }

    /// Removes what is before an entry, and answers how many entries that were.
    ///
    /// # Errors
    /// As [`Redis::xread`].
    pub async fn xtrim_before(&self, stream: &str, first: EntryId) -> Result<u64, Error> {
        let options = StreamTrimOptions::minid(StreamTrimmingMode::Exact, first.to_string());
        self.trim(stream, &options).await
    }

    /// How many entries a stream has.
    ///
    /// # Errors
    /// As [`Redis::xread`].
    pub async fn xlen(&self, stream: &str) -> Result<u64, Error> {
        self.query(At::new(Family::Stream, "xlen", stream), &Cmd::xlen(self.key(stream))).await
    }

    async fn trim(&self, stream: &str, options: &StreamTrimOptions) -> Result<u64, Error> {
        let at = At::new(Family::Stream, "xtrim", stream);
        self.query(at, &Cmd::xtrim_options(self.key(stream), options)).await
    }

    pub(super) fn read_options(&self, count: Option<usize>) -> StreamReadOptions {
        StreamReadOptions::default().count(count.unwrap_or(self.settings().stream_read_count))
    }

    pub(super) fn read_command(
        &self,
        streams: &[(&str, EntryPosition)],
        options: StreamReadOptions,
    ) -> Cmd {
        let (keys, positions): (Vec<_>, Vec<_>) =
            streams.iter().map(|(stream, position)| (self.key(stream), *position)).unzip();
        Cmd::xread_options(&keys, &positions, &options)
    }

    pub(super) async fn read_blocking(
        &self,
        at: At<'_>,
        streams: &[(&str, EntryPosition)],
        options: StreamReadOptions,
        wait: Duration,
    ) -> Result<StreamEntries, Error> {
        let wait_ms = usize::try_from(milliseconds(wait)).unwrap_or(usize::MAX);
        let command = self.read_command(streams, options.block(wait_ms));
        let answer = self.pool.run_blocking(at, &command, wait).await?;
        self.entries(at, answer)
    }

    /// The entries of an answer, under the streams' names without the prefix.
    pub(super) fn entries(&self, at: At<'_>, answer: Value) -> Result<StreamEntries, Error> {
        // Of a blocking read whose time is over.
        if matches!(answer, Value::Nil) {
            return Ok(HashMap::new());
        }
        let mut entries = HashMap::new();
        for stream in read::<StreamReadReply>(at, answer)?.keys {
            let of_stream = stream.ids.into_iter().map(|entry| StreamEntry::new(at, entry));
            let name = stream.key.strip_prefix(&*self.prefix).unwrap_or(&stream.key);
            entries.insert(name.to_owned(), of_stream.collect::<Result<_, _>>()?);
        }
        Ok(entries)
    }
}

pub(super) fn first<'a>(streams: &[(&'a str, EntryPosition)]) -> &'a str {
    streams.first().map_or("", |(stream, _)| stream)
}

pub(super) fn texts(ids: &[EntryId]) -> Vec<String> {
    ids.iter().map(EntryId::to_string).collect()
}
