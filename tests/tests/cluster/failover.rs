//! Masters die under load, and their replicas take over.

use std::time::{Duration, Instant};

use kv_runtime::testing::{RedisCluster, RedisOptions};
use kv_tests::audit;
use kv_tests::pair::Pair;
use kv_tests::revisions::{RevisionWriters, WAIT_MAX};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_have_acknowledged_outlives_a_master() {
    let options = RedisOptions::new().setting("cluster-node-timeout", "1500");
    let mut cluster = RedisCluster::start_with(&options).expect("a private cluster");
    let pair = Pair::on_cluster(&cluster).await.replicated().await;
    pair.sql(audit::TABLES).await;
    let drainer = pair.spawn_drainer();
    let writers = RevisionWriters::start(&pair);

    let mut outages = Vec::new();
    let cluster = tokio::task::spawn_blocking(move || {
        for master in 0..2 {
            cluster.nodes_mut()[master].kill().expect("it is killed");
            let began = Instant::now();
            // Its replica is at the same place in the second half.
            let replica = &cluster.nodes()[master + 3];
            while !replica.ask("ROLE").is_ok_and(|role| role.contains("master")) {
                assert!(began.elapsed() < WAIT_MAX, "no replica takes over");
                std::thread::sleep(Duration::from_millis(20));
            }
            outages.push(began.elapsed());
            cluster.nodes_mut()[master].restart().expect("it comes back, as a replica");
            cluster.await_agreement().expect("the nodes agree");
        }
        println!("replicas took over after {outages:?}");
        cluster
    });
    let cluster = cluster.await.expect("masters are killed");
    writers.finish(&pair, drainer).await;
    drop(cluster);
}
