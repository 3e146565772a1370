//! The partitions that a queue has, and those that it has had.
//!
//! A change of their number gives a queue partitions with numbers that it never had before: after
//! eight of them, numbers 0 to 7, it goes on with numbers 8 to 39, say. So a partition's number says
//! for good which one it is: in a key, a hash tag, an offset row, a lease or a receipt, nobody can
//! take an old one for a new one.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::slot::tag;
use super::{MAX_PARTITIONS, Partition};

/// The partitions of a queue between two changes of their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The number of the first one.
    pub(crate) first: u16,
    pub(crate) count: u16,
}

impl Layout {
    /// Those that a queue begins with.
    pub(crate) fn initial(count: u16) -> Self {
        Self { first: 0, count: count.max(1) }
    }

    /// So many, with numbers behind those of these; `None` where there are no more numbers.
    pub(crate) fn next(self, count: u16) -> Option<Self> {
        let first = self.first.checked_add(self.count)?;
        first.checked_add(count)?;
        Some(Self { first, count })
    }

    pub(crate) fn has(self, number: u16) -> bool {
        number >= self.first && number - self.first < self.count
    }

    pub(crate) fn partitions(self, queue: &'static str) -> impl Iterator<Item = Partition> {
        (self.first..self.first + self.count).map(move |number| Partition { queue, number })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.first, self.count)
    }
}

/// A text that is no layout.
#[derive(Debug, thiserror::Error)]
#[error("it should be the number of the first partition, a space, and how many there are")]
pub(crate) struct UnknownLayout;

impl FromStr for Layout {
    type Err = UnknownLayout;

    fn from_str(text: &str) -> Result<Self, UnknownLayout> {
        let (first, count) = text.split_once(' ').ok_or(UnknownLayout)?;
        let first: u16 = first.parse().map_err(|_| UnknownLayout)?;
        let count: u16 = count.parse().map_err(|_| UnknownLayout)?;
        let is_in_range =
            (1..=MAX_PARTITIONS).contains(&count) && first.checked_add(count).is_some();
        if is_in_range { Ok(Self { first, count }) } else { Err(UnknownLayout) }
    }
}

/// A layout with the hash tag of each partition, braces included.
#[derive(Debug)]
pub(super) struct Tags {
    pub(super) layout: Layout,
    tags: Vec<String>,
}

impl Tags {
    pub(super) fn new(layout: Layout) -> Self {
        let Layout { first, count } = layout;
        let tags = (0..count).map(|share| tag(first + share, share, count)).collect();
        Self { layout, tags }
    }

    /// A single partition without a tag.
    pub(super) fn none() -> Self {
        Self { layout: Layout::initial(1), tags: vec![String::new()] }
    }

    pub(super) fn get(&self, number: u16) -> Option<&str> {
        let place = number.checked_sub(self.layout.first)?;
        self.tags.get(usize::from(place)).map(String::as_str)
    }

    /// The partition that a text falls to.
    pub(super) fn share_of(&self, text: &str) -> u16 {
        let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
        // The remainder is below the number of partitions, a `u16`.
        let share = u16::try_from(hash % u64::from(self.layout.count)).unwrap_or_default();
        self.layout.first + share
    }
}

/// What this process knows of the layouts of queues that were changed. The others have the one that
/// the settings say.
#[derive(Debug, Default)]
pub(super) struct Layouts {
    /// Whether there are any, so that in the common case nobody takes the lock.
    is_any: AtomicBool,
    by_queue: RwLock<HashMap<&'static str, Vec<Arc<Tags>>>>,
    /// The one that a queue is on its way to.
    upcoming: RwLock<HashMap<&'static str, Arc<Tags>>>,
}

impl Layouts {
    /// All layouts of a queue, the oldest first; none if it has the one of the settings.
    pub(super) fn of(&self, queue: &str) -> Vec<Arc<Tags>> {
        if !self.is_any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let by_queue = self.by_queue.read().unwrap_or_else(PoisonError::into_inner);
        by_queue.get(queue).cloned().unwrap_or_default()
    }

    pub(super) fn current(&self, queue: &str) -> Option<Arc<Tags>> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let by_queue = self.by_queue.read().unwrap_or_else(PoisonError::into_inner);
        by_queue.get(queue)?.last().cloned()
    }

    /// The one that a partition is of.
    pub(super) fn with(&self, partition: Partition) -> Option<Arc<Tags>> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let is_of = |tags: &&Arc<Tags>| tags.layout.has(partition.number);
        let by_queue = self.by_queue.read().unwrap_or_else(PoisonError::into_inner);
        let known = by_queue.get(partition.queue);
        if let Some(tags) = known.and_then(|known| known.iter().rev().find(is_of)) {
            return Some(Arc::clone(tags));
        }
        let upcoming = self.upcoming.read().unwrap_or_else(PoisonError::into_inner);
        upcoming.get(partition.queue).filter(is_of).cloned()
    }

    /// Notes all layouts of a queue, unless what is known is newer.
    pub(super) fn set(&self, queue: &'static str, all: Vec<Arc<Tags>>) {
        let newest = |all: &[Arc<Tags>]| all.last().map(|tags| tags.layout.first);
        let mut by_queue = self.by_queue.write().unwrap_or_else(PoisonError::into_inner);
        let known = by_queue.entry(queue).or_default();
        if newest(known) < newest(&all) {
            *known = all;
        }
        self.is_any.store(true, Ordering::Release);
    }

    pub(super) fn expect(&self, queue: &'static str, next: Arc<Tags>) {
        let mut upcoming = self.upcoming.write().unwrap_or_else(PoisonError::into_inner);
        upcoming.insert(queue, next);
        self.is_any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let mut layout = Layout::initial(8);
        let mut numbers: Vec<u16> = Vec::new();
        for count in [8, 32, 3, 1, 8] {
            numbers.extend(layout.partitions("queue").map(|partition| partition.number));
            layout = layout.next(count).expect("there are more numbers");
        }
        let mut different = numbers.clone();
        different.dedup();
        assert_eq!(numbers, different);
        assert_eq!(numbers.len(), 8 + 8 + 32 + 3 + 1);
        assert_eq!(Layout { first: u16::MAX - 8, count: 8 }.next(1), None);
    }

    #[test]
    fn a_layout_is_read_as_it_is_written() {
        let layout = Layout { first: 8, count: 32 };
        assert_eq!(layout.to_string().parse::<Layout>().expect("it is one"), layout);
        for text in ["", "8", "8 0", "8 1025", "65535 8", "-1 8", "a b"] {
            assert!(text.parse::<Layout>().is_err(), "{text}");
        }
    }
}
