use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use super::{Attempt, Unavailable, Verdict, Verifier};

/// Earns from -1 to 0: the share of a completion's n-grams that stood in it before, negated.
///
/// `d / t - 1`, where `t` counts the stretches of [`words`](Self::words) words, one starting at
/// every word, and `d` the different ones among them; 0 for a completion of fewer words. Words are
/// parted by white space and compared in lower case.
///
/// Source: `get_repetition_penalty_reward` of open-r1, after the penalty of arXiv 2502.03373,
/// section 4.3; the weight of the verifier is its `max_penalty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repetition {
    /// Length of the n-grams, in words; at most [`MOST_WORDS`](Self::MOST_WORDS).
    pub words: NonZeroUsize,
}

impl Repetition {
    /// Longest n-grams; they bound the work on a completion.
    pub const MOST_WORDS: usize = 64;

    /// The reward of a text.
    pub fn penalty(self, text: &str) -> f64 {
        let mut numbers = HashMap::new();
        let mut number = |word: &str| {
            let next = numbers.len();
            *numbers.entry(word.to_lowercase()).or_insert(next)
        };
        let words: Vec<usize> = text.split_whitespace().map(&mut number).collect();
        let stretches = words.windows(self.words.get().min(Self::MOST_WORDS));
        let all = stretches.len();
        if all == 0 {
            return 0.0;
        }
        let different: HashSet<_> = stretches.collect();
        different.len() as f64 / all as f64 - 1.0
    }
}

impl Verifier for Repetition {
    fn name(&self) -> &'static str {
        "repetition"
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let verdict = |attempt: &Attempt<'_>| Verdict::form(self.penalty(attempt.text));
        Ok(attempts.iter().map(verdict).collect())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these rewards are exact in binary")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: usize, text: &str, expected: f64) {
        let penalty = Repetition { words: words.try_into().unwrap() }.penalty(text);
        assert_eq!(penalty, expected, "{text}");
        assert!(penalty != 0.0 || penalty.is_sign_positive());
    }

    #[test]
    fn what_stood_before_costs() {
        check(1, "a b c d", 0.0);
        check(1, "a a a a", -0.75);
        check(1, "a  b\nA B", -0.5);
        check(2, "so we are so we", -0.25);
        check(3, "a b a b a b", -0.5);
        check(2, "ähm Ähm ÄHM", -0.5);
    }

    #[test]
    fn what_is_shorter_than_an_n_gram_costs_nothing() {
        check(3, "", 0.0);
        check(3, "a a", 0.0);
        check(3, "a a a", 0.0);
        check(1, " ", 0.0);
    }
}
