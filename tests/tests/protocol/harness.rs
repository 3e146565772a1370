//! Runs the checker over a model, with all rules or with one left out.

use std::fmt;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// A rule of the protocol, in one clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule(pub(crate) &'static str);

/// The rules that a model keeps: all but that one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules(Option<Rule>);

impl Rules {
    pub(crate) fn keep(self, rule: Rule) -> bool {
        self.0 != Some(rule)
    }
}

/// A model that can leave out rules.
pub(crate) trait Protocol:
    Model<
        State: Clone + PartialEq + fmt::Debug + Hash + Send + Sync,
        Action: Clone + PartialEq + fmt::Debug,
    > + Send
    + Sync
    + 'static
{
    const NAME: &'static str;
    /// Those whose absence breaks a promise.
    const RULES: &'static [Rule];

    fn with(rules: Rules) -> Self;
}

/// What the checker found.
struct Search {
    /// How many different states it has seen.
    states: usize,
    /// A shortest way to a state that breaks a promise.
    counterexample: Option<Counterexample>,
    /// What should be possible in the model, and was not seen.
    unseen: Vec<&'static str>,
}

struct Counterexample {
    promise: &'static str,
    steps: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "breaks \"{}\"", self.promise)?;
        for (at, step) in self.steps.iter().enumerate() {
            write!(formatter, "\n{:4}. {step}", at + 1)?;
        }
        Ok(())
    }
}

/// With all rules no promise is broken, and what should be possible is.
pub(crate) fn assert_keeps_promises<P: Protocol>() {
    let name = P::NAME;
    let search = search::<P>(Rules(None), None);
    println!("| {name} | {} |", search.states);
    if let Some(counterexample) = &search.counterexample {
        panic!("the design has a hole: {name} {counterexample}");
    }
    assert!(search.unseen.is_empty(), "{name} never shows {:?}", search.unseen);
}

/// With any rule left out a promise is broken. Prints a line of the table for each.
pub(crate) fn assert_needs_every_rule<P: Protocol>() {
    let name = P::NAME;
    for &rule in P::RULES {
        let mut search = search::<P>(Rules(Some(rule)), None);
        let Some(mut found) = search.counterexample.take() else {
            panic!("{name} does not need that {} ({} states)", rule.0, search.states);
        };
        // The checker goes breadth first, but some states beyond the first that it finds.
        while let Some(shorter) = shorter::<P>(rule, found.steps.len()) {
            found = shorter;
        }
        let steps = found.steps.len();
        println!("| {name} | {} | {} | {} | {steps} |", rule.0, found.promise, search.states);
        if std::env::var_os("PROTOCOL_TRACES").is_some() {
            println!("{found}");
        }
    }
}

fn shorter<P: Protocol>(rule: Rule, steps: usize) -> Option<Counterexample> {
    search::<P>(Rules(Some(rule)), Some(steps)).counterexample
}

/// Looks at every state that takes fewer steps than the limit, up to one that breaks a promise.
fn search<P: Protocol>(rules: Rules, limit: Option<usize>) -> Search {
    let mut checker = P::with(rules).checker().finish_when(HasDiscoveries::AnyFailures);
    if let Some(limit) = limit {
        // The checker counts states, leaves out the last, and a way has one more than steps.
        checker = checker.target_max_depth(limit + 1);
    }
    let checker = checker.spawn_bfs().join();
    let discoveries = checker.discoveries();
    let (promises, possible): (Vec<_>, Vec<_>) = checker
        .model()
        .properties()
        .into_iter()
        .partition(|property| property.expectation == Expectation::Always);
    let counterexamples = promises.iter().filter_map(|promise| {
        let steps = discoveries.get(promise.name)?.clone().into_actions();
        let steps = steps.iter().map(|step| format!("{step:?}")).collect();
        Some(Counterexample { promise: promise.name, steps })
    });
    let names = possible.iter().map(|property| property.name);
    Search {
        states: checker.unique_state_count(),
        counterexample: counterexamples.min_by_key(|found| found.steps.len()),
        unseen: names.filter(|name| !discoveries.contains_key(name)).collect(),
    }
}
