//! The names of keys in Redis: where a row, a queue and its state lie.
//!
//! ```text
//! booking:42{7}            a row
//! booking_queue{7}         the stream of partition 7 of its queue
//! booking_queue.state{7}   that partition's counters
//! booking_queue.lease{7}   whose it is to drain
//! booking_queue.drainers   who drains the queue
//! acme/booking:42{7}       the same row of tenant `acme`
//! ```
//!
//! `{7}` is the partition's hash tag: it puts the three into one cluster slot.
//! Where a queue begins with one partition, it is left out.
//!
//! Parts of an id are escaped, so that different ids never make the same key and
//! no id can bring a tag of its own: within a part there is no `:`, `{` or `}`,
//! within a key prefix or queue name there is no `/` or `.` either.

mod id;
mod layout;
mod slot;
mod value;

use std::sync::Arc;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use self::id::ESCAPED;
pub(crate) use self::id::{format_id, parse_id};
pub(crate) use self::layout::Layout;
use self::layout::{Layouts, Tags};
#[cfg(feature = "redis")]
pub(crate) use self::slot::slot_of_key;
use self::slot::{is_in_share, tag_names};
pub(crate) use self::value::one_form;
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;
use crate::settings::Settings;

/// What is escaped in a tenant's name: `/` ends it.
const ESCAPED_IN_TENANT: &AsciiSet = &ESCAPED.add(b'/');

/// The largest number of partitions a queue can have.
pub(crate) const MAX_PARTITIONS: u16 = 1_024;

/// What stands before every key of a tenant: `<tenant>/`, or nothing. No other tenant's begins so,
/// and there is nothing in it that has a meaning in patterns or hash tags.
pub(crate) fn tenant_prefix(tenant: Option<&str>) -> String {
    match tenant {
        Some(name) => format!("{}/", utf8_percent_encode(name, ESCAPED_IN_TENANT)),
        None => String::new(),
    }
}

/// One partition of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The queue's name.
    pub queue: &'static str,
    /// The partition's number: from 0, until a change of their number brings others (see
    /// [`Kv::change_partitions`](crate::Kv::change_partitions)).
    pub number: u16,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {} of queue `{}`", self.number, self.queue)
    }
}

/// Where a row lies.
#[derive(Debug, Clone)]
pub(crate) struct RowKey {
    /// Its model.
    pub(crate) model: &'static ModelDescriptor,
    /// Its number of the partition within the model's queue.
    pub(crate) partition: u16,
    /// The values of its id.
    pub(crate) id_values: EncodedRow,
    /// Its id as [`format_id`] writes it.
    pub(crate) id: String,
    /// The whole key.
    pub(crate) key: String,
}

impl RowKey {
    /// The columns of its id, as positions in the descriptor, with their values.
    pub(crate) fn id_columns(&self) -> impl ExactSizeIterator<Item = (usize, Option<&str>)> {
        self.model.id.iter().copied().zip(self.id_values.iter())
    }

    /// The partition that its entries go through.
    pub(crate) fn partition(&self) -> Partition {
        Partition { queue: self.model.queue, number: self.partition }
    }
}

/// Builds the keys of one tenant. Clones share what they know of the queues' partitions.
#[derive(Debug, Clone)]
pub(crate) struct KeySpace {
    /// `<tenant>/`, or nothing.
    tenant: String,
    /// Whether what lies together needs a tag.
    is_cluster: bool,
    /// The partitions of a queue whose number of them was never changed.
    initial: Arc<Tags>,
    /// Those of the others.
    layouts: Arc<Layouts>,
}

impl KeySpace {
    /// The keys of a number of partitions, at least one.
    pub(crate) fn new(tenant: Option<&str>, partitions: u16) -> Self {
        let tenant = tenant_prefix(tenant);
        let initial = match partitions {
            0 | 1 => Tags::none(),
            count => Tags::new(Layout::initial(count)),
        };
        let (initial, layouts) = (Arc::new(initial), Arc::default());
        Self { tenant, is_cluster: false, initial, layouts }
    }

