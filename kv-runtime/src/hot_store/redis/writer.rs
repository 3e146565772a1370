//! Calls of the write script.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use redis::Cmd;

use super::clock::ServerClock;
use super::connection::Connection;
use super::failure::classify_write;
use super::lane::{SendWrites, WriteResult};
use super::packed::Packed;
use super::reply;
use super::script::{Script, WRITE};
use crate::entry::{self, Change};
use crate::hot_store::{HotStoreError, Increment, Terms, Unit, UnitOutcome, Write, WriteOutcome};
use crate::key::{KeySpace, Partition};
use crate::model::ModelDescriptor;
use crate::settings::{OnHeld, Settings};

/// Of the room that a check has found, a writer uses this share before it checks again: so
/// several writers together stay within the bound, and one that nears it checks every write.
const ROOM_SHARE: i64 = 16;

/// Calls the write script. Clones share what they know of the queues' room.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    keys: Arc<KeySpace>,
    queue_capacity: u64,
    takes_held: bool,
    write_unit: &'static Script,
    /// How many writes a partition takes before its room is checked again.
    unchecked: Arc<Mutex<HashMap<Partition, i64>>>,
    clock: ServerClock,
}

impl SendWrites for Writer {
    async fn send(&self, connection: &Connection, writes: &[Arc<Write>]) -> Vec<WriteResult> {
        self.call(connection, writes, 0).await
    }
}

impl Writer {
    pub(super) fn new(keys: KeySpace, settings: &Settings, write_unit: &'static Script) -> Self {
        Self {
            keys: Arc::new(keys),
            queue_capacity: settings.queue_capacity,
            takes_held: settings.on_held == OnHeld::Queue,
            write_unit,
            unchecked: Arc::default(),
            clock: ServerClock::new(),
        }
    }

    /// The same for a tenant, whose queues have room of their own.
    pub(super) fn of_tenant(&self, keys: KeySpace) -> Self {
        Self { keys: Arc::new(keys), unchecked: Arc::default(), ..self.clone() }
    }

    /// Not later than what the server's clock shows now, and never zero.
    pub(super) fn now_at_least_ms(&self) -> u64 {
        self.clock.now_at_least_ms()
    }

    /// `began_ms` is not later than the first try, by the server's clock; zero if this is it.
    ///
    /// Not the time since then: a retry may be long on its way, and would look for the first try
    /// where it is not.
    pub(super) async fn call(
        &self,
        connection: &Connection,
        writes: &[Arc<Write>],
        began_ms: u64,
    ) -> Vec<WriteResult> {
        let checked = self.choose_checks(writes);
        let call = self.command(writes, &checked, began_ms);
        let answers = connection.call(&WRITE, vec![call]).await;
        let written =
            answers.and_then(|answers| reply::written(answers.into_iter().next(), writes.len()));
        match written {
            Ok(written) => {
                self.note_rooms(writes, &checked, &written.rooms);
                if began_ms == 0
                    && let Some(Ok(WriteOutcome::Written(entry))) = written.outcomes.last()
                {
                    self.clock.note(entry.milliseconds);
                }
                let outcomes = written.outcomes.into_iter();
                outcomes.map(|outcome| outcome.map_err(classify_write)).collect()
            }
            Err(error) => {
                let error = classify_write(error);
                writes.iter().map(|_| Err(error.repeat())).collect()
            }
        }
    }

    /// [`call`](Self::call) for one write.
    pub(super) async fn call_one(
        &self,
        connection: &Connection,
        write: &Arc<Write>,
        began_ms: u64,
    ) -> WriteResult {
        let results = self.call(connection, std::slice::from_ref(write), began_ms).await;
        let missing = || Err(HotStoreError::OutcomeUnknown("the call has no answer".into()));
        results.into_iter().next().unwrap_or_else(missing)
    }

    /// The same for a unit of work, with the key of the nonce by which values were taken for it.
    pub(super) async fn call_unit(
        &self,
        connection: &Connection,
        unit: &Unit,
        nonce_key: Option<&str>,
        began_ms: u64,
    ) -> Result<UnitOutcome, HotStoreError> {
        let call = self.unit_command(unit, nonce_key, began_ms);
        let answers = connection.call(self.write_unit, vec![call]).await;
        let written = answers.and_then(|answers| reply::unit_written(answers.into_iter().next()));
        written.map_err(classify_write)
    }

    /// Which of the writes are to check their partition's room.
    fn choose_checks(&self, writes: &[Arc<Write>]) -> Vec<bool> {
        let mut unchecked = self.unchecked.lock().unwrap_or_else(PoisonError::into_inner);
        let choose = |write: &Arc<Write>| {
            let left = unchecked.entry(write.key.partition()).or_default();
            *left -= 1;
            *left < 0
        };
        writes.iter().map(choose).collect()
    }

    fn note_rooms(&self, writes: &[Arc<Write>], checked: &[bool], rooms: &[i64]) {
        if rooms.is_empty() {
            return;
        }
        let mut unchecked = self.unchecked.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = writes.iter().zip(checked).filter(|(_, checked)| **checked);
        for ((write, _), room) in checks.zip(rooms) {
            unchecked.insert(write.key.partition(), room / ROOM_SHARE);
        }
    }

