//! `evals/step-NNNNNN/NAME.json`: the figures of an evaluation.

use std::collections::BTreeMap;

use rewards::Outcome;
use rollout::Sampling;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sources::told_apart;
use crate::{Estimate, Log, Metrics, Result};

/// Completions that are shown.
pub(super) const SHOWN: usize = 8;

/// What an evaluation found: the figures of its lines, and what they depend on. Intervals are 95 %,
/// over problems.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Version of this file.
    pub format: u32,
    /// Name of the set of problems.
    pub set: String,
    /// Steps that the policy was trained for.
    pub step: u64,
    /// Name of the settings that it began with.
    pub protocol: String,
    /// Name of the prompt style.
    pub prompt: String,
    /// What the outcomes depend on: the verifier, its strictness and marker.
    pub criterion: String,
    /// How completions were drawn.
    pub sampling: Sampling,
    /// Completions drawn of each problem.
    pub samples: usize,
    /// SHA-256 of the rows of the set, before a limit.
    pub data_sha256: String,
    /// Problems that were to be judged.
    pub asked: usize,
    /// Problems that were; those that could not be are left out of every figure.
    pub problems: usize,
    /// Problems left out: their gold answer cannot be read, or a verifier failed on a completion.
    pub unjudged: usize,
    /// Share of completions that are correct: avg@n.
    pub accuracy: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// pass@k: the chance that one of k completions is correct.
    pub pass: BTreeMap<usize, Estimate>,
    /// maj@k: the chance that the majority of k completions is correct.
    pub maj: BTreeMap<usize, Estimate>,
    /// Share of likeliest completions that are correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy: Option<Estimate>,
    /// Correct completions of a problem with different texts.
    pub distinct_correct: Estimate,
    /// Mean reward, all verifiers weighted.
    pub reward: f64,
    /// Its interval, by Student's t; none for fewer than two problems, or without spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_interval: Option<[f64; 2]>,
    /// Mean length of completions, in tokens.
    pub length: f64,
    /// Its interval, by Student's t; none for fewer than two problems, or without spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_interval: Option<[f64; 2]>,
    /// Share of completions cut at the limit.
    pub truncated: f64,
    /// Share of completions with each outcome that occurred.
    pub outcomes: Vec<(Outcome, f64)>,
    /// Accuracy by source, where there are 2 to 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, Part>,
    /// Accuracy by level, where the data says so, of up to 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_level: BTreeMap<String, Part>,
    /// Problems whose text is in the training data that was given; nothing where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contaminated: Option<Vec<String>>,
    /// A few completions, the first of the first problems; none where texts are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Excerpt>,
}

/// The accuracy on a part of the problems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Problems of it that could be judged; without one the accuracy is 0.
    pub problems: usize,
    /// Share of their completions that are correct.
    #[serde(flatten)]
    pub accuracy: Estimate,
}

/// A completion for people to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Excerpt {
    /// The problem.
    pub problem: String,
    /// Its answer.
    pub gold: String,
    /// The completion.
    pub text: String,
    /// Its outcome.
    pub outcome: Outcome,
}

impl Summary {
    /// Share of completions in which the verifier found no answer.
    pub fn no_answer(&self) -> f64 {
        let mut found = self.outcomes.iter().filter(|(outcome, _)| *outcome == Outcome::NoAnswer);
        found.next().map_or(0.0, |(_, share)| *share)
    }

    /// The figures as metrics of their step; nothing where no problem could be judged.
    ///
    /// # Errors
    ///
    /// Fails when the set's name holds a slash, so that its keys are not declared.
    pub fn metrics(&self) -> Result<Metrics> {
        let mut metrics = Metrics::new(Log::Metrics);
        if self.problems == 0 {
            return Ok(metrics);
        }
        let (set, samples) = (&self.set, self.samples);
        metrics.set(format!("val-core/{set}/acc/mean@{samples}"), self.accuracy)?;
        metrics.set(format!("val-aux/{set}/acc/low"), self.low)?;
        metrics.set(format!("val-aux/{set}/acc/high"), self.high)?;
        let pass = self.pass.iter().map(|(k, pass)| (format!("pass@{k}"), *pass));
        let distinct = [("distinct_correct".to_owned(), self.distinct_correct)];
        let maj = self.maj.iter().map(|(k, maj)| (format!("maj@{k}"), *maj));
        let greedy = self.greedy.map(|greedy| ("greedy".to_owned(), greedy));
        for (name, Estimate { mean, low, high }) in pass.chain(distinct).chain(maj).chain(greedy) {
            metrics.set(format!("val-aux/{set}/{name}"), mean)?;
            metrics.set(format!("val-aux/{set}/{name}/low"), low)?;
            metrics.set(format!("val-aux/{set}/{name}/high"), high)?;
        }
        metrics.set(format!("val-aux/{set}/reward/mean"), self.reward)?;
        metrics.set(format!("val-aux/{set}/response_length/mean"), self.length)?;
        metrics.set(format!("val-aux/{set}/response_length/clip_ratio"), self.truncated)?;
        for (name, interval) in
            [("reward", self.reward_interval), ("response_length", self.length_interval)]
        {
            for (end, value) in ["low", "high"].into_iter().zip(interval.into_iter().flatten()) {
                metrics.set(format!("val-aux/{set}/{name}/{end}"), value)?;
            }
        }
        for (source, key) in told_apart(self.by_source.keys().map(String::as_str)) {
            let Part { problems, accuracy: Estimate { mean, low, high } } = self.by_source[source];
            metrics.set(format!("val-aux/{set}/{key}/problems"), problems as f64)?;
            if problems > 0 {
                metrics.set(format!("val-core/{set}/{key}/acc/mean@{samples}"), mean)?;
                metrics.set(format!("val-aux/{set}/{key}/acc/low"), low)?;
                metrics.set(format!("val-aux/{set}/{key}/acc/high"), high)?;
            }
        }
        for (outcome, share) in &self.outcomes {
            metrics.set(format!("val-aux/{set}/outcome/{outcome}"), *share)?;
        }
        Ok(metrics)
    }
}

