//! What the crate promises, from outside.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, in helpers too")]
#![expect(clippy::float_cmp, reason = "what is compared exactly is exact by construction")]

mod advantages;
mod adversarial;
mod boxed;
mod comparison_budget;
mod comparison_properties;
mod comparisons;
mod corpora;
mod dynamics;
mod extraction;
mod formula_properties;
mod importance;
mod name_properties;
mod near_misses;
mod properties;
mod reading_properties;
mod redteam;
mod reward_kl;
mod rows;
mod settings;
mod vectors;
mod weighting;
mod weighting_properties;
mod whole_properties;

use rewards::{Attempt, Outcome, Problem, Verdict, Verifier};

fn problem(answer: &str) -> Problem {
    Problem {
        id: "1".into(),
        problem: "how many?".into(),
        answer: answer.into(),
        source: "test".into(),
        ..Problem::default()
    }
}

fn attempt<'a>(problem: &'a Problem, text: &'a str) -> Attempt<'a> {
    Attempt { problem, text, num_tokens: 12, max_tokens: 16, truncated: false }
}

/// The verdict of the `math` verifier on a boxed answer.
fn boxed(gold: &str, response: &str) -> Verdict {
    let problem = problem(gold);
    let verifier = rewards::verifier::Math::default();
    let mut verdicts = verifier.verify(&[attempt(&problem, response)]).unwrap();
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

fn outcome(gold: &str, response: &str) -> Outcome {
    boxed(gold, response).outcome.unwrap()
}

/// Time that this thread has run, where the system tells (Linux), so that neighbours do not count;
/// elsewhere the time of day.
fn running_time() -> std::time::Duration {
    static START: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), std::time::Duration::from_nanos)
}
