//! What a task of a writer does next.

use std::collections::VecDeque;

use crate::change::{Change, Patch, Poison, Row};
use crate::ledger::{Intent, Known, Ledger};
use crate::models::LABELS_TAKEN;

const ACCOUNTS: usize = 20;
const SEATS: usize = 8;
const PARCELS: usize = 6;

/// One in so many writes of a parcel is poison.
const POISON: u32 = u32::MAX;
/// One in so many writes to a held parcel goes on to another one.
const RETIRE: u32 = 3;

/// The keys of a task, which no other task has.
#[derive(Debug)]
pub(super) struct Keys {
    /// Goes before the numbers of the task's rows.
    base: i64,
    flight: String,
    /// Parcels that are held are left for new ones.
    parcels: VecDeque<i64>,
    parcels_made: i64,
}

impl Keys {
    pub(super) fn of(writer: usize, task: usize) -> Self {
        let base = (writer as i64 * 100 + task as i64) * 1_000_000;
        let flight = format!("W{writer}T{task}");
        Self { base, flight, parcels: VecDeque::new(), parcels_made: 0 }
    }

    /// Leaves the parcels of an earlier process behind, but for the last ones.
    pub(super) fn go_on_after<'a>(&mut self, keys: impl Iterator<Item = &'a str>) {
        let numbers = keys.filter_map(|key| key.strip_prefix("parcel:")?.parse::<i64>().ok());
        self.parcels_made = numbers.max().map_or(0, |newest| newest - self.base);
        let first = (self.parcels_made - PARCELS as i64).max(0) + 1;
        self.parcels = (first..=self.parcels_made).map(|number| self.base + number).collect();
        while self.parcels.len() < PARCELS {
            self.add_parcel();
        }
    }

    fn add_parcel(&mut self) {
        self.parcels_made += 1;
        self.parcels.push_back(self.base + self.parcels_made);
    }

    fn leave_parcel(&mut self, key: &str) {
        self.parcels.retain(|id| parcel_key(*id) != key);
        self.add_parcel();
    }

    fn choose(&self, random: &mut fastrand::Rng) -> String {
        match random.u32(0..20) {
            0..8 => format!("account:{}", self.base + random.i64(0..ACCOUNTS as i64)),
            8..13 => format!("seat:{}:{}", self.flight, random.usize(0..SEATS)),
            _ => parcel_key(self.parcels[random.usize(0..self.parcels.len())]),
        }
    }
}

fn parcel_key(id: i64) -> String {
    format!("parcel:{id}")
}

/// What is done to a row.
#[derive(Debug)]
pub(super) enum Choice {
    Read,
    Write(Intent),
}

/// Chooses a row, and what to do to it.
pub(super) fn next_choice(
    random: &mut fastrand::Rng,
    keys: &mut Keys,
    ledger: &mut Ledger,
) -> (String, Choice) {
    let key = keys.choose(random);
    let number = ledger.next_number();
    let known = ledger.known(&key);
    if known.is_held && random.u32(0..RETIRE) == 0 {
        keys.leave_parcel(&key);
    }
    let is_certain = known.possible.states().len() == 1;
    if random.u32(0..if is_certain { 12 } else { 2 }) == 0 {
        return (key, Choice::Read);
    }
    let change = choose_change(random, &key, number, known);
    let mut intent = Intent { number, change, poison: None };
    if key.starts_with("parcel:") && random.u32(0..POISON) == 0 {
        poison(random, &mut intent);
    }
    (key, Choice::Write(intent))
}

fn choose_change(random: &mut fastrand::Rng, key: &str, number: i64, known: &Known) -> Change {
    let states = known.possible.states();
    let is_fresh = !key.starts_with("seat:");
    let may_be_there = states.iter().any(Option::is_some);
    let row = row_of(random, key, number);
    match random.u32(0..100) {
        0..15 => Change::Upsert(row),
        // Who says that an id is fresh vouches for it.
        15..85 if !may_be_there => Change::Create(row),
        15..20 if !is_fresh => Change::Create(row),
        // A poisoned row is mostly left as it is: what deletes it could cure it.
        15..30 if key.starts_with("account:") || random.u32(0..4) == 0 => Change::Delete,
        _ => Change::Patch(patch_of(random, key, row)),
    }
}

/// A whole row of the key's model.
fn row_of(random: &mut fastrand::Rng, key: &str, number: i64) -> Row {
    let mut words = key.split(':');
    let model = words.next().unwrap_or_default();
    let mut row = Row::from([("revision".to_owned(), number.to_string())]);
    let mut set = |column: &str, value: String| {
        row.insert(column.to_owned(), value);
    };
    let mut id = || words.next().unwrap_or_default().to_owned();
    match model {
        "account" => {
            set("id", id());
            set("active", random.bool().to_string());
        }
        "seat" => {
            set("flight", id());
            set("number", id());
        }
        _ => {
            set("id", id());
            set("label", format!("label of {key}"));
            set("weight", random.i32(1..1_000).to_string());
        }
    }
    if random.bool() {
        set(if model == "seat" { "passenger" } else { "note" }, format!("as of {number}"));
    }
    row
}

/// Some of the columns of a row, beside its revision.
fn patch_of(random: &mut fastrand::Rng, key: &str, row: Row) -> Patch {
    let chosen = match key.split(':').next() {
        Some("account") => ["note", "active"],
        Some("seat") => ["passenger", "passenger"],
        _ => ["note", "weight"],
    };
    let mut patch = Patch::from([("revision".to_owned(), row.get("revision").cloned())]);
    for column in chosen {
        let value = row.get(column).cloned();
        // A whole row lacks what is NULL, which only these columns can be.
        if random.bool() {
            patch.insert(column.to_owned(), value);
        }
    }
    patch
}

/// Makes a write one that Redis takes and PostgreSQL refuses.
fn poison(random: &mut fastrand::Rng, intent: &mut Intent) {
    let poison = Poison::ALL[random.usize(0..Poison::ALL.len())];
    let value = match poison {
        Poison::Note => "poison".to_owned(),
        Poison::Weight => "40000".to_owned(),
        Poison::Label => format!("taken {}", random.u32(1..=LABELS_TAKEN)),
    };
    let column = poison.column().to_owned();
    match &mut intent.change {
        Change::Create(row) | Change::Upsert(row) => {
            row.insert(column, value);
        }
        Change::Patch(patch) => {
            patch.insert(column, Some(value));
        }
        Change::Delete => return,
    }
    intent.poison = Some(poison);
}
