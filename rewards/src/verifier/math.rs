mod explain;

pub use explain::Explanation;

use super::{Attempt, Outcome, Unavailable, Verdict, Verifier};
use crate::equivalent::is_readable;
use crate::{Equivalence, Extracted, Marker, Strictness, equivalent, extract};

/// Earns 1 if the marked answer is the gold answer, and 0 otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Math {
    /// How the answer is found and compared.
    pub strictness: Strictness,
    /// Where the answer stands.
    pub marker: Marker,
}

impl Math {
    /// Judges a whole response; the second is the answer that was found in it, as written.
    pub fn judge_response<'a>(self, gold: &str, response: &'a str) -> (Outcome, Option<&'a str>) {
        let extracted = extract(response, self.strictness, self.marker);
        // first of all: siblings that found no answer have the same unreadable gold
        let otherwise = |outcome| {
            if is_readable(gold, self.strictness) { outcome } else { Outcome::GoldUnparseable }
        };
        match extracted {
            Extracted::NoAnswer => (otherwise(Outcome::NoAnswer), None),
            Extracted::Unclosed => (otherwise(Outcome::Unclosed), None),
            Extracted::Limit => (otherwise(Outcome::Limit), None),
            Extracted::Answer(answer) => (self.judge_answer(gold, answer), Some(answer)),
        }
    }

    /// Judges a bare answer, without the response around it.
    pub fn judge_answer(self, gold: &str, answer: &str) -> Outcome {
        match equivalent(gold, answer, self.strictness) {
            Equivalence::Equal => Outcome::Correct,
            Equivalence::Different => Outcome::Wrong,
            Equivalence::Undecided => Outcome::Undecided,
            Equivalence::Limit => Outcome::Limit,
            Equivalence::GoldUnparseable => Outcome::GoldUnparseable,
        }
    }
}

impl Verifier for Math {
    fn name(&self) -> &'static str {
        "math"
    }

    fn judges_answers(&self) -> bool {
        true
    }

    fn criterion(&self) -> String {
        format!("math, strictness {}, marker {}", self.strictness.name(), self.marker.name())
    }

    fn is_same_answer(&self, one: &str, other: &str) -> bool {
        equivalent(one, other, self.strictness) == Equivalence::Equal
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let verdict = |attempt: &Attempt<'_>| {
            let (outcome, answer) = self.judge_response(&attempt.problem.answer, attempt.text);
            let reward = if outcome == Outcome::Correct { 1.0 } else { 0.0 };
            let answer = answer.map(str::to_owned);
            Verdict { outcome: Some(outcome), answer, ..Verdict::form(reward) }
        };
        Ok(attempts.iter().map(verdict).collect())
    }
}
