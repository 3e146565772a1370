//! Slots move from master to master while rows are written, read and drained.

use std::collections::{BTreeMap, BTreeSet};

use kv_runtime::testing::RedisCluster;
use kv_runtime::{CheckMode, DeadLetterFilter, KvModel};
use kv_tests::audit;
use kv_tests::models::Account;
use kv_tests::outside::{slot_of, stream_beside};
use kv_tests::pair::Pair;
use kv_tests::writers::Writers;

const PARTITIONS: u16 = 64;
/// How many slots are moved, some of them more than once.
const MOVES: usize = 60;

/// Each partition's queue lies in a slot of its own, and those are spread evenly over the masters.
async fn slots_of_partitions(pair: &Pair) -> BTreeSet<u16> {
    let accounts = pair.kv.repository::<Account>();
    let keys = (0..2_000).map(|id| accounts.key(&id).expect("an id"));
    let queues: BTreeSet<String> =
        keys.map(|key| stream_beside(&key, Account::DESCRIPTOR.queue)).collect();
    queues.iter().map(|queue| slot_of(queue)).collect()
}

#[tokio::test]
async fn partitions_are_spread_evenly_over_the_masters() {
    let pair = Pair::cluster().await;
    let pair = pair.with(|settings| settings.partitions = PARTITIONS).await;
    let key = pair.kv.repository::<Account>().key(&1).expect("an id");
    assert_eq!(slot_of(&key), slot_of(&stream_beside(&key, Account::DESCRIPTOR.queue)));
    let slots = slots_of_partitions(&pair).await;
    assert_eq!(slots.len(), usize::from(PARTITIONS));
    let mut of_masters = [0_usize; 3];
    for slot in slots {
        of_masters[usize::from(slot) * 3 / 16_384] += 1;
    }
    println!("partitions of each master: {of_masters:?}");
    assert!(of_masters.iter().all(|count| (21..=22).contains(count)), "{of_masters:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_refused_while_slots_move() {
    let seed = std::env::var("CLUSTER_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("CLUSTER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = RedisCluster::start().expect("a private cluster");
    let pair = Pair::on_cluster(&cluster).await;
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Warn).await;
    pair.sql(audit::TABLES).await;
    let slots: Vec<u16> = slots_of_partitions(&pair).await.into_iter().collect();
    let writers = Writers::start(&pair, &mut random).await;
    let drainer = pair.spawn_drainer();

    let moves = tokio::task::spawn_blocking(move || {
        let mut owners: BTreeMap<u16, usize> =
            slots.iter().map(|&slot| (slot, usize::from(slot) * 3 / 16_384)).collect();
        for _ in 0..MOVES {
            let slot = slots[random.usize(..slots.len())];
            let to = (owners[&slot] + random.usize(1..3)) % 3;
            cluster.move_slot(slot, owners[&slot], to).expect("the nodes take part");
            owners.insert(slot, to);
        }
        cluster
    });
    let cluster = moves.await.expect("the slots are moved");
    cluster.await_agreement().expect("the nodes agree");

    let ledger = writers.stop().await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));
    ledger.check_rows(&pair).await;
    let changes = audit::check(&pair, &ledger).await;
    println!("{MOVES} slots moved, {} writes, {changes} changes in PostgreSQL", ledger.writes);
    let letters = pair.kv.dead_letters().list(&DeadLetterFilter::default()).await;
    assert_eq!(letters.expect("an answer").len(), 0);
}
