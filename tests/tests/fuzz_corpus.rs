//! What the fuzzer has kept goes through its targets again, and so does what comes of it by a
//! few random changes.
//!
//! `FUZZ_SEED` repeats the changes of a run.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use fastrand::Rng;
use kv_tests::fuzzing::{TARGETS, Target};

/// How many changed inputs each target gets.
const MUTATIONS: usize = 4_000;

#[test]
fn entries_of_any_bytes() {
    check("entry");
}

#[test]
fn keys_of_any_bytes() {
    check("key");
}

#[test]
fn replies_of_any_bytes() {
    check("reply");
}

#[test]
fn rows_of_any_bytes() {
    check("row");
}

fn check(name: &str) {
    let target = TARGETS.iter().find(|(target, _)| *target == name).expect("a target").1;
    let corpus = corpus(name);
    assert!(corpus.len() > 20, "the corpus of `{name}` is gone");
    for input in &corpus {
        feed(target, input, name);
    }
    let seed = std::env::var("FUZZ_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("FUZZ_SEED={seed} repeats it");
    let mut random = Rng::with_seed(seed);
    for _ in 0..MUTATIONS {
        feed(target, &mutated(&corpus, &mut random), name);
    }
}

fn feed(target: Target, input: &[u8], name: &str) {
    if catch_unwind(|| target(input)).is_err() {
        panic!("target `{name}` fails on b\"{}\"", input.escape_ascii());
    }
}

/// The inputs that were kept, in an order that does not depend on the file system.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(folder).expect("a corpus");
    let mut inputs: Vec<Vec<u8>> =
        files.map(|file| fs::read(file.expect("a file").path()).expect("an input")).collect();
    inputs.sort();
    inputs
}

/// An input with one to four changes: bytes replaced, put in, left out, or a piece of another.
fn mutated(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut input = random.choice(corpus).expect("an input").clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=input.len());
        let end = random.usize(at..=input.len()).min(at + 8);
        match random.u8(..4) {
            0 => drop(input.drain(at..end)),
            1 => input[at..end].fill_with(|| random.u8(..)),
            2 => input.insert(at, *random.choice(b"\0\n\"\\-+0179:{}%[]eZ\xff").expect("a byte")),
            _ => {
                let other = random.choice(corpus).expect("an input");
                let from = random.usize(..=other.len());
                input.splice(at..end, other[from..].iter().take(32).copied());
            }
        }
    }
    input
}
