//! Unique values in other slots than their rows: writes that end half-way.

use std::time::{SystemTime, UNIX_EPOCH};

use kv_runtime::testing::{RedisCluster, servers};
use kv_runtime::{Error, KvModel, Repository};
use kv_tests::models::Member;
use kv_tests::outside::{slot_of, stream_beside};
use kv_tests::pair::Pair;

/// What a node answers that has a key; the masters of this cluster have even shares of the slots.
fn ask(cluster: &RedisCluster, key: &str, command: &str) -> String {
    let master = usize::from(slot_of(key)) * 3 / 16_384;
    cluster.nodes()[master].ask(command).expect("an answer")
}

/// All keys of the pair that contain a text.
fn keys(pair: &Pair, text: &str) -> Vec<String> {
    let tenant = pair.settings.tenant.as_deref().expect("a tenant");
    let masters = servers().redis_cluster().nodes().iter().take(3);
    let found = masters.map(|node| node.ask(&format!("KEYS {tenant}/*{text}*")).expect("keys"));
    let found: Vec<String> = found.collect();
    let lines = found.iter().flat_map(|found| found.lines());
    lines.filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
}

/// A write of a member that took a badge and went no further.
struct HalfDone {
    value_key: String,
    nonce_key: String,
}

impl HalfDone {
    /// `left_ms` is how long it may take yet.
    async fn begin(pair: &Pair, members: &Repository<Member>, id: i64, left_ms: i64) -> Self {
        // The key's name, from a member that has had the badge.
        let _ = members.create(&Member::with_badge(1_000, "A")).await.expect("a new row");
        let [value_key] = keys(pair, "member.badge:A").try_into().expect("the value's key");
        let _ = members.delete(&1_000).await.expect("a row");
        assert_eq!(pair.drain().await.dead_letters, 0);
        let row_key = members.key(&id).expect("an id");
        let queue = stream_beside(&row_key, Member::DESCRIPTOR.queue);
        let (head, tag) = queue.split_at(queue.find('{').expect("a tag"));
        let partition: String = tag.chars().filter(char::is_ascii_digit).collect();
        let nonce_key = format!("{head}.nonce:0123456789abcdef{tag}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let until = i64::try_from(now).expect("before 292277026") + left_ms;
        let taking = format!("taking 0123456789abcdef {until} {partition} {row_key}");
        let cluster = servers().redis_cluster();
        ask(cluster, &nonce_key, &format!("SET {nonce_key} 1"));
        ask(cluster, &value_key, &format!("SET {value_key} \"{taking}\""));
        Self { value_key, nonce_key }
    }

    fn has_nonce(&self) -> bool {
        ask(servers().redis_cluster(), &self.nonce_key, &format!("EXISTS {}", self.nonce_key))
            == "1"
    }
}

/// Its process is gone, or asleep: it can never take the value any more.
#[tokio::test]
async fn a_value_is_taken_over_from_a_write_that_went_no_further() {
    for left_ms in [-10_000, 1_500] {
        let pair = Pair::cluster().await;
        let members = pair.kv.repository::<Member>();
        let half_done = HalfDone::begin(&pair, &members, 1, left_ms).await;
        assert!(half_done.has_nonce());
        let _ = members.create(&Member::with_badge(2, "A")).await.expect("a free value");
        assert!(!half_done.has_nonce(), "the other one could wake up and take it as well");
        let found = members.find_by_badge("A").await.expect("an answer").expect("a row");
        assert_eq!(found.id, 2);
        let error = members.create(&Member::with_badge(1, "A")).await.expect_err("it is taken");
        assert!(matches!(error, Error::NotUnique { fields: "badge", .. }), "{error:?}");
        assert_eq!(pair.drain().await.dead_letters, 0);
    }
}

/// Its process ended before it told the value so; the row says whose it is.
#[tokio::test]
async fn a_write_that_is_done_has_its_value() {
    for left_ms in [-10_000, 1_500] {
        let pair = Pair::cluster().await;
        let members = pair.kv.repository::<Member>();
        let half_done = HalfDone::begin(&pair, &members, 1, left_ms).await;
        let cluster = servers().redis_cluster();
        let (key, get) = (&half_done.value_key, format!("GET {}", half_done.value_key));
        let taking = ask(cluster, key, &get);
        ask(cluster, key, &format!("DEL {key}"));
        let _ = members.create(&Member::with_badge(1, "A")).await.expect("a free value");
        // As it was before that was told.
        ask(cluster, key, &format!("SET {key} \"{taking}\""));
        let error = members.create(&Member::with_badge(2, "A")).await.expect_err("it is taken");
        assert!(matches!(error, Error::NotUnique { fields: "badge", .. }), "{error:?}");
        let found = members.find_by_badge("A").await.expect("an answer").expect("a row");
        assert_eq!(found.id, 1);
        let patch = Member::patch().badge("B");
        let _ = members.update(&1, patch).await.expect("a row");
        let _ = members.create(&Member::with_badge(2, "A")).await.expect("it was given up");
        assert_eq!(pair.drain().await.dead_letters, 0);
    }
}

/// Settling lets values expire with their rows, also from another slot; nothing is left for ever.
#[tokio::test]
async fn no_value_is_pinned_once_all_is_drained() {
    let pair = Pair::cluster().await;
    let members = pair.kv.repository::<Member>();
    for id in 0..20 {
        let row = Member::with_badge(id, &format!("B{id}"));
        let _ = members.create(&row).await.expect("a new row");
    }
    let cluster = servers().redis_cluster();
    let ttl = |key: &String| ask(cluster, key, &format!("PTTL {key}"));
    let pinned = keys(&pair, "member.badge:");
    assert_eq!(pinned.len(), 20);
    assert!(
        pinned.iter().all(|key| ttl(key) == "-1"),
        "they are pinned while their rows are dirty"
    );
    for id in 0..5 {
        let _ = members.delete(&id).await.expect("a row");
        let patch = Member::patch().badge(Some(format!("C{id}")));
        let _ = members.update(&(id + 5), patch).await.expect("a row");
    }
    assert_eq!(pair.drain().await.dead_letters, 0);
    let left = keys(&pair, "member.badge:");
    assert_eq!(left.len(), 15, "{left:?}");
    for key in &left {
        assert_ne!(ttl(key), "-1", "{key} is pinned");
    }
}

/// What was put beside a row for a write that is refused does not wait there to let it through.
#[tokio::test]
async fn a_refused_write_leaves_no_nonce() {
    let pair = Pair::cluster().await;
    let members = pair.kv.repository::<Member>();
    let _ = members.create(&Member::with_badge(1, "A")).await.expect("a new row");
    let error = members.create(&Member::with_badge(2, "A")).await.expect_err("it is taken");
    assert!(matches!(error, Error::NotUnique { .. }), "{error:?}");
    let error = members.create(&Member::with_badge(1, "B")).await.expect_err("the row is there");
    assert!(matches!(error, Error::Duplicate { .. }), "{error:?}");
    assert_eq!(keys(&pair, ".nonce:"), [""; 0]);
    let _ = members.create(&Member::with_badge(3, "B")).await.expect("it was given back");
    assert_eq!(pair.drain().await.dead_letters, 0);
}
