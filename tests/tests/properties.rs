//! Properties of keys over ids with any characters: different ids have different keys, a key is
//! read back as its id, and nothing in an id leaves its tenant, model or slot.

use std::collections::BTreeSet;

use kv_runtime::{Kv, KvModel, Repository, Settings};
use kv_tests::contract;
use kv_tests::models::{Account, Booking, Place, Seat};
use kv_tests::pair::Pair;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

const PARTITIONS: u16 = 8;

/// Text of what has a meaning in keys, of its escapes, and of anything else.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        ":",
        "%",
        "{",
        "}",
        "/",
        ".",
        "*",
        "?",
        "[",
        "]",
        "\\",
        " ",
        "%3A",
        "%7B",
        "3A",
        "%25",
        "{0}",
        "}{",
        "{}",
        "a",
        "A",
        "place",
        "place:",
        "_queue",
        ".state",
        "\u{1}",
        "\u{7f}",
        "é",
        "e\u{301}",
        "\u{10ffff}",
        "\r\n",
    ]);
    let character = any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from);
    vec(prop_oneof![3 => special.prop_map(str::to_owned), 1 => character], 0..6)
        .prop_map(|parts| parts.concat())
}

/// The name of a tenant: any that a schema can have.
fn tenant() -> impl Strategy<Value = String> {
    text().prop_filter("1 to 56 bytes", |name| (1..=56).contains(&name.len()))
}

/// Any text, some of it as often as 64 kB take.
fn large_text() -> impl Strategy<Value = String> {
    (text(), any::<bool>()).prop_map(|(text, is_large)| match is_large {
        true => text.repeat((64 << 10) / text.len().max(1)),
        false => text,
    })
}

fn kv(tenant: Option<&str>, partitions: u16) -> Kv {
    let mut settings = Settings::in_memory();
    settings.partitions = partitions;
    settings.tenant = tenant.map(str::to_owned);
    Kv::memory_with(settings).expect("valid settings")
}

fn key<M: KvModel>(rows: &Repository<M>, id: &M::Id) -> String {
    rows.key(id).expect("a key")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_read_back_as_their_ids(region in text(), name in text(), number in any::<i16>()) {
        for partitions in [1, PARTITIONS] {
            let kv = kv(Some("acme"), partitions);
            let places = kv.repository::<Place>();
            let place = (region.clone(), name.clone());
            prop_assert_eq!(places.parse_key(&key(&places, &place)), Some(place));
            let seats = kv.repository::<Seat>();
            let seat = (region.clone(), number);
            let key = key(&seats, &seat);
            prop_assert_eq!(seats.parse_key(&key), Some(seat));
            prop_assert_eq!(places.parse_key(&key), None);
        }
    }

    #[test]
    fn ids_of_other_types_are_read_back(id in any::<i64>(), uuid in any::<u128>()) {
        let kv = kv(None, PARTITIONS);
        let accounts = kv.repository::<Account>();
        prop_assert_eq!(accounts.parse_key(&key(&accounts, &id)), Some(id));
        let bookings = kv.repository::<Booking>();
        let uuid = Uuid::from_u128(uuid);
        prop_assert_eq!(bookings.parse_key(&key(&bookings, &uuid)), Some(uuid));
    }

    /// The same characters, cut into two parts anywhere, are different ids.
    #[test]
    fn different_ids_have_different_keys(pieces in vec(text(), 1..12)) {
        let cut = |at| (pieces[..at].concat(), pieces[at..].concat());
        let ids: BTreeSet<(String, String)> = (0..=pieces.len()).map(cut).collect();
        for partitions in [1, PARTITIONS] {
            let places = kv(None, partitions).repository::<Place>();
            let keys: BTreeSet<String> = ids.iter().map(|id| key(&places, id)).collect();
            prop_assert_eq!(keys.len(), ids.len(), "{:?}", keys);
        }
    }

    #[test]
    fn a_key_has_the_hash_tag_of_its_partition_alone(region in text(), name in text()) {
        let kv = kv(None, PARTITIONS);
        let places = kv.repository::<Place>();
        let tags: BTreeSet<String> = (0..500_i64)
            .map(|id| key(&kv.repository::<Account>(), &id))
            .filter_map(|key| key.find('{').map(|at| key[at..].to_owned()))
            .collect();
        prop_assert_eq!(tags.len(), usize::from(PARTITIONS));
        let key = key(&places, &(region, name));
        let (id, tag) = key.split_at(key.find('{').expect("a tag"));
        prop_assert!(tags.contains(tag), "{}", key);
        prop_assert!(id.starts_with("place:") && !id.contains(['}', '*', '?', '[', ' ']), "{}", key);
        prop_assert_eq!(id.matches(':').count(), 2, "{}", key);
    }

    #[test]
    fn rows_of_one_partition_key_lie_together(flight in text(), numbers in vec(any::<i16>(), 2)) {
        let seats = kv(None, PARTITIONS).repository::<Seat>();
        let tag = |number: i16| {
            let key = key(&seats, &(flight.clone(), number));
            key[key.find('{').expect("a tag")..].to_owned()
        };
        prop_assert_eq!(tag(numbers[0]), tag(numbers[1]));
    }

    #[test]
    fn tenants_do_not_meet(
        tenants in (text(), text()),
        ids in ((text(), text()), (text(), text())),
    ) {
        prop_assume!(tenants.0 != tenants.1 && !tenants.0.is_empty() && !tenants.1.is_empty());
        let one = kv(Some(&tenants.0), PARTITIONS).repository::<Place>();
        let other = kv(Some(&tenants.1), PARTITIONS).repository::<Place>();
        let none = kv(None, PARTITIONS).repository::<Place>();
        let key = key(&one, &ids.0);
        prop_assert_ne!(&key, &other.key(&ids.1).expect("a key"));
        prop_assert_eq!(other.parse_key(&key), None);
        prop_assert_eq!(none.parse_key(&key), None);
        // What belongs to a tenant begins with its name and a slash, and no one else's does.
        let tenant = &key[..=key.find('/').expect("the tenant's name comes first")];
        let is_inside = other.key(&ids.1).expect("a key").starts_with(tenant);
        prop_assert!(!is_inside, "{}", tenant);
    }

    /// Tenants of one pair, with names as long as a schema's can be and ids of up to 64 kB.
    #[test]
    fn tenants_of_one_pair_do_not_meet(
        names in (tenant(), tenant()),
        ids in ((large_text(), text()), (text(), large_text())),
    ) {
        prop_assume!(names.0 != names.1);
        let kv = kv(Some("app"), PARTITIONS);
        let root = kv.repository::<Place>();
        let of = |name: &str| kv.tenant(name).expect("a name").repository::<Place>();
        let (one, other) = (of(&names.0), of(&names.1));
        for id in [&ids.0, &ids.1] {
            let key = key(&one, id);
            prop_assert_eq!(one.parse_key(&key), Some(id.clone()));
            prop_assert_eq!(other.parse_key(&key), None);
            prop_assert_eq!(root.parse_key(&key), None);
            // The same row of another tenant lies in the same slot, whatever the names are.
            let tag = |key: &str| key[key.find('{').expect("a tag")..].to_owned();
            prop_assert_eq!(tag(&key), tag(&root.key(id).expect("a key")));
            let before_tag = &key[..key.find('{').expect("a tag")];
            prop_assert!(!before_tag.contains(['}', '*', '?', '[', ' ', '\0']), "{}", key);
            // One slash behind the pair's, and one behind the tenant's name.
            let prefix = &key[..key.find("/place:").expect("the model comes next") + 1];
            prop_assert_eq!(prefix.matches('/').count(), 2, "{}", prefix);
            prop_assert!(!other.key(id).expect("a key").starts_with(prefix), "{}", prefix);
        }
    }

    #[test]
    fn what_is_read_as_a_key_is_one(text in text()) {
        let places = kv(None, PARTITIONS).repository::<Place>();
        let candidates =
            [text.clone(), format!("place:{text}"), format!("place:a:{text}"), format!("place:{text}{{0}}")];
        for candidate in candidates {
            if let Some(id) = places.parse_key(&candidate) {
                prop_assert_eq!(key(&places, &id), candidate);
            }
        }
    }
}

