use super::{Attempt, Outcome, Unavailable, Verdict, Verifier};
use crate::equivalent::is_readable;
use crate::{Equivalence, Extracted, Marker, Policy, equivalent, extract};

/// Earns 1 if the boxed answer is the gold answer, and 0 otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub struct Boxed {
    /// How the answer is found and compared.
    pub policy: Policy,
    /// Where the answer stands.
    pub marker: Marker,
}

impl Boxed {
    fn outcome(self, gold: &str, extracted: Extracted<'_>) -> Outcome {
        // first of all: siblings that found no answer have the same unreadable gold
        if !is_readable(gold, self.policy) {
            return Outcome::GoldUnparseable;
        }
        match extracted {
            Extracted::NoAnswer => Outcome::NoAnswer,
            Extracted::Unclosed => Outcome::Unclosed,
            Extracted::Limit => Outcome::Limit,
            Extracted::Answer(answer) => match equivalent(gold, answer, self.policy) {
                Equivalence::Equal => Outcome::Correct,
                Equivalence::Different => Outcome::Wrong,
                Equivalence::Undecided => Outcome::Undecided,
                Equivalence::Limit => Outcome::Limit,
                Equivalence::GoldUnparseable => Outcome::GoldUnparseable,
            },
        }
    }
}

impl Verifier for Boxed {
    fn name(&self) -> &'static str {
        "boxed"
    }

    fn judges_answers(&self) -> bool {
        true
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let verdict = |attempt: &Attempt<'_>| {
            let extracted = extract(attempt.text, self.policy, self.marker);
            let outcome = self.outcome(&attempt.problem.answer, extracted);
            let answer = match extracted {
                Extracted::Answer(answer) => Some(answer.to_owned()),
                _ => None,
            };
            let reward = if outcome == Outcome::Correct { 1.0 } else { 0.0 };
            Verdict { reward, outcome: Some(outcome), answer }
        };
        Ok(attempts.iter().map(verdict).collect())
    }
}