    /// The keys as the settings have them.
    pub(crate) fn of(settings: &Settings) -> Self {
        let keys = Self::new(settings.tenant.as_deref(), settings.partitions);
        let is_cluster = settings.redis.is_cluster();
        match settings.partitions {
            1 if is_cluster => {
                let initial = Arc::new(Tags::new(Layout::initial(1)));
                Self { is_cluster, initial, ..keys }
            }
            _ => Self { is_cluster, ..keys },
        }
    }

    /// The keys of a tenant among these: its prefix behind that of all, and numbers of partitions of
    /// its own.
    pub(crate) fn of_tenant(&self, name: &str) -> Self {
        let tenant = format!("{}{}", self.tenant, tenant_prefix(Some(name)));
        let initial = Arc::clone(&self.initial);
        Self { tenant, is_cluster: self.is_cluster, initial, layouts: Arc::default() }
    }

    /// The key of the list of tenants that were written to. No queue has one like it.
    #[cfg(feature = "redis")]
    pub(crate) fn written(&self) -> String {
        format!("{}kv.written", self.tenant)
    }

    /// What stands before every key.
    #[cfg(feature = "redis")]
    pub(crate) fn prefix(&self) -> &str {
        &self.tenant
    }

    fn current(&self, queue: &str) -> Arc<Tags> {
        self.layouts.current(queue).unwrap_or_else(|| Arc::clone(&self.initial))
    }

    /// The partitions of a queue, as far as it is known here.
    pub(crate) fn layout(&self, queue: &str) -> Layout {
        self.layouts.current(queue).map_or(self.initial.layout, |tags| tags.layout)
    }

    /// All layouts that a queue has had, the oldest first.
    pub(crate) fn layouts(&self, queue: &str) -> Vec<Layout> {
        match self.layouts.of(queue) {
            known if known.is_empty() => vec![self.initial.layout],
            known => known.iter().map(|tags| tags.layout).collect(),
        }
    }

    /// Notes the layouts that a queue has had, unless what is known of it is newer. One that has only
    /// ever had one has that of the settings: another is refused by the start-up checks.
    pub(crate) fn set_layouts(&self, queue: &'static str, layouts: &[Layout]) {
        if layouts.len() > 1 && layouts.last() != Some(&self.layout(queue)) {
            let tags = layouts.iter().map(|layout| self.tags(*layout)).collect();
            self.layouts.set(queue, tags);
        }
    }

    /// Makes keys of a layout known that its queue is on the way to.
    pub(crate) fn expect(&self, queue: &'static str, layout: Layout) {
        self.layouts.expect(queue, self.tags(layout));
    }

    fn tags(&self, layout: Layout) -> Arc<Tags> {
        match layout {
            _ if layout == self.initial.layout => Arc::clone(&self.initial),
            Layout { first: 0, count: 1 } if !self.is_cluster => Arc::new(Tags::none()),
            _ => Arc::new(Tags::new(layout)),
        }
    }

    /// How many partitions the layout has that this one is of.
    pub(crate) fn partitions_with(&self, partition: Partition) -> u16 {
        self.layouts.with(partition).map_or(self.initial.layout.count, |tags| tags.layout.count)
    }

    /// Whether a row lies there still, as far as it is known here.
    pub(crate) fn is_current(&self, partition: Partition) -> bool {
        self.layout(partition.queue).has(partition.number)
    }

    /// Where a row lies by now that was found to lie somewhere.
    pub(crate) fn renewed(&self, key: &RowKey) -> RowKey {
        self.row(key.model, key.id_values.clone())
    }

    /// What the key of every row of a model begins with, and no other key.
    #[cfg(feature = "cache")]
    pub(crate) fn rows_prefix(&self, model: &ModelDescriptor) -> String {
        format!("{}{}:", self.tenant, model.key_prefix)
    }

    /// What all keys match, as Redis does it.
    #[cfg(feature = "testing")]
    pub(crate) fn pattern_of_all(&self) -> String {
        format!("{}*", self.tenant)
    }

    /// All partitions of a queue.
    pub(crate) fn partitions_of(&self, queue: &'static str) -> impl Iterator<Item = Partition> {
        self.layout(queue).partitions(queue)
    }

    /// Where the row with this id lies.
    pub(crate) fn row(&self, model: &'static ModelDescriptor, id_values: EncodedRow) -> RowKey {
        self.row_in(&self.current(model.queue), model, id_values)
    }

