//! Calls of the write script.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::Cmd;

use super::clock::ServerClock;
use super::connection::Connection;
use super::failure::classify_write;
use super::lane::{SendWrites, WriteResult};
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
            let partition = write.key.partition();
            call.arg(self.keys.state(partition))
                .arg(self.keys.stream(partition))
                .arg(&write.key.key);
        }
        let partitions = writes.iter().map(|write| write.key.partition());
        self.add_settings(&mut call, partitions, began_ms);
        for (write, &checked) in writes.iter().zip(checked) {
            let model = write.key.model;
            let entry_values = match write.terms {
                // The script puts the result behind it.
                Terms::Increment(counter) => entry::column_name(model, counter.column),
                Terms::Any | Terms::Version(_) => write.change.encode_values(model),
            };
            call.arg(write.operation())
                .arg(write.header())
                .arg(entry_values)
                .arg(&write.operation_id);
            match write.terms {
                Terms::Any => call.arg(write.probe.token()),
                Terms::Version(version) => call.arg(version),
                Terms::Increment(Increment { least, most, .. }) => {
                    call.arg(format!("{least} {most}"))
                }
            };
            call.arg(i32::from(checked));
            add_columns(&mut call, model, &write.change);
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
        self.add_settings(&mut call, std::iter::once(unit.partition), began_ms);
        let (header, values) = unit.encode().unwrap_or_default();
        call.arg(header).arg(values).arg(&unit.operation_id).arg(i32::from(nonce_key.is_some()));
        for row in &unit.rows {
            call.arg(row.seen.as_ref().map_or("", |stamp| &stamp.0)).arg(row.probe.token());
            match &row.change {
                Some(change) => {
                    call.arg(change.name());
                    add_columns(&mut call, row.key.model, change);
                }
                None => drop(call.arg("").arg(0).arg(0)),
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

    fn add_settings(
        &self,
        call: &mut Cmd,
        partitions: impl Iterator<Item = Partition> + Clone,
        began_ms: u64,
    ) {
        let count = |partition| self.keys.partitions_with(partition);
        let most = partitions.clone().map(count).max().unwrap_or(1);
        if partitions.clone().map(count).all(|count| count == most) {
            call.arg(most);
        } else {
            let counts: Vec<String> = partitions.map(|it| count(it).to_string()).collect();
            call.arg(counts.join(" "));
        }
        // Where they differ, the partitions that have less room are not to have more.
        let capacity = Settings::partition_capacity(self.queue_capacity, most);
        call.arg(capacity).arg(began_ms).arg(i32::from(self.takes_held));
    }
}

/// The columns that become NULL, the others with their values, and that of the version alone.
fn add_columns(call: &mut Cmd, model: &'static ModelDescriptor, change: &Change) {
    let (values, nulls) = change.fields(model);
    call.arg(nulls.len());
    for name in nulls {
        call.arg(name);
    }
    let version_column = change.version_column(model);
    call.arg(values.len() * 2 + usize::from(version_column.is_some()));
    for (name, value) in values {
        call.arg(name).arg(value);
    }
    if let Some(name) = version_column {
        call.arg(name);
    }
}
