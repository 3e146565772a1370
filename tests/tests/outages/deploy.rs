//! A rolling deploy: older and newer drainers share a queue, whose newer entries the older ones
//! do not understand.

use std::time::{Duration, Instant};

use kv_runtime::{DeadLetterFilter, Drainer, Kv, KvModel};
use kv_tests::outside::stream_beside;
use kv_tests::pair::Pair;

use super::course::{WAIT_MAX, assert_no_letters, flush, until};

const TABLES: &str = "
    CREATE TABLE rides (id bigint PRIMARY KEY, note text NOT NULL, driver text);
    CREATE TABLE stops (id bigint PRIMARY KEY, note text NOT NULL);
";

/// Before the deploy.
mod older {
    use super::KvModel;

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "rides", queue = "trips")]
    pub(super) struct Ride {
        #[kv(id, fresh)]
        pub(super) id: i64,
        pub(super) note: String,
    }
}

/// After it: a column more, and a model more.
mod newer {
    use super::KvModel;

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "rides", queue = "trips")]
    pub(super) struct Ride {
        #[kv(id, fresh)]
        pub(super) id: i64,
        pub(super) note: String,
        pub(super) driver: Option<String>,
    }

    #[derive(Debug, Clone, PartialEq, KvModel)]
    #[kv(table = "stops", queue = "trips")]
    pub(super) struct Stop {
        #[kv(id, fresh)]
        pub(super) id: i64,
        pub(super) note: String,
    }
}

/// What only a newer drainer understands.
#[derive(Debug, Clone, Copy)]
enum Newer {
    Model,
    Column,
}

/// Both sides of the deploy, each a process's stores of its own.
struct Deploy {
    older: Pair,
    newer: Kv,
    rides: i64,
    news: i64,
}

impl Deploy {
    async fn begin(older: Pair) -> Self {
        older.sql(TABLES).await;
        let newer = Kv::connect(older.settings.clone()).await.expect("the servers are up");
        Self { older, newer, rides: 0, news: 0 }
    }

    fn spawn_older(&self) -> Drainer {
        self.older.kv.drainer().model::<older::Ride>().spawn()
    }

    fn spawn_newer(&self) -> Drainer {
        self.newer.drainer().model::<newer::Ride>().model::<newer::Stop>().spawn()
    }

    /// Writes that an older process makes.
    async fn write_rides(&mut self, count: i64) {
        let rides = self.older.kv.repository::<older::Ride>();
        for _ in 0..count {
            self.rides += 1;
            let ride = older::Ride { id: self.rides, note: "older".to_owned() };
            let _ = rides.create(&ride).await.expect("a new row");
        }
    }

    /// A write that a newer process makes; answers the stream that it is on.
    async fn write_new(&mut self, what: Newer) -> String {
        self.news += 1;
        let (id, note) = (-self.news, "newer".to_owned());
        let key = match what {
            Newer::Model => {
                let stops = self.newer.repository::<newer::Stop>();
                let _ = stops.create(&newer::Stop { id, note }).await.expect("a new row");
                stops.key(&id)
            }
            Newer::Column => {
                let rides = self.newer.repository::<newer::Ride>();
                let ride = newer::Ride { id, note, driver: Some("D".to_owned()) };
                let _ = rides.create(&ride).await.expect("a new row");
                rides.key(&id)
            }
        };
        stream_beside(&key.expect("a key"), "trips")
    }

    /// Of the rides after the first ones, those on this stream are not in PostgreSQL; the others
    /// are, or will be.
    async fn only_waits(&self, stream: &str, first: i64, drainer: &Drainer) {
        let rides = self.older.kv.repository::<older::Ride>();
        let is_beside = |id: &i64| stream_beside(&rides.key(id).expect("a key"), "trips") == stream;
        let waiting = (first + 1..=self.rides).filter(is_beside).count();
        assert!(waiting > 0, "some wait");
        let drained = self.rides - i64::try_from(waiting).expect("a few");
        let count = "SELECT count(*)::text AS value FROM rides WHERE id > 0";
        let started = Instant::now();
        while self.older.texts(count).await != [Some(drained.to_string())] {
            let status = drainer.status().await;
            assert!(started.elapsed() < WAIT_MAX, "the others do not go on: {status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// PostgreSQL has everything.
    async fn check(&self) {
        let counts = "
            SELECT (SELECT count(*) FROM rides WHERE id > 0) || ' ' ||
                (SELECT count(*) FROM rides WHERE driver = 'D') +
                (SELECT count(*) FROM stops) AS value";
        let expected = format!("{} {}", self.rides, self.news);
        assert_eq!(self.older.texts(counts).await, [Some(expected)]);
        assert_no_letters(&self.older).await;
    }
}

async fn waits_for_a_newer_drainer(what: Newer, told: &str) {
    let mut deploy = Deploy::begin(Pair::servers().await).await;
    let older = deploy.spawn_older();
    deploy.write_rides(20).await;
    flush(&older).await;
    // The older one alone.
    let stream = deploy.write_new(what).await;
    let is_told = |error: &Option<String>| error.as_ref().is_some_and(|error| error.contains(told));
    until(&older, |status| is_told(&status.last_error)).await;
    let first = deploy.rides;
    deploy.write_rides(40).await;
    deploy.only_waits(&stream, first, &older).await;
    let status = until(&older, |status| is_told(&status.last_error)).await;
    assert!(status.undrained > 1 && status.dead_letters == 0, "{status:?}");
    assert_no_letters(&deploy.older).await;

    // Both of them: the older one steps aside where it is in the way.
    let newer = deploy.spawn_newer();
    flush(&newer).await;
    deploy.check().await;
    for _ in 0..10 {
        deploy.write_rides(5).await;
        deploy.write_new(what).await;
    }
    flush(&newer).await;
    deploy.check().await;

    // The newer one alone.
    older.stop().await;
    deploy.write_new(what).await;
    let status = newer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters, status.last_error), (0, 0, None));
    deploy.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_an_unknown_model_waits_for_a_newer_drainer() {
    waits_for_a_newer_drainer(Newer::Model, "no model with key prefix `stop`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_with_an_unknown_column_waits_for_a_newer_drainer() {
    waits_for_a_newer_drainer(Newer::Column, "no column `driver`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_entry_is_refused_after_a_time_where_the_user_chose_so() {
    for what in [Newer::Model, Newer::Column] {
        let pair = Pair::servers().await;
        let wait = Some(Duration::from_millis(300));
        let pair = pair.with(|settings| settings.drain.refuse_unknown_after = wait).await;
        let mut deploy = Deploy::begin(pair).await;
        let older = deploy.spawn_older();
        deploy.write_new(what).await;
        deploy.write_rides(40).await;
        flush(&older).await;
        let status = older.shutdown().await.expect("everything can be drained");
        assert_eq!((status.undrained, status.dead_letters), (0, 1));
        let letters = deploy.older.kv.dead_letters().list(&DeadLetterFilter::new()).await;
        let letters = letters.expect("the letters");
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert!(letter.message.contains("is not understood"), "{}", letter.message);
        let rides = deploy.older.kv.durable_rows::<older::Ride>().await.expect("the rows");
        assert_eq!(rides.len(), 40);
    }
}
