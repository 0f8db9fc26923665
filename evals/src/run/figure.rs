//! What evaluations are compared by.

use std::borrow::Cow;
use std::fmt;

use rewards::Outcome;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ProblemLine, Summary};
use crate::Estimate;
use crate::majority::majority_at;
use crate::pass::{pass_at, pass_sizes};

/// A figure that every problem has a value of, so that two evaluations can be compared by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Figure {
    /// Share of completions that are correct.
    Average,
    /// Chance that one of so many completions is correct.
    Pass(usize),
    /// Chance that the majority of so many is correct.
    Majority(usize),
    /// Whether the likeliest completion is correct.
    Greedy,
    /// Mean reward, all verifiers weighted.
    Reward,
    /// Share of completions that were cut at the limit.
    Truncated,
    /// Mean length, in tokens.
    Length,
}

impl Figure {
    /// All figures of problems with so many completions.
    pub fn all(samples: usize) -> Vec<Self> {
        let pass = pass_sizes(samples).skip(1).map(Self::Pass);
        let majority = pass_sizes(samples).skip(1).map(Self::Majority);
        std::iter::once(Self::Average)
            .chain(pass)
            .chain(majority)
            .chain([Self::Greedy, Self::Reward, Self::Truncated, Self::Length])
            .collect()
    }

    /// Its value of one problem; none where the problem could not be judged or has too few
    /// completions for it.
    pub fn of(self, line: &ProblemLine) -> Option<f64> {
        let n = line.n;
        if line.unjudged() || n == 0 {
            return None;
        }
        let mean = |sum: f64| Some(sum / n as f64);
        match self {
            Self::Average => mean(line.correct as f64),
            Self::Pass(k) => (1..=n).contains(&k).then(|| pass_at(n, line.correct, k)),
            Self::Majority(k) => (1..=n).contains(&k).then(|| {
                let right: Vec<_> = line.classes.iter().map(|class| class.correct).collect();
                majority_at(&line.votes, &right, k)
            }),
            Self::Greedy => {
                let is_correct = line.greedy.as_ref()?.outcome == Outcome::Correct;
                Some(f64::from(u8::from(is_correct)))
            }
            Self::Reward => mean(line.total_reward()),
            Self::Truncated => mean(line.truncated.iter().filter(|cut| **cut).count() as f64),
            Self::Length => mean(line.total_length()),
        }
    }

    /// Its mean over the problems of an evaluation; none where it was not measured, as where no
    /// problem could be judged.
    pub fn of_all(self, summary: &Summary) -> Option<f64> {
        if summary.problems == 0 {
            return None;
        }
        match self {
            // The majority of one is that one.
            Self::Average | Self::Majority(1) => Some(summary.accuracy),
            Self::Pass(k) => summary.pass.get(&k).map(|pass| pass.mean),
            Self::Majority(k) => summary.maj.get(&k).map(|maj| maj.mean),
            Self::Greedy => summary.greedy.map(|greedy| greedy.mean),
            Self::Reward => Some(summary.reward),
            Self::Truncated => Some(summary.truncated),
            Self::Length => Some(summary.length),
        }
    }

    /// The largest value of a problem; none if there is no bound.
    pub fn largest(self) -> Option<f64> {
        (!matches!(self, Self::Reward | Self::Length)).then_some(1.0)
    }

    /// What people call it.
    pub fn title(self) -> String {
        if self == Self::Average { "accuracy".to_owned() } else { self.to_string() }
    }

    /// The mean over problems of a figure from 0 to 1.
    pub(super) fn over(self, lines: &[&ProblemLine]) -> Estimate {
        let values: Vec<_> = lines.iter().filter_map(|line| self.of(line)).collect();
        Estimate::over_problems(&values, 1.0)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Average => f.write_str("avg"),
            Self::Pass(k) => write!(f, "pass@{k}"),
            Self::Majority(k) => write!(f, "maj@{k}"),
            Self::Greedy => f.write_str("greedy"),
            Self::Reward => f.write_str("reward"),
            Self::Truncated => f.write_str("truncated"),
            Self::Length => f.write_str("tokens"),
        }
    }
}

impl From<Figure> for String {
    fn from(figure: Figure) -> Self {
        figure.to_string()
    }
}

impl TryFrom<String> for Figure {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let k = |of: &str| of.parse().ok().filter(|k| *k > 0);
        let found = match word.split_once('@') {
            None => match word.as_str() {
                "avg" => Some(Self::Average),
                "greedy" => Some(Self::Greedy),
                "reward" => Some(Self::Reward),
                "truncated" => Some(Self::Truncated),
                "tokens" => Some(Self::Length),
                _ => None,
            },
            Some(("pass", of)) => k(of).map(Self::Pass),
            Some(("maj", of)) => k(of).map(Self::Majority),
            Some(_) => None,
        };
        found.ok_or_else(|| {
            format!(
                "expected \"avg\", \"pass@K\", \"maj@K\", \"greedy\" or \"reward\", got \"{word}\""
            )
        })
    }
}

impl JsonSchema for Figure {
    fn schema_name() -> Cow<'static, str> {
        "Figure".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_their_words_and_found_in_a_summary() {
        let estimate = |mean| Estimate { mean, low: 0.0, high: 1.0 };
        let summary = Summary {
            problems: 2,
            accuracy: 0.25,
            reward: 0.5,
            length: 7.0,
            truncated: 0.125,
            pass: [(1, estimate(0.25)), (2, estimate(0.75))].into(),
            maj: [(2, estimate(0.375))].into(),
            greedy: Some(estimate(1.0)),
            ..Summary::default()
        };
        for (word, value) in [
            ("avg", Some(0.25)),
            ("pass@1", Some(0.25)),
            ("pass@2", Some(0.75)),
            ("pass@4", None),
            ("maj@1", Some(0.25)),
            ("maj@2", Some(0.375)),
            ("greedy", Some(1.0)),
            ("reward", Some(0.5)),
            ("truncated", Some(0.125)),
            ("tokens", Some(7.0)),
        ] {
            let figure = Figure::try_from(word.to_owned()).unwrap();
            assert_eq!((figure.to_string().as_str(), figure.of_all(&summary)), (word, value));
            assert_eq!(figure.of_all(&Summary::default()), None, "nothing was judged");
        }
        for figure in Figure::all(8) {
            assert_eq!(Figure::try_from(figure.to_string()), Ok(figure));
        }
        for word in ["", "accuracy", "pass", "pass@", "pass@0", "maj@-1", "avg@4", "pass@1@2"] {
            let error = Figure::try_from(word.to_owned()).unwrap_err();
            assert!(error.contains("\"maj@K\"") && error.ends_with(&format!("got \"{word}\"")));
        }
    }
}