    /// Where it lies in a layout that its queue has or has had, or is on the way to.
    pub(crate) fn row_of(
        &self,
        layout: Layout,
        model: &'static ModelDescriptor,
        id_values: EncodedRow,
    ) -> RowKey {
        self.row_in(&self.tags_of(model.queue, layout), model, id_values)
    }

    fn tags_of(&self, queue: &'static str, layout: Layout) -> Arc<Tags> {
        let first = Partition { queue, number: layout.first };
        self.layouts.with(first).unwrap_or_else(|| Arc::clone(&self.initial))
    }

    fn row_in(
        &self,
        tags: &Tags,
        model: &'static ModelDescriptor,
        id_values: EncodedRow,
    ) -> RowKey {
        let id = format_id(&id_values);
        let partition = partition_of(tags, model, &id_values, &id);
        let tag = tags.get(partition).unwrap_or_default();
        let key = [self.tenant.as_str(), model.key_prefix, ":", &id, tag].concat();
        RowKey { model, partition, id_values, id, key }
    }

    /// The key of the row with this id, which lies in this partition.
    ///
    /// By the model's key prefix, because a process may know no more of a model than its name.
    pub(crate) fn key_of(&self, key_prefix: &str, id: &str, partition: Partition) -> String {
        let mut key = [self.tenant.as_str(), key_prefix, ":", id].concat();
        self.add_tag(&mut key, partition);
        key
    }

    /// Whether a key is that of a row of this model and tenant, in whatever layout.
    pub(crate) fn is_row_of(&self, model: &ModelDescriptor, key: &str) -> bool {
        let rest = key.strip_prefix(self.tenant.as_str());
        let rest = rest.and_then(|rest| rest.strip_prefix(model.key_prefix));
        rest.is_some_and(|rest| rest.starts_with(':'))
    }

    /// The id within a row's key, if it is a key of this model, tenant and layout.
    pub(crate) fn parse_row(&self, model: &'static ModelDescriptor, key: &str) -> Option<RowKey> {
        self.parse_row_of(self.layout(model.queue), model, key)
    }

    /// The same of a layout that the queue has or has had.
    pub(crate) fn parse_row_of(
        &self,
        layout: Layout,
        model: &'static ModelDescriptor,
        key: &str,
    ) -> Option<RowKey> {
        let rest = key.strip_prefix(self.tenant.as_str())?.strip_prefix(model.key_prefix)?;
        let rest = rest.strip_prefix(':')?;
        let id = rest.split_once('{').map_or(rest, |(id, _)| id);
        let row = self.row_of(layout, model, parse_id(id)?);
        (row.key == key && row.id_values.len() == model.id.len()).then_some(row)
    }

    /// The key of a partition's stream.
    pub(crate) fn stream(&self, partition: Partition) -> String {
        self.of_partition(partition, "")
    }

    /// The key of a partition's counters.
    pub(crate) fn state(&self, partition: Partition) -> String {
        self.of_partition(partition, ".state")
    }

    /// The key of a partition's lease.
    pub(crate) fn lease(&self, partition: Partition) -> String {
        self.of_partition(partition, ".lease")
    }

    /// The key of a nonce beside a partition's rows.
    pub(crate) fn nonce(&self, partition: Partition, nonce: &str) -> String {
        self.of_partition(partition, &format!(".nonce:{nonce}"))
    }

    /// The key of the layouts that a queue has had; it belongs to no partition.
    pub(crate) fn layouts_key(&self, queue: &str) -> String {
        format!("{}{queue}.layouts", self.tenant)
    }

    /// The key of a queue's drainers; it belongs to no partition.
    pub(crate) fn drainers(&self, queue: &str) -> String {
        format!("{}{queue}.drainers", self.tenant)
    }

    /// What `SCAN` finds a model's rows of a partition by. Of what it escapes, names have none.
    pub(crate) fn rows_pattern(
        &self,
        model: &ModelDescriptor,
        partition: Option<Partition>,
    ) -> String {
        let mut pattern = format!("{}{}:*", self.tenant, model.key_prefix);
        if let Some(partition) = partition {
            self.add_tag(&mut pattern, partition);
        }
        pattern
    }