    fn command(&self, writes: &[Arc<Write>], checked: &[bool], began_ms: u64) -> Cmd {
        let mut call = WRITE.call(writes.len() * 3);
        for write in writes {
            call.arg(&write.key.key);
        }
        for write in writes {
            let partition = write.key.partition();
            call.arg(self.keys.stream(partition)).arg(self.keys.state(partition));
        }
        let partitions = writes.iter().map(|write| write.key.partition());
        let mut settings = self.settings(partitions, began_ms);
        call.arg(settings.flag(are_new(writes)));
        for (write, &checked) in writes.iter().zip(checked) {
            let columns = Columns::of(write.key.model, &write.change);
            let values = match write.terms {
                // The script puts the result behind it.
                Terms::Increment(counter) => entry::column_name(write.key.model, counter.column),
                Terms::Any | Terms::Version(_) => write.change.encode_values(write.key.model),
            };
            call.arg(packed_change(write, checked, &columns)).arg(values).arg(columns.values);
        }
        call
    }

    fn unit_command(&self, unit: &Unit, nonce_key: Option<&str>, began_ms: u64) -> Cmd {
        let keys = 2 + usize::from(nonce_key.is_some()) + unit.rows.len();
        let mut call = self.write_unit.call(keys);
        call.arg(self.keys.state(unit.partition)).arg(self.keys.stream(unit.partition));
        call.arg(nonce_key);
        for row in &unit.rows {
            call.arg(&row.key.key);
        }
        call.arg(self.settings(std::iter::once(unit.partition), began_ms));
        let (header, values) = unit.encode().unwrap_or_default();
        call.arg(header).arg(values).arg(&unit.operation_id).arg(i32::from(nonce_key.is_some()));
        for row in &unit.rows {
            call.arg(row.seen.as_ref().map_or("", |stamp| &stamp.0)).arg(row.probe.token());
            match &row.change {
                Some(change) => {
                    let columns = Columns::of(row.key.model, change);
                    call.arg(change.name()).arg(columns.version.unwrap_or_default());
                    call.arg(columns.nulls).arg(columns.values);
                }
                None => drop(call.arg("").arg("").arg("").arg("")),
            }
            match &row.claims {
                Some(claims) => {
                    call.arg(claims.len());
                    for claim in claims {
                        let (key, found) = claim.arguments();
                        call.arg(key).arg(found);
                    }
                }
                None => drop(call.arg("")),
            }
        }
        call
    }

    /// What holds for a whole call.
    fn settings(
        &self,
        partitions: impl Iterator<Item = Partition> + Clone,
        began_ms: u64,
    ) -> Packed {
        let count = |partition| self.keys.partitions_with(partition);
        let most = partitions.clone().map(count).max().unwrap_or(1);
        // Where they differ, the partitions that have less room are not to have more.
        let capacity = Settings::partition_capacity(self.queue_capacity, most);
        let counts = match partitions.clone().map(count).all(|count| count == most) {
            true => most.to_string(),
            false => partitions.map(|it| count(it).to_string()).collect::<Vec<_>>().join(" "),
        };
        let mut settings = Packed::default();
        settings.text(&counts).number(capacity).number(began_ms).flag(self.takes_held);
        settings
    }
}

/// Whether all are creates, each of another row.
fn are_new(writes: &[Arc<Write>]) -> bool {
    let mut seen = HashSet::with_capacity(writes.len());
    writes.iter().all(|it| matches!(it.change, Change::Create(_)) && seen.insert(&it.key.key))
}

/// About what there is in a call beside values.
const PACKED_BYTES: usize = 64;

/// What a change is, but for its columns.
fn packed_change(write: &Write, is_checked: bool, columns: &Columns) -> Packed {
    let header = write.header();
    let probe = match write.terms {
        Terms::Any => Cow::Borrowed(write.probe.token()),
        Terms::Version(version) => version.to_string().into(),
        Terms::Increment(Increment { least, most, .. }) => format!("{least} {most}").into(),
    };
    let mut packed = Packed::with_capacity(PACKED_BYTES + header.len());
    packed.text(write.operation()).text(&header).text(&write.operation_id);
    packed.text(&probe).flag(is_checked).text_if_any(columns.version).packed(&columns.nulls);
    packed
}

/// The columns of a change as the scripts take them.
struct Columns {
    /// That of the version.
    version: Option<&'static str>,
    /// The names of those that become NULL.
    nulls: Packed,
    /// Names and values of the others.
    values: Packed,
}

impl Columns {
    fn of(model: &'static ModelDescriptor, change: &Change) -> Self {
        let version = change.version_column(model);
        let mut nulls = Packed::default();
        let mut values = Packed::with_capacity(PACKED_BYTES + 2 * change.byte_len());
        for (name, value) in change.fields(model) {
            match value {
                Some(value) => values.text(name).text(value),
                None => nulls.text(name),
            };
        }
        Self { version, nulls, values }
    }
}
