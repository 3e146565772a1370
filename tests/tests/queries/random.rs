//! Random questions about random rows have the same answers in memory and from PostgreSQL, half
//! of the rows being dirty.
//!
//! `QUERY_CASES` is the number of questions, 10,000 by default, and `QUERY_SEED` repeats them.

use fastrand::Rng;
use kv_runtime::Repository;
use kv_tests::pair::Pair;
use tokio::task::JoinSet;

use super::many::Question;
use super::samples::{Sample, drain, with_samples};

/// How many questions are asked about the same rows.
const QUESTIONS: usize = 250;
const ROWS: i64 = 50;
/// How many questions are asked at a time.
const AT_ONCE: usize = 8;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_questions_have_the_same_answers_on_both_pairs() {
    let seed = variable("QUERY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let cases = variable("QUERY_CASES").unwrap_or(10_000);
    let cases = usize::try_from(cases).expect("a number of cases");
    let mut rng = Rng::with_seed(seed);
    let (memory, servers) = (Pair::memory().await, Pair::servers().await);
    let pairs = [(with_samples(&memory).await, &memory), (with_samples(&servers).await, &servers)];
    let mut asked = 0;
    while asked < cases {
        for round in 0..2 {
            let rows: Vec<Sample> = (1..=ROWS).map(|id| Sample::random(&mut rng, id)).collect();
            let mut choices = rng.clone();
            for (samples, pair) in &pairs {
                choices = rng.clone();
                change(samples, &rows, &mut choices).await;
                if round == 0 {
                    drain(pair).await;
                }
            }
            rng = choices;
        }
        let count = QUESTIONS.min(cases - asked);
        let questions: Vec<Question> = (0..count).map(|_| Question::random(&mut rng)).collect();
        asked += count;
        let [(memory, _), (servers, _)] = &pairs;
        let mut tasks = JoinSet::new();
        for questions in questions.chunks(count.div_ceil(AT_ONCE)) {
            let (memory, servers) = (memory.clone(), servers.clone());
            tasks.spawn(compare(questions.to_vec(), memory, servers, seed));
        }
        let _: Vec<()> = tasks.join_all().await;
    }
}

async fn compare(
    questions: Vec<Question>,
    memory: Repository<Sample>,
    servers: Repository<Sample>,
    seed: u64,
) {
    for question in questions {
        let expected = question.ask(&memory).await;
        let answer = question.ask(&servers).await;
        assert_eq!(answer, expected, "{question:#?}\nQUERY_SEED={seed} repeats it");
    }
}

/// Writes or deletes half of the rows.
async fn change(samples: &Repository<Sample>, rows: &[Sample], choices: &mut Rng) {
    for row in rows {
        match choices.u8(..8) {
            0..=2 => drop(samples.upsert(row).await.expect("a row")),
            3 if samples.exists(&row.id).await.expect("an answer") => {
                drop(samples.delete(&row.id).await.expect("a row"));
            }
            _ => {}
        }
    }
}