/// A number and a UUID can be written in several ways, and a row has one key.
#[test]
fn other_texts_of_an_id_are_no_keys() {
    let kv = kv(None, 1);
    for key in ["account:+7", "account:007", "account: 7"] {
        assert_eq!(kv.repository::<Account>().parse_key(key), None, "{key}");
    }
    let uuid = Uuid::from_u128(0xab);
    for id in [uuid.simple().to_string(), uuid.to_string().to_uppercase(), uuid.urn().to_string()] {
        assert_eq!(kv.repository::<Booking>().parse_key(&format!("booking:{id}")), None, "{id}");
    }
    assert_eq!(kv.repository::<Booking>().parse_key(&format!("booking:{uuid}")), Some(uuid));
}

contract!(rows_with_any_id_go_all_the_way);

/// Ids go through keys and entries, values through entries alone, and all come to the table.
async fn rows_with_any_id_go_all_the_way(pair: Pair) {
    let places = pair.kv.repository::<Place>();
    let mut runner = TestRunner::default();
    let ids = vec((text(), text()), 300).new_tree(&mut runner).expect("ids").current();
    let ids: BTreeSet<(String, String)> = ids.into_iter().collect();
    let rows: Vec<Place> = ids
        .iter()
        .map(|(region, name)| Place {
            region: region.clone(),
            name: name.clone(),
            note: Some(format!("{name}@{region}")),
        })
        .collect();
    for result in places.create_many(&rows).await {
        let _ = result.expect("a new row");
    }
    let sorted = async || {
        pair.drain().await;
        let mut durable = pair.kv.durable_rows::<Place>().await.expect("the rows");
        durable.sort_by_key(|row| (row.region.clone(), row.name.clone()));
        durable
    };
    assert_eq!(sorted().await, rows);
    for (id, row) in ids.iter().zip(&rows) {
        places.invalidate(id).await.expect("a clean row");
        assert_eq!(places.get_by_id(id).await.expect("the row"), *row);
        let _ = places.update(id, Place::patch().note(None)).await.expect("a row");
    }
    assert!(sorted().await.iter().all(|row| row.note.is_none()));
    for id in &ids {
        let _ = places.delete(id).await.expect("a row");
    }
    assert!(sorted().await.is_empty());
}
