//! Whatever is written and drained, and whenever: each question has the answer that a database
//! would give in which all writes are made at once.
//!
//! `OVERLAY_STEPS` is the number of steps, 1,500 by default, and `OVERLAY_SEED` repeats them.

use fastrand::Rng;
use kv_runtime::{Drainer, Repository};
use kv_tests::pair::Pair;

use super::many::Question;
use super::samples::{Sample, pool, spawn_drainer, with_samples};

const IDS: i64 = 30;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// A database in which all writes are made at once: everything is drained before it is asked.
struct Reference {
    samples: Repository<Sample>,
    drainer: Drainer,
}

impl Reference {
    async fn ask(&self, question: &Question) -> String {
        self.drainer.flush().await.expect("everything can be drained");
        question.of(true).ask(&self.samples).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_question_is_answered_as_by_one_database() {
    check(10_000).await;
}

/// Each question then waits for the drain, or lays hardly anything over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_question_is_answered_so_also_where_it_waits() {
    check(3).await;
}

async fn check(overlay_max: u64) {
    let seed = variable("OVERLAY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = variable("OVERLAY_STEPS").unwrap_or(1_500);
    let mut rng = Rng::with_seed(seed);
    let memory = Pair::memory().await;
    let reference =
        Reference { samples: with_samples(&memory).await, drainer: spawn_drainer(&memory) };
    let pair = Pair::servers().await.with(|settings| settings.overlay_max = overlay_max).await;
    let samples = with_samples(&pair).await;
    let must_be_drained = overlay_max < 100;
    let mut drainer = must_be_drained.then(|| spawn_drainer(&pair));
    for step in 0..steps {
        let id = rng.i64(1..=IDS);
        match rng.u8(..16) {
            0..=4 => write(&[&samples, &reference.samples], id, &mut rng).await,
            5 if !must_be_drained => match drainer.take() {
                None => drainer = Some(spawn_drainer(&pair)),
                Some(drainer) => drainer.stop().await,
            },
            6 => {
                if let Some(drainer) = &drainer {
                    drainer.flush().await.expect("everything can be drained");
                }
            }
            // A dirty row stays.
            7 | 8 => drop(samples.invalidate(&id).await),
            // What comes back to Redis has the texts of PostgreSQL.
            9 => drop(samples.find_by_id(&id).await.expect("an answer")),
            _ => {
                let question = Question::random(&mut rng);
                let expected = reference.ask(&question).await;
                let answer = question.of(false).ask(&samples).await;
                assert_eq!(
                    answer, expected,
                    "step {step}: {question:#?}\nOVERLAY_SEED={seed} repeats it"
                );
            }
        }
    }
}

/// The same random write everywhere.
async fn write(all: &[&Repository<Sample>], id: i64, rng: &mut Rng) {
    let row = Sample::random(rng, id);
    let patch = Sample::patch()
        .number(Some(pool::one(rng, &pool::NUMBERS)))
        .text(None)
        .timestamptz(row.timestamptz)
        .flag(row.flag);
    let choice = rng.u8(..8);
    for samples in all {
        let is_there = samples.exists(&id).await.expect("an answer");
        match choice {
            0..=2 => drop(samples.upsert(&row).await.expect("a row")),
            3 | 4 if is_there => drop(samples.update(&id, patch.clone()).await.expect("a row")),
            5 if is_there => drop(samples.delete(&id).await.expect("a row")),
            _ if !is_there => drop(samples.create(&row).await.expect("a new row")),
            _ => {}
        }
    }
}