    /// The key of the first partition's counters in each of the layouts that a queue can have.
    ///
    /// They are few: a tag that lies in the first of many shares lies in the first of fewer, too.
    pub(crate) fn first_states(&self, queue: &str) -> Vec<String> {
        let state = |tag: &str| format!("{}{queue}.state{tag}", self.tenant);
        let mut states = vec![state("")];
        let mut count = 2;
        for name in tag_names(0) {
            let first = count;
            while count <= MAX_PARTITIONS && is_in_share(&name, 0, count) {
                count += 1;
            }
            if count > first {
                states.push(state(&format!("{{{name}}}")));
            }
            if count > MAX_PARTITIONS {
                break;
            }
        }
        states
    }

    fn of_partition(&self, partition: Partition, suffix: &str) -> String {
        let mut key = [self.tenant.as_str(), partition.queue, suffix].concat();
        self.add_tag(&mut key, partition);
        key
    }

    fn add_tag(&self, key: &mut String, partition: Partition) {
        let known = self.layouts.with(partition);
        let tags = known.as_ref().unwrap_or(&self.initial);
        match tags.get(partition.number) {
            Some(tag) => key.push_str(tag),
            // Of a layout that this process has not heard of: a key that nobody else has.
            None => key.push_str(&format!("{{{}?}}", partition.number)),
        }
    }
}

/// A row's key without the tag, which is the same whatever partitions its queue has.
#[cfg(feature = "cache")]
pub(crate) fn untagged(key: &str) -> &str {
    key.split_once('{').map_or(key, |(untagged, _)| untagged)
}

/// The partition of a row.
fn partition_of(tags: &Tags, model: &ModelDescriptor, values: &EncodedRow, id: &str) -> u16 {
    if model.partition_by.len() == model.id.len() {
        return tags.share_of(id);
    }
    let chosen: EncodedRow =
        model.partition_by.iter().map(|&position| values.get(position)).collect();
    tags.share_of(&format_id(&chosen))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::slot::{SLOTS, tag};
    use super::*;

    #[test]
    fn the_first_partition_of_any_layout_is_among_a_few_keys() {
        let states = KeySpace::new(Some("acme"), 8).first_states("booking_queue");
        assert!(states.len() < 20, "{states:?}");
        let first = Partition { queue: "booking_queue", number: 0 };
        for count in 1..=MAX_PARTITIONS {
            let state = match count {
                // All tags of a layout would take long here.
                2.. => format!("acme/booking_queue.state{}", tag(0, 0, count)),
                _ => KeySpace::new(Some("acme"), 1).state(first),
            };
            assert!(states.contains(&state), "{state} of {count}");
        }
    }

    #[test]
    fn later_partitions_lie_in_other_keys_and_are_spread_as_evenly() {
        let space = KeySpace::new(None, 8);
        let mut streams = HashSet::new();
        let mut layout = space.layout("queue");
        for count in [32, 3, 1, 8] {
            layout = layout.next(count).expect("there are more numbers");
            space.expect("queue", layout);
            for (share, partition) in (0_usize..).zip(layout.partitions("queue")) {
                let stream = space.stream(partition);
                let slot = usize::from(slot_of_key(&stream));
                assert_eq!(slot * usize::from(count) / SLOTS, share, "{stream} of {count}");
                assert!(streams.insert(stream.clone()), "{stream} of {count} was there before");
            }
        }
        assert!(space.partitions_of("queue").all(|it| !streams.contains(&space.stream(it))));
    }

    #[test]
    fn one_partition_leaves_the_tag_out() {
        let space = KeySpace::new(None, 1);
        let partition = Partition { queue: "booking_queue", number: 0 };
        assert_eq!(space.stream(partition), "booking_queue");
        assert_eq!(space.state(partition), "booking_queue.state");
    }

    #[test]
    fn the_tenant_stands_in_front() {
        let space = KeySpace::new(Some("a/b"), 2);
        let partition = Partition { queue: "booking_queue", number: 0 };
        assert!(space.stream(partition).starts_with("a%2Fb/booking_queue{0"));
    }
}
