//! What the parts of a drainer know alike.

use std::collections::HashSet;

use crate::durability::Durability;
use crate::key::{KeySpace, Partition};
use crate::model::ModelDescriptor;
use crate::settings::Settings;

/// The models of a drainer, and how their keys and its settings are.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) models: Vec<&'static ModelDescriptor>,
    pub(crate) keys: KeySpace,
    pub(crate) settings: Settings,
}

impl Context {
    /// The queues of the models.
    pub(super) fn queues(&self) -> Vec<&'static str> {
        let mut queues: Vec<&'static str> = self.models.iter().map(|model| model.queue).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    /// What the writes of a queue's models wait for in Redis, beside its answer.
    pub(super) fn durabilities(&self, queue: &str) -> HashSet<Durability> {
        let of_queue = self.models.iter().filter(|model| model.queue == queue);
        let durabilities =
            of_queue.map(|model| model.durability.unwrap_or(self.settings.durability));
        durabilities.filter(|durability| !durability.is_fast()).collect()
    }

    /// All partitions of these queues.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.queues().into_iter().flat_map(|queue| self.keys.partitions_of(queue)).collect()
    }
}
