//! Which checkpoints are kept, and the figures by which they are compared.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use evals::evaluate::HELD_OUT;
use evals::pass_sizes;
use evals::run::Summary;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Recipe;

/// How often a checkpoint is saved, and which are kept. The end of the run is always saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Steps between checkpoints.
    ///
    /// Names: verl `save_freq`, HF `save_steps`, prime-rl `ckpt.interval`.
    pub every: NonZeroU64,
    /// Number of the newest checkpoints that are kept. Older ones are removed.
    ///
    /// Names: verl `max_actor_ckpt_to_keep`, HF `save_total_limit`, prime-rl `ckpt.keep_last`.
    pub keep: NonZeroUsize,
    /// By what the best checkpoint is chosen, which is kept in addition to the newest, or `"off"`.
    /// An evaluation after a step that is better than all before it saves one at once.
    ///
    /// Names: HF `load_best_model_at_end`.
    #[serde(with = "settings::off")]
    #[schemars(with = "settings::OrOff<BestBy>")]
    pub best: Option<BestBy>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            every: NonZeroU64::new(50).expect("50 is not zero"),
            keep: NonZeroUsize::new(2).expect("2 is not zero"),
            best: Some(BestBy::default()),
        }
    }
}

/// What the best checkpoint is chosen by. Of equal ones it is the earliest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "BestCheckpoint")]
pub struct BestBy {
    /// Name of the held-out set, or `NAME-greedy` for the most likely completions of one with
    /// `greedy = true`. Without `data.held_out`, `held-out` stands for the first of `eval.set`;
    /// without any set, no best checkpoint is kept.
    pub set: String,
    /// The figure that is compared: `"avg"` (mean accuracy), `"pass@K"`, `"maj@K"`, `"greedy"` or
    /// `"reward"`. The largest is the best.
    ///
    /// Names: HF `metric_for_best_model`.
    pub figure: BestFigure,
}

impl Default for BestBy {
    fn default() -> Self {
        Self { set: HELD_OUT.to_owned(), figure: BestFigure::Average }
    }
}

impl Recipe {
    /// What the best checkpoint is chosen by; nothing where none is kept: because the recipe says
    /// so, or because the set is not there or is evaluated after no step. Where there is no
    /// `data.held_out`, `held-out` stands for the first set.
    pub fn best_by(&self) -> Option<BestBy> {
        let BestBy { set, figure } = self.checkpoint.best.as_ref()?;
        let sets = self.held_out_sets();
        let own = sets.iter().find(|one| one.name == set || one.is_greedily(set));
        let (name, own) = match own {
            Some(own) => (set.as_str(), own),
            None => sets.first().filter(|_| set == HELD_OUT).map(|first| (first.name, first))?,
        };
        let is_evaluated = self.eval.at_end || own.every.is_some();
        is_evaluated.then(|| BestBy { set: name.to_owned(), figure: *figure })
    }
}

/// What is wrong with the figure by which checkpoints are compared.
pub(super) fn figure_problem(recipe: &Recipe) -> Option<String> {
    let by = recipe.best_by()?;
    let sets = recipe.held_out_sets();
    let needs = if let Some(set) = sets.iter().find(|set| set.name == by.set) {
        let sizes: Vec<_> = pass_sizes(set.samples).skip(1).map(|k| k.to_string()).collect();
        let samples = set.samples;
        match by.figure {
            BestFigure::Pass(k) | BestFigure::Majority(k)
                if !pass_sizes(samples).any(|it| it == k) =>
            {
                let sizes = if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") };
                format!("of `samples = {samples}` the values of K are {sizes}")
            }
            BestFigure::Greedy if !set.greedy => "it needs `greedy = true`".to_owned(),
            _ => return None,
        }
    } else {
        match by.figure {
            BestFigure::Average | BestFigure::Reward => return None,
            _ => "of one completion of each problem there are `avg` and `reward`".to_owned(),
        }
    };
    Some(format!("checkpoint.best.figure: the set `{}` has no {}: {needs}", by.set, by.figure))
}

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
