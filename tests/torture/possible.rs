//! The states that a row may be in, as far as its writer can know.

use crate::change::{Change, Row};

/// The states that are possible, without repetition: `None` is a row that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Possible(Vec<Option<Row>>);

/// What cannot be, after all that was known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) &'static str);

impl Default for Possible {
    /// A row that was never written is not there.
    fn default() -> Self {
        Self(vec![None])
    }
}

impl Possible {
    pub(crate) fn contains(&self, state: &Option<Row>) -> bool {
        self.0.contains(state)
    }

    pub(crate) fn states(&self) -> &[Option<Row>] {
        &self.0
    }

    /// The change took effect.
    pub(crate) fn done(&mut self, change: &Change) -> Result<(), Contradiction> {
        let after = self.0.iter().filter_map(|state| change.apply(state));
        let after = without_repetition(after.collect());
        if after.is_empty() {
            return Err(Contradiction(match change {
                Change::Create(_) => "was acknowledged, although the row is there",
                _ => "was acknowledged, although the row is not there",
            }));
        }
        self.0 = after;
        Ok(())
    }

    /// The change took effect or did not.
    pub(crate) fn perhaps_done(&mut self, change: &Change) {
        let after = self.0.iter().filter_map(|state| change.apply(state));
        let both = self.0.iter().cloned().chain(after).collect();
        self.0 = without_repetition(both);
    }

    /// The row was there.
    pub(crate) fn was_there(&mut self) -> Result<(), Contradiction> {
        self.keep(Option::is_some, "was told that the row is there, and it cannot be")
    }

    /// The row was not there.
    pub(crate) fn was_absent(&mut self) -> Result<(), Contradiction> {
        self.keep(Option::is_none, "was told that the row is not there, and it must be")
    }

    /// The row was read, and this was it.
    pub(crate) fn was(&mut self, row: &Option<Row>) -> Result<(), Contradiction> {
        self.keep(|state| state == row, "has read what the row cannot be")
    }

    fn keep(
        &mut self,
        is_kept: impl Fn(&Option<Row>) -> bool,
        contradiction: &'static str,
    ) -> Result<(), Contradiction> {
        let kept: Vec<_> = self.0.iter().filter(|state| is_kept(state)).cloned().collect();
        if kept.is_empty() {
            return Err(Contradiction(contradiction));
        }
        self.0 = kept;
        Ok(())
    }
}

fn without_repetition(mut states: Vec<Option<Row>>) -> Vec<Option<Row>> {
    states.sort();
    states.dedup();
    states
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Patch;

    fn row(columns: &[(&str, &str)]) -> Row {
        columns.iter().map(|&(column, value)| (column.to_owned(), value.to_owned())).collect()
    }

    fn patch(column: &str, value: Option<&str>) -> Change {
        Change::Patch(Patch::from([(column.to_owned(), value.map(str::to_owned))]))
    }

    #[test]
    fn an_unknown_patch_leaves_two_states_and_a_later_one_of_the_same_column_settles_it() {
        let mut possible = Possible::default();
        possible.done(&Change::Create(row(&[("a", "1"), ("b", "1")]))).expect("a new row");
        possible.perhaps_done(&patch("a", Some("2")));
        possible.done(&patch("b", None)).expect("a row");
        assert_eq!(possible.states(), [Some(row(&[("a", "1")])), Some(row(&[("a", "2")]))]);
        possible.done(&patch("a", Some("3"))).expect("a row");
        assert_eq!(possible.states(), [Some(row(&[("a", "3")]))]);
    }

    #[test]
    fn an_unknown_create_may_have_been_and_an_answer_tells() {
        let create = Change::Create(row(&[("a", "1")]));
        let mut possible = Possible::default();
        possible.perhaps_done(&create);
        assert!(possible.contains(&None) && possible.contains(&Some(row(&[("a", "1")]))));
        let mut duplicate = possible.clone();
        duplicate.was_there().expect("it may be there");
        assert_eq!(duplicate.states(), [Some(row(&[("a", "1")]))]);
        possible.was_absent().expect("it may not be there");
        assert_eq!(possible, Possible::default());
    }

    #[test]
    fn what_cannot_be_is_a_contradiction() {
        let mut possible = Possible::default();
        assert!(possible.was_there().is_err());
        assert!(possible.done(&patch("a", None)).is_err());
        assert!(possible.was(&Some(row(&[("a", "1")]))).is_err());
        possible.done(&Change::Upsert(row(&[("a", "1")]))).expect("any row");
        assert!(possible.done(&Change::Create(row(&[("a", "1")]))).is_err());
        assert!(possible.was_absent().is_err());
        possible.done(&Change::Delete).expect("a row");
        assert_eq!(possible, Possible::default());
    }
}
