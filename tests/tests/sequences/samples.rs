//! The models that sequences are made of, with few ids and one that is taken most, so that
//! operations meet.

use kv_runtime::KvModel;
use kv_tests::models::{Account, Counter, Flight, Seat};
use proptest::prelude::*;
use proptest::sample::select;

/// Which fields of a row an update sets, of those that are not its id.
pub(crate) type Fields = [bool; 3];

/// A model that sequences are made of.
pub(crate) trait Sample: KvModel<Id: Ord> + Clone + std::fmt::Debug + PartialEq {
    /// An id out of a few.
    fn ids() -> BoxedStrategy<Self::Id>;

    /// A row with such an id.
    fn rows() -> BoxedStrategy<Self>;

    /// A patch that sets some fields to what they are here.
    fn to_patch(&self, fields: Fields) -> Self::Patch;

    /// What such a patch of `other` does.
    fn set(&mut self, other: &Self, fields: Fields);
}

/// Little texts, one of which needs escapes.
fn texts() -> impl Strategy<Value = String> + Clone {
    select(vec!["", "a", "\"b\\"]).prop_map(str::to_owned)
}

/// Sets fields of a row or of a patch, each where it is chosen.
macro_rules! chosen {
    ($fields:expr, $($position:literal => $set:expr),*) => {
        $(if $fields[$position] { $set; })*
    };
}

impl Sample for Counter {
    fn ids() -> BoxedStrategy<i64> {
        select(vec![0, 0, 0, 1]).boxed()
    }

    fn rows() -> BoxedStrategy<Self> {
        (Self::ids(), 0..10_i64, texts())
            .prop_map(|(id, total, r#type)| Self { id, total, r#type })
            .boxed()
    }

    fn to_patch(&self, fields: Fields) -> Self::Patch {
        let mut patch = Self::patch();
        chosen!(fields,
            0 => patch = patch.total(self.total),
            1 => patch = patch.r#type(self.r#type.clone()));
        patch
    }

    fn set(&mut self, other: &Self, fields: Fields) {
        chosen!(fields,
            0 => self.total = other.total,
            1 => self.r#type = other.r#type.clone());
    }
}

impl Sample for Account {
    fn ids() -> BoxedStrategy<i64> {
        select(vec![0, 0, 0, 1]).boxed()
    }

    fn rows() -> BoxedStrategy<Self> {
        (Self::ids(), 0..10_i64, proptest::option::of(texts()), any::<bool>())
            .prop_map(|(id, revision, note, active)| Self { id, revision, note, active })
            .boxed()
    }

    fn to_patch(&self, fields: Fields) -> Self::Patch {
        let mut patch = Self::patch();
        chosen!(fields,
            0 => patch = patch.revision(self.revision),
            1 => patch = patch.note(self.note.clone()),
            2 => patch = patch.active(self.active));
        patch
    }

    fn set(&mut self, other: &Self, fields: Fields) {
        chosen!(fields,
            0 => self.revision = other.revision,
            1 => self.note = other.note.clone(),
            2 => self.active = other.active);
    }
}

impl Sample for Seat {
    fn ids() -> BoxedStrategy<(String, i16)> {
        select(vec![("AA", 1), ("AA", 1), ("AA", 2), ("B:1", 1)])
            .prop_map(|(flight, number)| (flight.to_owned(), number))
            .boxed()
    }

    fn rows() -> BoxedStrategy<Self> {
        (Self::ids(), proptest::option::of(texts()))
            .prop_map(|((flight, number), passenger)| Self { flight, number, passenger })
            .boxed()
    }

    fn to_patch(&self, fields: Fields) -> Self::Patch {
        let mut patch = Self::patch();
        chosen!(fields, 0 => patch = patch.passenger(self.passenger.clone()));
        patch
    }

    fn set(&mut self, other: &Self, fields: Fields) {
        chosen!(fields, 0 => self.passenger = other.passenger.clone());
    }
}

impl Sample for Flight {
    fn ids() -> BoxedStrategy<String> {
        select(vec!["AA", "AA", "B:1"]).prop_map(str::to_owned).boxed()
    }

    fn rows() -> BoxedStrategy<Self> {
        (Self::ids(), 0..10_i32).prop_map(|(flight, taken)| Self { flight, taken }).boxed()
    }

    fn to_patch(&self, fields: Fields) -> Self::Patch {
        let mut patch = Self::patch();
        chosen!(fields, 0 => patch = patch.taken(self.taken));
        patch
    }

    fn set(&mut self, other: &Self, fields: Fields) {
        chosen!(fields, 0 => self.taken = other.taken);
    }
}
