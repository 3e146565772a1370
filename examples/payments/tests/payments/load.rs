//! The load generator, on two instances behind a balancer.

use kv_payments::{Balancer, Payment, Schedule, Target, run, start_floor};

use super::common::{Held, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_run_delivers_what_was_accepted_and_no_more() {
    let world = World::servers().await;
    let servers = world.instances.iter().map(|instance| instance.address().to_string());
    let balancer = Balancer::start("127.0.0.1:0", servers.collect()).await.expect("a free port");
    let (floor_url, _floor) = start_floor("127.0.0.1:0").await.expect("a free port");
    let target = Target {
        service_url: balancer.url(),
        processors: world.config.processors.clone(),
        floor_url,
    };
    // So that what the summary counts is never what is drained.
    let mut drains = Held::back(&world).await;
    let report = run(&Schedule::short(), &target).await.expect("all are up");
    let drained = world.instances[0].kv().durable_rows::<Payment>().await.expect("the rows");
    assert_eq!(drained, []);
    drains.let_go().await;
    let recorded: u64 = report.settled.iter().map(|ledger| ledger.total_requests).sum();
    // On a machine that is very busy, users may give up on what was accepted.
    let (accepted, requests) = (report.service.successes, report.service.requests);
    assert!(accepted > 0 && accepted <= recorded && recorded <= requests, "{report}");
    assert!(report.floor.successes > 0, "{report}");
    let audits = report.audits;
    assert!(audits.number > 0 && audits.inconsistencies == 0, "{report}");
    assert!(report.score().total > report.score().fee, "{report}");
    world.assert_none_is_at_both();
    let summary = world.summary("").await;
    for (ours, theirs) in [summary.default, summary.fallback].iter().zip(&report.settled) {
        assert_eq!(ours.total_requests, theirs.total_requests);
        assert_eq!(ours.total_amount.0.normalize(), theirs.total_amount.0.normalize());
    }
}
