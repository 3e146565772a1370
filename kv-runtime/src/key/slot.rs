//! The slots of a cluster, and the hash tags that put what belongs together into one of them.

/// How many slots a Redis Cluster has.
pub(super) const SLOTS: usize = 16_384;

/// The hash tag of a partition: its number, and as many letters as it takes to
/// land in the partition's share of the cluster's slots, which are shared out in order.
///
/// Without the letters, the slots of the numbers 0 to 63 would lie anywhere;
/// with them, masters that own equal ranges of slots get equal numbers of partitions.
pub(super) fn tag(number: u16, share: u16, count: u16) -> String {
    // At most `MAX_PARTITIONS`, so a share has 16 slots or more and the search is short.
    let name = tag_names(number).find(|name| is_in_share(name, share, count));
    format!("{{{}}}", name.unwrap_or_else(|| number.to_string()))
}

/// What may stand between the braces of a partition's tag, the first first.
pub(super) fn tag_names(number: u16) -> impl Iterator<Item = String> {
    let with_letters = (0_u32..100_000).map(move |attempt| format!("{number}{}", letters(attempt)));
    std::iter::once(number.to_string()).chain(with_letters)
}

pub(super) fn is_in_share(name: &str, share: u16, count: u16) -> bool {
    slot(name) * usize::from(count) / SLOTS == usize::from(share)
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
                let tag = tag(number, number, count);
                let slot = slot(tag.trim_matches(['{', '}']));
                assert_eq!(
                    slot * usize::from(count) / SLOTS,
                    usize::from(number),
                    "{tag} of {count}"
                );
            }
        }
    }
}
