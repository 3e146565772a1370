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
//! With one partition it is left out.
//!
//! Parts of an id are escaped, so that different ids never make the same key and
//! no id can bring a tag of its own: within a part there is no `:`, `{` or `}`,
//! within a key prefix or queue name there is no `/` or `.` either.

mod value;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

pub(crate) use self::value::one_form;
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;
use crate::settings::Settings;

/// What is escaped in a part of an id: what has a meaning in keys, in hash tags
/// or in the patterns of `SCAN`, and what cannot be seen.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'%')
    .add(b':')
    .add(b'{')
    .add(b'}')
    .add(b'*')
    .add(b'?')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b' ');

/// What is escaped in a tenant's name: `/` ends it.
const ESCAPED_IN_TENANT: &AsciiSet = &ESCAPED.add(b'/');

/// The largest number of partitions a queue can have.
pub(crate) const MAX_PARTITIONS: u16 = 1_024;

/// How many slots a Redis Cluster has.
const SLOTS: usize = 16_384;

/// Writes an id's values as the part of a key: escaped, separated by `:`.
pub(crate) fn format_id(id: &EncodedRow) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(id.byte_len() + id.len());
    for (index, value) in id.iter().enumerate() {
        if index > 0 {
            text.push(':');
        }
        // No field of an id is nullable, and writing to a `String` cannot fail.
        let _ = write!(text, "{}", utf8_percent_encode(value.unwrap_or_default(), ESCAPED));
    }
    text
}

/// Reads what [`format_id`] wrote; `None` for anything else.
pub(crate) fn parse_id(text: &str) -> Option<EncodedRow> {
    let mut id = EncodedRow::with_capacity(1, text.len());
    for part in text.split(':') {
        let value = percent_decode_str(part).decode_utf8().ok()?;
        // Other escapes of the same value are not ours.
        let mut escaped = utf8_percent_encode(&value, ESCAPED);
        let rest = escaped.try_fold(part, |rest, chunk| rest.strip_prefix(chunk))?;
        if !rest.is_empty() {
            return None;
        }
        id.push(Some(&value));
    }
    Some(id)
}

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
    /// The partition's number, from 0.
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
    /// The partition that its entries go through.
    pub(crate) fn partition(&self) -> Partition {
        Partition { queue: self.model.queue, number: self.partition }
    }
}

/// Builds the keys of one tenant at one number of partitions.
#[derive(Debug, Clone)]
pub(crate) struct KeySpace {
    /// `<tenant>/`, or nothing.
    tenant: String,
    /// The hash tag of each partition, braces included; empty if there is only one.
    tags: Vec<String>,
}

impl KeySpace {
    /// The keys of a number of partitions, at least one.
    pub(crate) fn new(tenant: Option<&str>, partitions: u16) -> Self {
        let tenant = tenant_prefix(tenant);
        let tags = match partitions {
            0 | 1 => vec![String::new()],
            count => (0..count).map(|number| tag(number, count)).collect(),
        };
        Self { tenant, tags }
    }

    /// The keys as the settings have them.
    pub(crate) fn of(settings: &Settings) -> Self {
        let keys = Self::new(settings.tenant.as_deref(), settings.partitions);
        match settings.partitions {
            // What lies together in a cluster needs a tag.
            1 if settings.redis.is_cluster() => Self { tags: vec![tag(0, 1)], ..keys },
            _ => keys,
        }
    }

    /// How many partitions there are.
    pub(crate) fn partitions(&self) -> u16 {
        // It was built from a `u16`.
        u16::try_from(self.tags.len()).unwrap_or(u16::MAX)
    }

    /// What all keys match, as Redis does it.
    #[cfg(feature = "testing")]
    pub(crate) fn pattern_of_all(&self) -> String {
        format!("{}*", self.tenant)
    }

    /// All partitions of a queue.
    pub(crate) fn partitions_of(&self, queue: &'static str) -> impl Iterator<Item = Partition> {
        (0..self.partitions()).map(move |number| Partition { queue, number })
    }

    /// Where the row with this id lies.
    pub(crate) fn row(&self, model: &'static ModelDescriptor, id_values: EncodedRow) -> RowKey {
        let id = format_id(&id_values);
        let partition = self.partition_of(model, &id_values, &id);
        let key = self.key_of(model.key_prefix, &id, partition);
        RowKey { model, partition, id_values, id, key }
    }

    /// The key of the row with this id, which lies in this partition.
    ///
    /// By the model's key prefix, because a process may know no more of a model than its name.
    pub(crate) fn key_of(&self, key_prefix: &str, id: &str, partition: u16) -> String {
        // A partition of another layout has no key here; one without a tag is nobody's.
        let tag = self.tags.get(usize::from(partition)).map_or("", String::as_str);
        [self.tenant.as_str(), key_prefix, ":", id, tag].concat()
    }

