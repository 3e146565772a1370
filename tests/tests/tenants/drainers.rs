//! Drainers of several tenants: which ones they drain, and what they leave alone.

use std::time::Duration;

use kv_runtime::{Drainer, DrainerBuilder};
use kv_tests::contract;
use kv_tests::drain_process::DrainCommand;
use kv_tests::models::Account;
use kv_tests::pair::Pair;
use kv_tests::waiting::until;
use kv_tests::writers::Writers;

use super::common::{create, rows};

contract!(
    a_drainer_of_a_list_leaves_the_others_alone,
    tenants_come_and_go_while_it_runs,
    what_a_drainer_has_done_is_that_of_all_tenants,
    one_tenant_in_trouble_does_not_stop_the_others,
    a_tenant_that_is_not_written_to_rests,
);

fn builder(pair: &Pair) -> DrainerBuilder {
    pair.kv.drainer().model::<Account>()
}

async fn end(drainer: Drainer) {
    drainer.shutdown().await.expect("everything can be drained");
}

async fn a_drainer_of_a_list_leaves_the_others_alone(pair: Pair) {
    let (a, b, c) = (pair.tenant("a").await, pair.tenant("b").await, pair.tenant("c").await);
    for tenant in [&pair, &a, &b, &c] {
        create(&tenant.kv, 1).await;
    }
    let drainer = builder(&pair).tenants(["a", "c"]).expect("names").spawn();
    drainer.flush().await.expect("everything can be drained");
    let status = drainer.status().await.expect("Redis is up");
    assert_eq!((status.entries_drained, status.undrained), (2, 0));
    end(drainer).await;
    for (tenant, count) in [(&pair, 0), (&a, 1), (&b, 0), (&c, 1)] {
        assert_eq!(rows(&tenant.kv).await, count);
    }
    let waiting = b.kv.queues().model::<Account>().status().await.expect("Redis is up");
    assert_eq!(waiting.undrained, 1);
}

async fn tenants_come_and_go_while_it_runs(pair: Pair) {
    let a = pair.tenant("a").await;
    let drainer = builder(&pair).all_tenants().spawn();
    create(&a.kv, 1).await;
    drainer.flush().await.expect("everything can be drained");
    assert_eq!(rows(&a.kv).await, 1);

    // Nobody tells the drainer.
    let b = pair.tenant("b").await;
    create(&b.kv, 1).await;
    until("a tenant that came is drained", async || rows(&b.kv).await == 1).await;

    pair.kv.remove_tenant("b").await.expect("the list is there");
    assert_eq!(pair.kv.tenants().await.expect("the list"), ["a"]);
    let leases = async || {
        let status = drainer.status().await.expect("Redis is up");
        status.partitions
    };
    until("a tenant that went is left", async || {
        leases().await == usize::from(pair.settings.partitions)
    })
    .await;
    create(&b.kv, 2).await;
    create(&a.kv, 2).await;
    drainer.flush().await.expect("everything can be drained");
    assert_eq!((rows(&a.kv).await, rows(&b.kv).await), (2, 1));

    b.kv.migrate().await.expect("it is put back");
    until("a tenant that came back is drained", async || rows(&b.kv).await == 2).await;
    assert_eq!(drainer.status().await.expect("Redis is up").entries_drained, 4);
    end(drainer).await;
}

async fn what_a_drainer_has_done_is_that_of_all_tenants(pair: Pair) {
    let tenants = [pair.tenant("a").await, pair.tenant("b").await];
    for (tenant, count) in tenants.iter().zip([3, 4]) {
        for id in 0..count {
            create(&tenant.kv, id).await;
        }
    }
    let drainer = builder(&pair).all_tenants().spawn();
    drainer.flush().await.expect("everything can be drained");
    let status = drainer.status().await.expect("Redis is up");
    assert_eq!((status.entries_drained, status.rows_written, status.undrained), (7, 7, 0));
    assert_eq!(status.partitions, 2 * usize::from(pair.settings.partitions));
    create(&tenants[1].kv, 9).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.entries_drained, status.undrained), (8, 0));
}

async fn one_tenant_in_trouble_does_not_stop_the_others(pair: Pair) {
    if !pair.has_servers() {
        return;
    }
    let (a, b) = (pair.tenant("a").await, pair.tenant("b").await);
    pair.sql("DROP TABLE tenant_a.accounts").await;
    create(&a.kv, 1).await;
    let drainer = builder(&pair).all_tenants().spawn();
    until("the trouble is told", async || {
        let status = drainer.status().await.expect("Redis is up");
        status.last_error.is_some_and(|error| error.starts_with("tenant `a`: "))
    })
    .await;
    for id in 0..20 {
        create(&b.kv, id).await;
    }
    until("the other one is drained", async || rows(&b.kv).await == 20).await;
    drainer.stop().await;
}

async fn a_tenant_that_is_not_written_to_rests(pair: Pair) {
    let mut tenants = Vec::new();
    for name in ["a", "b", "c"] {
        tenants.push(pair.tenant(name).await);
    }
    let drainer = builder(&pair).all_tenants().spawn();
    create(&tenants[1].kv, 1).await;
    until("what is written is drained", async || rows(&tenants[1].kv).await == 1).await;
    let status = drainer.status().await.expect("Redis is up");
    assert_eq!(status.partitions, usize::from(pair.settings.partitions), "others do not rest");
    create(&tenants[2].kv, 1).await;
    until("who rested is drained", async || rows(&tenants[2].kv).await == 1).await;
    end(drainer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_of_a_tenant_is_lost_when_drainers_of_all_are_killed() {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_drain_process");
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.lease = Duration::from_millis(200)).await;
    let mut random = fastrand::Rng::new();
    let mut tenants = vec![pair.tenant("a").await, pair.tenant("b").await];
    let mut writers = Vec::new();
    for tenant in &tenants {
        writers.push(Writers::start(tenant, &mut random).await);
    }
    for point in ["after_begin", "before_commit", "after_commit", "after_settle"] {
        let command = DrainCommand::new(PROGRAM, &pair).of_all_tenants();
        command.dies_at(point, random.usize(1..20)).spawn().dies_by_itself().await;
    }
    // One more comes while the others are written to and a drainer runs.
    let victim = DrainCommand::new(PROGRAM, &pair).of_all_tenants().spawn();
    let late = pair.tenant("c").await;
    let of_late = Writers::start(&late, &mut random).await;
    of_late.go_on(200).await;
    until("the late one is drained, too", async || rows(&late.kv).await > 0).await;
    victim.kill().await;
    tenants.push(late);
    writers.push(of_late);
    let mut ledgers = Vec::new();
    for writer in writers {
        ledgers.push(writer.stop().await);
    }
    DrainCommand::new(PROGRAM, &pair).of_all_tenants().spawn().ends().await;
    for (tenant, ledger) in tenants.iter().zip(&ledgers) {
        assert!(ledger.writes > 0);
        ledger.check_rows(tenant).await;
    }
}
