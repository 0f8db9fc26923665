//! Who judges attempts, and what a judgement is.

mod countdown;
mod format;
mod length;
mod math;
mod overlong;
mod pattern;
mod repetition;

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

pub use countdown::Countdown;
pub use format::{Format, Rule, ThinkTags};
pub use length::{Aim, Length};
pub use math::{Explanation, Math};
pub use overlong::Overlong;
pub use pattern::Pattern;
pub use repetition::Repetition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// What became of an attempt's answer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The answer is the gold answer. The only outcome that earns.
    Correct,
    /// There is an answer, and it is not the gold answer or cannot be read.
    Wrong,
    /// There is no answer where it is looked for for one.
    NoAnswer,
    /// The answer begins and never ends.
    Unclosed,
    /// The answer is larger than the verifier looks at.
    Limit,
    /// The verifier's bounds cannot tell whether the answer is the gold answer.
    Undecided,
    /// The gold answer cannot be read: nothing is known about the attempt.
    GoldUnparseable,
    /// The verifier failed on this attempt: nothing is known about it.
    Error,
}

impl Outcome {
    /// Every outcome, in the order of their declaration.
    pub const ALL: [Self; 8] = [
        Self::Correct,
        Self::Wrong,
        Self::NoAnswer,
        Self::Unclosed,
        Self::Limit,
        Self::Undecided,
        Self::GoldUnparseable,
        Self::Error,
    ];

    /// Its name in records and metric keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Wrong => "wrong",
            Self::NoAnswer => "no-answer",
            Self::Unclosed => "unclosed",
            Self::Limit => "limit",
            Self::Undecided => "undecided",
            Self::GoldUnparseable => "gold-unparseable",
            Self::Error => "error",
        }
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A completion of a problem, as verifiers see it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What was asked.
    pub problem: &'a Problem,
    /// The completion, without the prompt and without special tokens.
    pub text: &'a str,
    /// Length of the completion, in tokens, the stop token included.
    pub num_tokens: usize,
    /// How many tokens the completion was allowed.
    pub max_tokens: usize,
    /// The completion was cut off before it ended by itself.
    pub truncated: bool,
}

/// What one verifier says about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Before the verifier's weight in its rubric.
    pub reward: f64,
    /// What became of the answer; `None` from a verifier that does not look at answers.
    pub outcome: Option<Outcome>,
    /// Whether the verifier gave no outcome, so that the sign of the reward stands for one.
    pub by_sign: bool,
    /// The answer that was found, as written.
    pub answer: Option<String>,
    /// Further numbers about the attempt, by name. They do not count in the reward.
    pub metrics: Vec<(String, f64)>,
}

impl Verdict {
    /// A verdict on something else than the answer.
    pub fn form(reward: f64) -> Self {
        Self { reward, outcome: None, by_sign: false, answer: None, metrics: Vec::new() }
    }
}

/// A verifier cannot be reached or does not keep to its protocol; nothing is known of the attempts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("verifier `{verifier}` {reason}")]
pub struct Unavailable {
    /// Its name.
    pub verifier: String,
    /// What it did, as it goes after its name, and the next act.
    pub reason: String,
}

/// Judges attempts by one criterion.
pub trait Verifier: Debug + Send + Sync {
    /// Its name, unique in its rubric: the key of its part in records and metrics.
    fn name(&self) -> &str;

    /// Whether its verdicts carry the outcome. A rubric has exactly one such verifier.
    fn judges_answers(&self) -> bool {
        false
    }

    /// What its verdicts depend on, for records of scores: its name, and the settings that change
    /// one.
    fn criterion(&self) -> String {
        self.name().to_owned()
    }

    /// Whether two answers, as verdicts have them, are the same answer: what a majority is counted
    /// by.
    fn is_same_answer(&self, one: &str, other: &str) -> bool {
        one.trim() == other.trim()
    }

    /// One verdict for each attempt, in order. Text that cannot be read is an outcome, not an
    /// error.
    ///
    /// # Errors
    ///
    /// Fails when a verifier outside this process is away; the ones of this crate never fail.
    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable>;
}

/// One verifier in several rubrics.
impl<V: Verifier + ?Sized> Verifier for Arc<V> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn judges_answers(&self) -> bool {
        (**self).judges_answers()
    }

    fn criterion(&self) -> String {
        (**self).criterion()
    }

    fn is_same_answer(&self, one: &str, other: &str) -> bool {
        (**self).is_same_answer(one, other)
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        (**self).verify(attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_records() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}
