//! Which checkpoints are kept, and what they are compared by.

use std::num::{NonZeroU64, NonZeroUsize};

use evals::evaluate::HELD_OUT;
use evals::pass_sizes;
use evals::run::Figure;
use schemars::JsonSchema;
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
    pub figure: Figure,
}

impl Default for BestBy {
    fn default() -> Self {
        Self { set: HELD_OUT.to_owned(), figure: Figure::Average }
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
    if matches!(by.figure, Figure::Truncated | Figure::Length) {
        let figure = by.figure;
        return Some(format!("checkpoint.best.figure: the largest `{figure}` is not the best"));
    }
    let sets = recipe.held_out_sets();
    let needs = if let Some(set) = sets.iter().find(|set| set.name == by.set) {
        let sizes: Vec<_> = pass_sizes(set.samples).skip(1).map(|k| k.to_string()).collect();
        let samples = set.samples;
        match by.figure {
            Figure::Pass(k) | Figure::Majority(k) if !pass_sizes(samples).any(|it| it == k) => {
                let sizes = if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") };
                format!("of `samples = {samples}` the values of K are {sizes}")
            }
            Figure::Greedy if !set.greedy => "it needs `greedy = true`".to_owned(),
            _ => return None,
        }
    } else {
        match by.figure {
            Figure::Average | Figure::Reward => return None,
            _ => "of one completion of each problem there are `avg` and `reward`".to_owned(),
        }
    };
    Some(format!("checkpoint.best.figure: the set `{}` has no {}: {needs}", by.set, by.figure))
}
