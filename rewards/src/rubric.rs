//! What an attempt earns in all: verifiers and their weights.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verifier::{Aim, Boxed, Countdown, Format, Length, Overlong, Rule};
use crate::{Attempt, Error, Marker, Outcome, Policy, Result, Unavailable, Verdict, Verifier};

/// The verifiers of a recipe. Exactly one of them judges answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RubricConfig(pub Vec<VerifierConfig>);

/// One verifier and its weight in the sum of rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum VerifierConfig {
    /// 1 if the marked answer is the gold answer, else 0. Judges answers.
    Boxed {
        /// Factor of its reward.
        #[serde(default = "one")]
        weight: f64,
        /// How the answer is found and compared.
        #[serde(default)]
        policy: Policy,
        /// How the prompt asks for the answer to be marked.
        #[serde(default)]
        marker: Marker,
    },
    /// 1 if the last attempt is a chain of legal steps to the target, else 0. Judges answers to
    /// problems of the form `3 5 7> 12`.
    Countdown {
        /// Factor of its reward.
        #[serde(default = "one")]
        weight: f64,
    },
    /// From -1 to 0, by the length of the completion.
    Length {
        /// Factor of its reward.
        #[serde(default = "one")]
        weight: f64,
        /// What length earns most: `"short"` or `{ target = TOKENS }`.
        aim: Aim,
    },
    /// From -1 to 0, by how much of the buffer before the token limit is used (arXiv 2503.14476).
    Overlong {
        /// Factor of its reward; the paper's penalty factor, there 1.
        #[serde(default = "one")]
        weight: f64,
        /// Stretch in which the punishment grows, in tokens; 4096 of 20480 in the paper.
        buffer: NonZeroUsize,
    },
    /// From 0 to 1: the share of the rules that hold.
    Format {
        /// Factor of its reward.
        #[serde(default = "one")]
        weight: f64,
        /// What is demanded of the completion.
        require: Vec<Rule>,
    },
}

fn one() -> f64 {
    1.0
}

impl Default for RubricConfig {
    /// The boxed answer alone.
    fn default() -> Self {
        let (policy, marker) = (Policy::default(), Marker::default());
        Self(vec![VerifierConfig::Boxed { weight: 1.0, policy, marker }])
    }
}

impl VerifierConfig {
    /// The verifier and its weight.
    pub fn build(&self) -> Weighted {
        let (weight, verifier): (_, Box<dyn Verifier>) = match *self {
            Self::Boxed { weight, policy, marker } => (weight, Box::new(Boxed { policy, marker })),
            Self::Countdown { weight } => (weight, Box::new(Countdown)),
            Self::Length { weight, aim } => (weight, Box::new(Length { aim })),
            Self::Overlong { weight, buffer } => (weight, Box::new(Overlong { buffer })),
            Self::Format { weight, ref require } => {
                (weight, Box::new(Format { require: require.clone() }))
            }
        };
        Weighted { weight, verifier }
    }

    fn problem(&self) -> Option<&'static str> {
        let Self::Format { require, .. } = self else { return None };
        let mut sorted = require.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if require.is_empty() {
            Some("require: expected at least one rule, got none")
        } else if sorted.len() < require.len() {
            Some("require: expected every rule once, got one twice")
        } else {
            None
        }
    }
}

impl RubricConfig {
    /// Everything that is wrong, each with its key, from the verifier's index on.
    pub fn problems(&self) -> Vec<String> {
        let own = self.0.iter().enumerate().filter_map(|(index, verifier)| {
            verifier.problem().map(|problem| format!("[{index}].{problem}"))
        });
        own.chain(problems(&self.parts())).collect()
    }

    /// # Errors
    ///
    /// Fails with all of [`problems`](Self::problems), if there are any.
    pub fn build(&self) -> Result<Rubric> {
        let problems = self.problems();
        if problems.is_empty() { Rubric::new(self.parts()) } else { Err(Error::Settings(problems)) }
    }

    fn parts(&self) -> Vec<Weighted> {
        self.0.iter().map(VerifierConfig::build).collect()
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

/// What a rubric says about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Weighted sum of the verifiers' rewards. Means nothing where the outcome is
    /// [`GoldUnparseable`](Outcome::GoldUnparseable) or [`Error`](Outcome::Error).
    pub reward: f64,
    /// From the verifier that judges answers; [`Error`](Outcome::Error) if any verifier had one.
    pub outcome: Outcome,
    /// The answer that was judged, as written.
    pub answer: Option<String>,
    /// Every verifier's name and reward before its weight, in the order of the recipe.
    pub parts: Vec<(String, f64)>,
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
        let problems = problems(&parts);
        if problems.is_empty() { Ok(Self { parts }) } else { Err(Error::Settings(problems)) }
    }

    /// Judges attempts, of any problems, in order.
    ///
    /// # Errors
    ///
    /// Fails when a verifier is unavailable or does not return one verdict for each attempt.
    pub fn judge(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judged>, Unavailable> {
        let unjudged = Judged { reward: 0.0, outcome: Outcome::Error, answer: None, parts: vec![] };
        let mut judged = vec![unjudged; attempts.len()];
        let mut failed = vec![false; attempts.len()];
        for Weighted { weight, verifier } in &self.parts {
            let verdicts = verifier.verify(attempts)?;
            if verdicts.len() != attempts.len() {
                return Err(Unavailable {
                    verifier: verifier.name().to_owned(),
                    reason: format!(
                        "expected {} verdicts, one for each attempt, got {}",
                        attempts.len(),
                        verdicts.len()
                    ),
                });
            }
            for (verdict, (judged, failed)) in
                verdicts.into_iter().zip(judged.iter_mut().zip(&mut failed))
            {
                let Verdict { reward, outcome, answer } = verdict;
                judged.reward += weight * reward;
                judged.parts.push((verifier.name().to_owned(), reward));
                *failed |= outcome == Some(Outcome::Error) || !reward.is_finite();
                if verifier.judges_answers() {
                    judged.outcome = outcome.unwrap_or(Outcome::Error);
                    judged.answer = answer;
                }
            }
        }
        for (judged, failed) in judged.iter_mut().zip(failed) {
            if failed {
                judged.outcome = Outcome::Error;
            }
        }
        Ok(judged)
    }
}

fn problems(parts: &[Weighted]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut judges = Vec::new();
    for (index, Weighted { weight, verifier }) in parts.iter().enumerate() {
        let name = verifier.name();
        if parts[..index].iter().any(|earlier| earlier.verifier.name() == name) {
            problems.push(format!("[{index}]: expected every verifier once, got `{name}` again"));
        }
        if !weight.is_finite() || *weight < 0.0 {
            problems.push(format!("[{index}].weight: expected 0 or more, got {weight}"));
        }
        if verifier.judges_answers() {
            judges.push(name);
            if *weight == 0.0 {
                problems.push(format!(
                    "[{index}].weight: expected more than 0, since `{name}` judges answers, got 0"
                ));
            }
        }
    }
    if judges.len() != 1 {
        let got = if judges.is_empty() { "none".to_owned() } else { judges.join(", ") };
        problems.push(format!("expected exactly one verifier that judges answers, got {got}"));
    }
    problems
}
