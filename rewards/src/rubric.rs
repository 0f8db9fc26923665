//! What an attempt earns in all: verifiers and their weights.

mod described;

use std::num::NonZeroUsize;

pub use described::{Described, problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verifier::{
    Aim, Countdown, Format, Length, Math, Overlong, Pattern, Repetition, Rule, ThinkTags,
};
use crate::{Attempt, Error, Marker, Outcome, Result, Strictness, Unavailable, Verdict, Verifier};

/// The verifiers of a recipe. Exactly one of them judges answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RubricConfig(pub Vec<VerifierConfig>);

/// One verifier and its weight in the sum of rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum VerifierConfig {
    /// 1 if the marked answer is the gold answer, else 0. Judges answers.
    Math {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// How strictly the answer is found and compared.
        #[serde(default)]
        strictness: Strictness,
        /// How the answer has to be marked. The prompt has to ask for it in this form.
        #[serde(default)]
        marker: Marker,
    },
    /// `math` with the marker of GSM8K's solutions, a line `#### 42`. Judges answers.
    Gsm8k {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// How strictly the answer is found and compared.
        #[serde(default)]
        strictness: Strictness,
    },
    /// 1 if the last attempt is a chain of legal steps to the target, else 0. Judges answers to
    /// problems of the form `3 5 7> 12`.
    Countdown {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
    },
    /// From -1 to 0, by the length of the completion.
    Length {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// Which length earns most: `"short"` or `{ target = TOKENS }`.
        aim: Aim,
    },
    /// From -1 to 0, by how much of the buffer before the token limit is used (arXiv 2503.14476,
    /// where its weight is 1).
    ///
    /// Names: verl `overlong_buffer`.
    Overlong {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// Number of tokens before the limit over which the punishment grows; 4096 of 20480 in the
        /// paper.
        ///
        /// Names: verl `overlong_buffer.len`.
        buffer: NonZeroUsize,
    },
    /// From 0 to 1: the share of the rules that hold.
    Format {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// The rules that the completion is held to.
        require: Vec<Rule>,
    },
    /// 1 if the completion starts with its only `<think>` and has a `</think>`, else 0: the rule of
    /// that name in `format`, with a weight of its own.
    ThinkTags {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
    },
    /// From -1 to 0: the share of the n-grams of words that stood in the completion before, negated
    /// (open-r1, after arXiv 2502.03373). Its `max_penalty` is the weight here, negated.
    ///
    /// Names: open-r1 `repetition_penalty`, TRL `get_repetition_penalty_reward`.
    Repetition {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// Length of the n-grams, in words, at most 64.
        ///
        /// Names: open-r1 `ngram_size`, TRL `ngram_size`.
        #[serde(default = "three")]
        words: NonZeroUsize,
    },
    /// 1 if a regular expression is found in the completion, else 0.
    Regex {
        /// Factor of its reward.
        ///
        /// Names: TRL `reward_weights`.
        #[serde(default = "one")]
        weight: f64,
        /// Name of its part of the reward, in records and metrics. It tells several from each
        /// other.
        #[serde(default = "regex")]
        name: String,
        /// The expression, in the syntax of the crate `regex`: linear time, no look-around.
        pattern: String,
    },
}

settings::tagged!(VerifierConfig);

fn one() -> f64 {
    1.0
}

fn three() -> NonZeroUsize {
    NonZeroUsize::new(3).expect("3 is not zero")
}

fn regex() -> String {
    "regex".to_owned()
}

impl Default for RubricConfig {
    /// The boxed answer alone.
    fn default() -> Self {
        let Math { strictness, marker } = Math::default();
        Self(vec![VerifierConfig::Math { weight: 1.0, strictness, marker }])
    }
}

