//! Promise 3, shown by force: a real drainer is killed at every step of a batch and at random,
//! under load, and still every acknowledged write takes effect in PostgreSQL once.
//!
//! `KILL_SEED` repeats a run as far as its random choices go.

use std::time::{Duration, Instant};

use kv_tests::audit;
use kv_tests::drain_process::DrainCommand;
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;
use kv_tests::writers::{Ledger, Writers};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drain_process");

/// The steps of a batch, in order.
const FAILPOINTS: [&str; 7] = [
    "after_read",
    "after_begin",
    "after_move_offsets",
    "after_statement",
    "before_commit",
    "after_commit",
    "after_settle",
];
const RANDOM_KILLS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_or_repeated_when_drainers_are_killed() {
    let seed = match std::env::var("KILL_SEED") {
        Ok(seed) => seed.parse().expect("`KILL_SEED` is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("KILL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| {
        // Small, so that there are many batches to be killed in.
        settings.drain.batch_entries = 40;
        // What a killed one had a claim on is soon free.
        settings.drain.lease = Duration::from_millis(200);
    });
    let mut pair = pair.await;
    pair.sql(audit::TABLES).await;
    let writers = Writers::start(&pair, &mut random).await;
    let started = Instant::now();

    let mut kills = 0;
    for point in FAILPOINTS {
        // The first time is right after the take-over; with one worker nothing else goes on.
        for (times, workers) in [(1, 1), (2, 4), (random.usize(3..20), 2)] {
            pair.settings.drain.workers = workers;
            DrainCommand::new(PROGRAM, &pair).dies_at(point, times).spawn().dies_by_itself().await;
            kills += 1;
        }
    }
    for _ in 0..RANDOM_KILLS {
        pair.settings.drain.workers = random.usize(1..=4);
        let mut victim = DrainCommand::new(PROGRAM, &pair).spawn();
        // Every sixth dies while it starts.
        if random.u8(0..6) > 0 {
            victim.drains().await;
        }
        tokio::time::sleep(Duration::from_micros(random.u64(0..350_000))).await;
        victim.kill().await;
        kills += 1;
    }
    let ledger = writers.stop().await;
    let killed_in = started.elapsed();
    // The last one ends by itself, after it has drained everything.
    pair.settings.drain.workers = 4;
    DrainCommand::new(PROGRAM, &pair).spawn().ends().await;
    println!(
        "{kills} kills and {} acknowledged writes in {killed_in:.1?}, {} changes in PostgreSQL",
        ledger.writes,
        audit::check(&pair, &ledger).await,
    );

    ledger.check_rows(&pair).await;
    offsets_are_at_the_newest_entries(&pair).await;
    nothing_is_left_pinned(&pair, &ledger).await;
}

async fn offsets_are_at_the_newest_entries(pair: &Pair) {
    let redis = RedisView::of(pair).await;
    let mut newest = Vec::new();
    for stream in redis.streams().await {
        let last: Vec<(String, Vec<(String, String)>)> =
            redis.ask(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]).await;
        newest.extend(last.into_iter().map(|(entry, _)| entry));
    }
    let sql = "SELECT position AS value FROM kv_offsets WHERE position <> '0-0'";
    let mut offsets: Vec<String> = pair.texts(sql).await.into_iter().flatten().collect();
    newest.sort();
    offsets.sort();
    assert_eq!(offsets, newest);
}

async fn nothing_is_left_pinned(pair: &Pair, ledger: &Ledger) {
    let redis = RedisView::of(pair).await;
    assert_eq!(redis.undrained().await, 0, "all is drained, and told to be");
    let accounts = pair.kv.repository::<Account>();
    let keys = redis.row_keys().await;
    let mut rows = 0;
    for key in keys {
        let ttl_ms = redis.ttl_ms(&key).await;
        assert!(ttl_ms > 0, "{key} is left with the time to live {ttl_ms}");
        let id = accounts.parse_key(&key).expect("the key of an account");
        assert!(ledger.rows[&id].is_some(), "{key} is left of a deleted row");
        rows += 1;
    }
    assert!(rows > 0, "the rows are still in Redis");
    for (id, expected) in &ledger.rows {
        assert_eq!(&accounts.find_by_id(id).await.expect("an answer"), expected, "account {id}");
    }
}
