//! Nodes that belong to no cluster: new ones, or such as were taken out.

use kv_runtime::testing::{RedisOptions, RedisServer, servers};
use kv_runtime::{Kv, Receipt};
use kv_tests::models::Counter;
use kv_tests::pair::Pair;

#[tokio::test]
async fn a_node_that_knows_of_no_slots_is_not_believed() {
    let options = RedisOptions::new().setting("cluster-enabled", "yes");
    let stranger = RedisServer::start_with(options).expect("a private server");
    let pair = Pair::on_cluster(servers().redis_cluster()).await;
    let mut settings = pair.settings.clone();
    // It is asked first.
    settings.redis.cluster_nodes.insert(0, stranger.url().into());
    let kv = Kv::connect(settings).await.expect("the others know");
    let counters = kv.repository::<Counter>();
    let counter = |id| Counter { id, total: 0, r#type: "a".to_owned() };
    let rows: Vec<Counter> = (0..50).map(counter).collect();
    let created = counters.create_many(&rows).await;
    let created: Result<Vec<Receipt>, _> = created.into_iter().collect();
    assert_eq!(created.expect("new rows").len(), rows.len());
    let read = counters.get_many(&(0..50).collect::<Vec<_>>()).await.expect("the rows");
    assert!(read.into_iter().flatten().eq(rows));
}