impl VerifierConfig {
    /// The verifier and its weight.
    ///
    /// # Errors
    ///
    /// Fails on a setting that is wrong by itself, such as a pattern that is no regular expression.
    pub fn build(&self) -> Result<Weighted> {
        if let Some(problem) = self.problem() {
            return Err(Error::Settings(vec![problem]));
        }
        let verifier: Box<dyn Verifier> = match *self {
            Self::Math { strictness, marker, .. } => Box::new(Math { strictness, marker }),
            Self::Gsm8k { strictness, .. } => Box::new(Math { strictness, marker: Marker::Hashes }),
            Self::Countdown { .. } => Box::new(Countdown),
            Self::Length { aim, .. } => Box::new(Length { aim }),
            Self::Overlong { buffer, .. } => Box::new(Overlong { buffer }),
            Self::Format { ref require, .. } => Box::new(Format { require: require.clone() }),
            Self::ThinkTags { .. } => Box::new(ThinkTags),
            Self::Repetition { words, .. } => Box::new(Repetition { words }),
            Self::Regex { ref name, ref pattern, .. } => Box::new(
                Pattern::new(name, pattern).map_err(|reason| Error::Settings(vec![reason]))?,
            ),
        };
        Ok(Weighted { weight: self.weight(), verifier })
    }

    /// Factor of its reward.
    pub fn weight(&self) -> f64 {
        match *self {
            Self::Math { weight, .. }
            | Self::Gsm8k { weight, .. }
            | Self::Countdown { weight }
            | Self::Length { weight, .. }
            | Self::Overlong { weight, .. }
            | Self::Format { weight, .. }
            | Self::ThinkTags { weight }
            | Self::Repetition { weight, .. }
            | Self::Regex { weight, .. } => weight,
        }
    }

    /// What the verifiers of a rubric are compared by.
    pub fn described(&self) -> Described<'_> {
        let name = match self {
            Self::Math { .. } | Self::Gsm8k { .. } => "math",
            Self::Countdown { .. } => "countdown",
            Self::Length { .. } => "length",
            Self::Overlong { .. } => "overlong",
            Self::Format { .. } => "format",
            Self::ThinkTags { .. } => "think-tags",
            Self::Repetition { .. } => "repetition",
            Self::Regex { name, .. } => name,
        };
        let judges_answers =
            matches!(self, Self::Math { .. } | Self::Gsm8k { .. } | Self::Countdown { .. });
        Described { name, weight: self.weight(), judges_answers, outside: false }
    }

    /// What is wrong with its own settings, with the key.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Format { require, .. } => {
                let mut sorted = require.clone();
                sorted.sort_unstable();
                sorted.dedup();
                if require.is_empty() {
                    Some("require: expected at least one rule, got none".into())
                } else if sorted.len() < require.len() {
                    Some("require: expected every rule once, got one twice".into())
                } else {
                    None
                }
            }
            Self::Repetition { words, .. } => {
                let most = Repetition::MOST_WORDS;
                (words.get() > most).then(|| format!("words: expected at most {most}, got {words}"))
            }
            Self::Regex { name, pattern, .. } => Pattern::new(name, pattern).err().map(|reason| {
                format!("pattern: expected a regular expression, got {pattern:?}: {reason}")
            }),
            _ => None,
        }
    }
}

impl RubricConfig {
    /// Everything that is wrong, each with its key, from the verifier's index on.
    pub fn problems(&self) -> Vec<String> {
        let own = self.0.iter().enumerate().filter_map(|(index, verifier)| {
            verifier.problem().map(|problem| format!("{index}.{problem}"))
        });
        let described: Vec<_> = self.0.iter().map(VerifierConfig::described).collect();
        own.chain(problems(&described)).collect()
    }

    /// # Errors
    ///
    /// Fails with all of [`problems`](Self::problems), if there are any.
    pub fn build(&self) -> Result<Rubric> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(Error::Settings(problems));
        }
        Rubric::new(self.0.iter().map(VerifierConfig::build).collect::<Result<_>>()?)
    }
}

/// A verifier as it counts in a rubric.
#[derive(Debug)]
pub struct Weighted {
    /// Factor of its reward: finite, not negative.
    pub weight: f64,
    /// Who judges.
    pub verifier: Box<dyn Verifier>,
}

impl Weighted {
    /// What the verifiers of a rubric are compared by.
    pub fn described(&self) -> Described<'_> {
        let Self { weight, verifier } = self;
        let judges_answers = verifier.judges_answers();
        Described { name: verifier.name(), weight: *weight, judges_answers, outside: false }
    }
}

