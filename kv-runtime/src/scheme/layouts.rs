//! Which partitions a queue has: what Redis says of it, and what PostgreSQL says, which is what holds.
//!
//! What a process takes them to be may be old. So every script that would write to a partition or leave
//! a token there finds out whether the queue has others by now, and whoever is told so learns of them
//! and goes there. What no script looks at, a caller looks after itself, at any time during its call:
//! if the partitions were still those, then everything that was acknowledged before the call is in them
//! or in PostgreSQL, because none is given up before it is drained.

use std::borrow::Cow;

use super::learn::PATIENCE;
use crate::durable_store::DurableStoreError;
use crate::hot_store::HotStoreError;
use crate::key::{Partition, RowKey};
use crate::stores::Stores;

impl Stores {
    /// Finds out which partitions a queue has, as far as a server answers.
    pub(crate) async fn learn_layouts(&self, queue: &'static str) {
        let asked = tokio::time::timeout(PATIENCE, self.durable.layouts(queue));
        let (hot, durable) = tokio::join!(self.hot.layouts(queue), asked);
        let durable = durable.ok().and_then(Result::ok);
        for layouts in [hot.ok(), durable].into_iter().flatten() {
            self.keys.set_layouts(queue, &layouts);
        }
    }

    /// The same as PostgreSQL has it.
    pub(super) async fn learn_layouts_for_sure(
        &self,
        queue: &'static str,
    ) -> Result<(), DurableStoreError> {
        let layouts = self.durable.layouts(queue).await?;
        self.keys.set_layouts(queue, &layouts);
        Ok(())
    }

    /// Looks whether a queue has other partitions by now, as Redis knows. What that has forgotten, it is
    /// told again.
    pub(crate) async fn look_at_layouts(&self, queue: &'static str) {
        let Ok(marked) = self.hot.layouts(queue).await else { return };
        self.keys.set_layouts(queue, &marked);
        let known = self.keys.layouts(queue);
        if known.len() > 1
            && marked.last() != known.last()
            && let Err(error) = self.mark_layouts_again(queue).await
        {
            tracing::warn!(queue, %error, "Redis is not told of the partitions of a queue yet");
        }
    }

    /// While nobody changes them: else what was changed meanwhile would be undone.
    async fn mark_layouts_again(&self, queue: &'static str) -> Result<(), HotStoreError> {
        let _alone = self.durable.exclude(queue).await?;
        self.learn_layouts_for_sure(queue).await?;
        self.hot.move_on(queue, &self.keys.layouts(queue)).await
    }

    pub(super) fn any_partition(&self, queue: &'static str) -> Partition {
        Partition { queue, number: self.keys.layout(queue).first }
    }

    /// Where a row lies that was looked for where it does not lie any more.
    pub(crate) async fn follow(&self, key: &RowKey) -> RowKey {
        if self.keys.is_current(key.partition()) {
            self.learn_layouts(key.model.queue).await;
        }
        self.keys.renewed(key)
    }

    /// Where rows lie that were found to lie somewhere.
    pub(super) fn current_keys<'a>(&self, keys: &'a [RowKey]) -> Cow<'a, [RowKey]> {
        if keys.iter().all(|key| self.keys.is_current(key.partition())) {
            return Cow::Borrowed(keys);
        }
        keys.iter().map(|key| self.keys.renewed(key)).collect()
    }
}
