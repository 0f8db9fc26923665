//! Figures by which checkpoints are compared.

use std::borrow::Cow;
use std::fmt;

use evals::run::Summary;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A figure of an evaluation by which checkpoints are compared; written as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BestFigure {
    /// Share of completions that are correct.
    Average,
    /// Chance that one of so many completions is correct.
    Pass(usize),
    /// Chance that the majority of so many completions is correct.
    Majority(usize),
    /// Share of problems that the likeliest completion solves.
    Greedy,
    /// Mean reward.
    Reward,
}

impl BestFigure {
    /// What people call it.
    pub fn title(self) -> String {
        if self == Self::Average { "accuracy".to_owned() } else { self.to_string() }
    }

    /// Its value; none where it was not measured, as where no problem could be judged.
    pub fn of(self, summary: &Summary) -> Option<f64> {
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
        }
    }
}

impl fmt::Display for BestFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Average => f.write_str("avg"),
            Self::Pass(k) => write!(f, "pass@{k}"),
            Self::Majority(k) => write!(f, "maj@{k}"),
            Self::Greedy => f.write_str("greedy"),
            Self::Reward => f.write_str("reward"),
        }
    }
}

impl From<BestFigure> for String {
    fn from(figure: BestFigure) -> Self {
        figure.to_string()
    }
}

impl TryFrom<String> for BestFigure {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let k = |of: &str| of.parse().ok().filter(|k| *k > 0);
        let found = match word.split_once('@') {
            None => match word.as_str() {
                "avg" => Some(Self::Average),
                "greedy" => Some(Self::Greedy),
                "reward" => Some(Self::Reward),
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

impl JsonSchema for BestFigure {
    fn schema_name() -> Cow<'static, str> {
        "BestFigure".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use evals::Estimate;

    use super::*;

    #[test]
    fn figures_are_read_by_their_words_and_found_in_a_summary() {
        let estimate = |mean| Estimate { mean, low: 0.0, high: 1.0 };
        let summary = Summary {
            problems: 2,
            accuracy: 0.25,
            reward: 0.5,
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
        ] {
            let figure = BestFigure::try_from(word.to_owned()).unwrap();
            assert_eq!((figure.to_string().as_str(), figure.of(&summary)), (word, value));
            assert_eq!(figure.of(&Summary::default()), None, "nothing was judged");
        }
        for word in ["", "accuracy", "pass", "pass@", "pass@0", "maj@-1", "avg@4", "pass@1@2"] {
            let error = BestFigure::try_from(word.to_owned()).unwrap_err();
            assert!(error.contains("\"maj@K\"") && error.ends_with(&format!("got \"{word}\"")));
        }
    }
}