/// What a rubric says about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Weighted sum of the verifiers' rewards. Means nothing where the outcome is
    /// [`GoldUnparseable`](Outcome::GoldUnparseable) or [`Error`](Outcome::Error).
    pub reward: f64,
    /// From the verifier that judges answers; [`Error`](Outcome::Error) if any verifier had one.
    pub outcome: Outcome,
    /// Whether the sign of the reward of that verifier stands for an outcome.
    pub by_sign: bool,
    /// The answer that was judged, as written.
    pub answer: Option<String>,
    /// Every verifier's name and reward before its weight, in the order of the recipe.
    pub parts: Vec<(String, f64)>,
    /// Further numbers of the verifiers, each named `VERIFIER/NAME`.
    pub metrics: Vec<(String, f64)>,
}

/// Verifiers with their weights, exactly one of which judges answers.
#[derive(Debug)]
pub struct Rubric {
    parts: Vec<Weighted>,
}

impl Rubric {
    /// A rubric of verifiers from anywhere: those of [`VerifierConfig::build`] and those of others.
    ///
    /// # Errors
    ///
    /// Fails, naming all, when not exactly one verifier judges answers, two have one name, or a
    /// weight is negative or not finite, or 0 where answers are judged.
    pub fn new(parts: Vec<Weighted>) -> Result<Self> {
        let problems = problems(&parts.iter().map(Weighted::described).collect::<Vec<_>>());
        if problems.is_empty() { Ok(Self { parts }) } else { Err(Error::Settings(problems)) }
    }

    /// What the outcomes depend on, for records of scores.
    pub fn criterion(&self) -> String {
        self.judge_of_answers().criterion()
    }

    /// The name of the verifier that judges answers.
    pub fn judge_name(&self) -> &str {
        self.judge_of_answers().name()
    }

    /// Whether two answers of [`Judged`] are the same answer.
    pub fn is_same_answer(&self, one: &str, other: &str) -> bool {
        self.judge_of_answers().is_same_answer(one, other)
    }

    fn judge_of_answers(&self) -> &dyn Verifier {
        let judge = self.parts.iter().find(|part| part.verifier.judges_answers());
        &*judge.expect("a rubric has a verifier that judges answers").verifier
    }

    /// Judges attempts, of any problems, in order.
    ///
    /// # Errors
    ///
    /// Fails when a verifier is unavailable or does not return one verdict for each attempt.
    pub fn judge(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judged>, Unavailable> {
        let unjudged = Judged {
            reward: 0.0,
            outcome: Outcome::Error,
            by_sign: false,
            answer: None,
            parts: Vec::new(),
            metrics: Vec::new(),
        };
        let mut judged = vec![unjudged; attempts.len()];
        let mut failed = vec![false; attempts.len()];
        for Weighted { weight, verifier } in &self.parts {
            let verdicts = verifier.verify(attempts)?;
            if verdicts.len() != attempts.len() {
                return Err(Unavailable {
                    verifier: verifier.name().to_owned(),
                    reason: format!(
                        "gave {} verdicts, expected {}, one for each attempt",
                        verdicts.len(),
                        attempts.len()
                    ),
                });
            }
            for (verdict, (judged, failed)) in
                verdicts.into_iter().zip(judged.iter_mut().zip(&mut failed))
            {
                let Verdict { reward, outcome, by_sign, answer, metrics } = verdict;
                let name = verifier.name();
                judged.reward += weight * reward;
                judged.parts.push((name.to_owned(), reward));
                let own = metrics.into_iter().map(|(own, value)| (format!("{name}/{own}"), value));
                judged.metrics.extend(own);
                *failed |= outcome == Some(Outcome::Error) || !reward.is_finite();
                if verifier.judges_answers() {
                    judged.outcome = outcome.unwrap_or(Outcome::Error);
                    judged.by_sign = by_sign;
                    judged.answer = answer;
                }
            }
        }
        for (judged, failed) in judged.iter_mut().zip(failed) {
            // Rewards that are finite each may have a sum that is not.
            if failed || !judged.reward.is_finite() {
                judged.outcome = Outcome::Error;
            }
        }
        Ok(judged)
    }
}