#[cfg(test)]
mod tests {
    use rollout::Finish;

    use super::*;
    use crate::attempt::GradedGroup;
    use crate::evaluate::tests::{group, lines};

    fn of(groups: &[GradedGroup]) -> Summary {
        let head = Summary { set: "mixed".into(), samples: 2, ..Summary::default() };
        head.with_figures(&lines(groups))
    }

    #[test]
    fn problems_that_cannot_be_judged_are_in_no_figure() {
        let found = of(&[
            group(Finish::Stop, &[Outcome::Correct, Outcome::Wrong]),
            group(Finish::Stop, &[Outcome::Correct, Outcome::Correct]),
            group(Finish::Stop, &[Outcome::GoldUnparseable; 2]),
            group(Finish::Stop, &[Outcome::Correct, Outcome::Error]),
        ]);
        assert_eq!((found.problems, found.unjudged), (2, 2));
        assert!((found.accuracy - 0.75).abs() < 1e-12);
        let accuracy = Estimate::over_problems(&[0.5, 1.0], 1.0);
        assert_eq!((found.low, found.high), (accuracy.low, accuracy.high));
        assert_eq!(found.pass[&1], accuracy);
        assert_eq!(found.pass[&2], Estimate::over_problems(&[1.0, 1.0], 1.0));
        assert_eq!(found.distinct_correct, Estimate::over_problems(&[1.0, 1.0], 2.0));
        assert_eq!(found.outcomes, [(Outcome::Correct, 0.75), (Outcome::Wrong, 0.25)]);
        assert_eq!(found.shown.len(), 2);
    }

    #[test]
    fn a_set_of_which_nothing_is_known_has_no_figure() {
        let none = group(Finish::Stop, &[Outcome::GoldUnparseable]);
        for groups in [&[][..], &[none]] {
            let found = of(groups);
            assert_eq!((found.problems, found.unjudged), (0, groups.len()));
            for figure in [found.accuracy, found.reward, found.length, found.truncated] {
                assert!(figure.to_bits() == 0, "it is 0, and not -0: {figure:?}");
            }
            assert_eq!(found.metrics().unwrap().entries(), []);
        }
    }

    #[test]
    fn every_metric_of_an_evaluation_is_declared() {
        for outcome in Outcome::ALL {
            let mut one = group(Finish::Stop, &[outcome; 4]);
            one.greedy = one.completions.first().cloned();
            let metrics = of(&[one]).metrics().unwrap();
            let judged = !matches!(outcome, Outcome::GoldUnparseable | Outcome::Error);
            for key in ["pass@4", "maj@2", "maj@4/low", "greedy", "greedy/high"] {
                assert_eq!(metrics.get(&format!("val-aux/mixed/{key}")).is_some(), judged, "{key}");
            }
        }
    }

    #[test]
    fn several_sources_have_an_accuracy_each() {
        use Outcome::{Correct, Error, Wrong};
        let from = |source: &str, outcomes: &[Outcome]| {
            let mut group = group(Finish::Stop, outcomes);
            source.clone_into(&mut group.problem.source);
            group
        };
        let groups = [
            from("math", &[Correct, Wrong]),
            from("gsm8k", &[Wrong, Wrong]),
            from("math", &[Correct, Correct]),
            from("math", &[Correct, Error]),
            from("aime/24", &[Error, Error]),
        ];
        let found = of(&groups);
        let said =
            |(source, part): (&String, &Part)| (source.clone(), part.problems, part.accuracy.mean);
        let said: Vec<_> = found.by_source.iter().map(said).collect();
        let expected = [("aime/24", 0, 0.0), ("gsm8k", 1, 0.0), ("math", 2, 0.75)];
        assert_eq!(said, expected.map(|(name, count, share)| (name.to_owned(), count, share)));
        let math = Estimate::over_problems(&[0.5, 1.0], 1.0);
        assert_eq!(found.by_source["math"].accuracy, math);
        let metrics = found.metrics().unwrap();
        let value = |key: &str| metrics.get(key);
        assert_eq!(value("val-core/mixed/math/acc/mean@2"), Some(0.75));
        assert_eq!(value("val-core/mixed/gsm8k/acc/mean@2"), Some(0.0));
        assert_eq!(value("val-aux/mixed/math/acc/high"), Some(math.high));
        assert_eq!(value("val-core/mixed/aime-24/acc/mean@2"), None, "nothing was judged");
        assert_eq!(value("val-aux/mixed/aime-24/problems"), Some(0.0));
        // One source says what the set says.
        let one = of(&groups[2..4]);
        assert!(one.by_source.is_empty());
        assert!(serde_json::to_value(&one).unwrap().get("by_source").is_none());
    }
}