    /// The id within a row's key, if it is a key of this model, tenant and layout.
    pub(crate) fn parse_row(&self, model: &'static ModelDescriptor, key: &str) -> Option<RowKey> {
        let rest = key.strip_prefix(self.tenant.as_str())?.strip_prefix(model.key_prefix)?;
        let rest = rest.strip_prefix(':')?;
        let id = rest.split_once('{').map_or(rest, |(id, _)| id);
        let row = self.row(model, parse_id(id)?);
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
        let tag = partition.map_or("", |partition| &self.tags[usize::from(partition.number)]);
        format!("{}{}:*{tag}", self.tenant, model.key_prefix)
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
        let tag = &self.tags[usize::from(partition.number)];
        format!("{}{}{suffix}{tag}", self.tenant, partition.queue)
    }

    fn partition_of(&self, model: &ModelDescriptor, values: &EncodedRow, id: &str) -> u16 {
        if model.partition_by.len() == model.id.len() {
            return self.share_of(id);
        }
        let chosen: EncodedRow =
            model.partition_by.iter().map(|&position| values.get(position)).collect();
        self.share_of(&format_id(&chosen))
    }

    /// The partition that a text falls to.
    fn share_of(&self, text: &str) -> u16 {
        let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        // The remainder is below the number of partitions, a `u16`.
        u16::try_from(hash % u64::from(self.partitions())).unwrap_or_default()
    }
}

/// The hash tag of a partition: its number, and as many letters as it takes to
/// land in the partition's share of the cluster's slots.
///
/// Without the letters, the slots of the numbers 0 to 63 would lie anywhere;
/// with them, masters that own equal ranges of slots get equal numbers of partitions.
fn tag(number: u16, count: u16) -> String {
    // At most `MAX_PARTITIONS`, so a share has 16 slots or more and the search is short.
    let name = tag_names(number).find(|name| is_in_share(name, number, count));
    format!("{{{}}}", name.unwrap_or_else(|| number.to_string()))
}

/// What may stand between the braces of a partition's tag, the first first.
fn tag_names(number: u16) -> impl Iterator<Item = String> {
    let with_letters = (0_u32..100_000).map(move |attempt| format!("{number}{}", letters(attempt)));
    std::iter::once(number.to_string()).chain(with_letters)
}

fn is_in_share(name: &str, number: u16, count: u16) -> bool {
    slot(name) * usize::from(count) / SLOTS == usize::from(number)
}

/// The slot of a key: that of its tag, if it has one.
#[cfg(feature = "redis")]
pub(crate) fn slot_of_key(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let name = tag.map(|(tag, _)| tag).filter(|tag| !tag.is_empty());
    u16::try_from(slot(name.unwrap_or(key))).unwrap_or_default()
}

fn slot(name: &str) -> usize {
    usize::from(crc16::State::<crc16::XMODEM>::calculate(name.as_bytes())) % SLOTS
}

/// `a`, `b`, … `z`, `ba`, `bb`, …: a number in letters.
fn letters(mut number: u32) -> String {
    let mut text = Vec::new();
    loop {
        text.push(b'a' + u8::try_from(number % 26).unwrap_or_default());
        number /= 26;
        if number == 0 {
            break;
        }
    }
    text.reverse();
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_spread_evenly_over_equal_ranges_of_slots() {
        for count in [2, 3, 16, 64, 100, 1_024] {
            for number in 0..count {
                let tag = tag(number, count);
                let slot = slot(tag.trim_matches(['{', '}']));
                assert_eq!(
                    slot * usize::from(count) / SLOTS,
                    usize::from(number),
                    "{tag} of {count}"
                );
            }
        }
    }

    #[test]
    fn the_first_partition_of_any_layout_is_among_a_few_keys() {
        let states = KeySpace::new(Some("acme"), 8).first_states("booking_queue");
        assert!(states.len() < 20, "{states:?}");
        let first = Partition { queue: "booking_queue", number: 0 };
        for count in 1..=MAX_PARTITIONS {
            let state = match count {
                // All tags of a layout would take long here.
                2.. => format!("acme/booking_queue.state{}", tag(0, count)),
                _ => KeySpace::new(Some("acme"), 1).state(first),
            };
            assert!(states.contains(&state), "{state} of {count}");
        }
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

    #[test]
    fn parts_of_an_id_are_escaped_and_read_back() {
        for parts in
            [vec!["a:b", "c"], vec!["a", "b:c"], vec!["", ""], vec!["{7}", "*%?"], vec!["é\0"]]
        {
            let id: EncodedRow = parts.iter().map(|part| Some(*part)).collect();
            let text = format_id(&id);
            assert!(!text.contains(['{', '}', '*', '\0']), "{text}");
            assert_eq!(parse_id(&text), Some(id), "{text}");
        }
        assert_eq!(parse_id("%61"), None, "an escape that was not needed");
    }
}
