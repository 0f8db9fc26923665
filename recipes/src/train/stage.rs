//! A stage under way: all that changes from step to step besides the weights.

use std::path::Path;

use anyhow::{Context, Result};
use candle::Var;
use engine::loss::{Aggregation, Kl, LossConfig, PolicyLoss};
use engine::text::Text;
use engine::{Activations, Model, Parameter, Variables};
use optim::{OptimConfig, Optimizer, Param};
use rand_philox::splitmix64;
use rewards::entropy_bonus::EntropyControl;
use rewards::{EntropyBonus, Problem, Rubric, TokenWeighting, WeightingConfig};

use crate::config::{self, Recipe, Stage};
use crate::console::Console;
use crate::data::Order;
use crate::machine;
use crate::memory::kept_bytes_a_row;
use crate::run_dir::{RunDir, Saved};
use crate::verifiers::{self, Waiting};

/// Opens a model from its folder.
pub(super) type Open<'a> = &'a dyn Fn(&Path) -> Result<(Model, Text)>;

/// What the stages of a run share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) model: &'a Model,
    pub(super) text: &'a Text,
    /// Trained on.
    pub(super) problems: &'a [Problem],
    pub(super) console: &'a Console,
    /// How a verifier that is away is waited for.
    pub(super) waiting: &'a Waiting,
}

/// A stage under way.
#[derive(Debug)]
pub(super) struct StageRun<'a> {
    pub(super) run: Shared<'a>,
    pub(super) stage: &'a Stage,
    pub(super) optimizer: Box<dyn Optimizer>,
    pub(super) weighting: Box<dyn TokenWeighting>,
    /// Chooses the factor of the entropy in the loss.
    pub(super) entropy_control: EntropyControl,
    /// What completions are worth; none in supervised stages.
    pub(super) rubric: Option<Rubric>,
    /// The weights at the stage's start, where the loss looks back at them.
    pub(super) reference: Option<Model>,
    pub(super) activations: Activations,
    pub(super) order: Order,
    /// Updates done.
    pub(super) updates: u64,
    /// Problems drawn.
    pub(super) drawn: u64,
}

impl<'a> StageRun<'a> {
    /// The stage at its start, or where `saved` left it.
    pub(super) fn begin(
        run: Shared<'a>,
        index: usize,
        saved: Option<&Saved>,
        run_dir: &RunDir,
        open: Open<'_>,
    ) -> Result<Self> {
        let stage = &run.recipe.stages[index];
        let (rubric, weighting, bonus) = match stage {
            Stage::Rl(config) => {
                let rubric = verifiers::build(&config.rewards, run.waiting)
                    .with_context(|| format!("stage.{index}.rewards"))?;
                (Some(rubric), &config.weighting, config.entropy_bonus)
            }
            Stage::Sft(_) => (None, &WeightingConfig::Uniform {}, EntropyBonus::Off {}),
        };
        let mut stage_run = Self {
            optimizer: optimizer(stage.descent().optim, run.model)?,
            reference: reference(run, index, saved.is_some(), run_dir, open)?,
            activations: activations(stage, run.model),
            order: Order::new(run.recipe.seed, run.problems.len(), run.recipe.data.shuffle),
            run,
            stage,
            weighting: weighting.build(),
            entropy_control: EntropyControl::new(bonus),
            rubric,
            updates: 0,
            drawn: 0,
        };
        if let Some(saved) = saved {
            stage_run
                .restore(saved)
                .with_context(|| format!("reading {}", saved.path.display()))?;
        }
        Ok(stage_run)
    }

    fn restore(&mut self, saved: &Saved) -> Result<()> {
        self.optimizer.restore(&saved.optimizer(self.run.model.device())?)?;
        self.weighting.restore(&saved.state.weighting)?;
        self.entropy_control.restore(&saved.state.entropy_control)?;
        self.updates = saved.state.updates;
        self.drawn = saved.state.drawn;
        Ok(())
    }

    /// A random word of the run and one of its steps.
    pub(super) fn seed_of(&self, step: u64) -> u64 {
        splitmix64(self.run.recipe.seed ^ splitmix64(step))
    }

    /// Temperature that log-probs are taken at.
    pub(super) fn temperature(&self) -> f64 {
        match self.stage {
            Stage::Rl(config) => config.rollout.temperature,
            Stage::Sft(_) => 1.0,
        }
    }
}

/// The loss of supervised stages: the mean negative log-likelihood of a token.
pub(crate) fn likelihood() -> LossConfig {
    LossConfig {
        policy: PolicyLoss::NegativeLogLikelihood {},
        aggregation: Aggregation::TokenMean {},
        kl: Kl::Off {},
        entropy_coefficient: 0.0,
    }
}

/// The trainable variables as the optimizer takes them; norms and biases do not decay.
pub(crate) fn params(variables: Variables<'_>) -> Vec<Param> {
    let param = |(parameter, variable): (&Parameter, &Var)| Param {
        name: parameter.name.clone(),
        var: variable.clone(),
        decay: variable.rank() > 1,
    };
    variables.trainable().map(param).collect()
}

/// An optimizer of the model's trainable parameters.
pub(crate) fn optimizer(config: &OptimConfig, model: &Model) -> optim::Result<Box<dyn Optimizer>> {
    model.update(|variables| config.build(&params(variables)))
}

/// The weights at the stage's start, where its loss needs them: saved once, so that a resumed stage
/// looks back at the same.
fn reference(
    run: Shared<'_>,
    index: usize,
    resumed: bool,
    run_dir: &RunDir,
    open: Open<'_>,
) -> Result<Option<Model>> {
    match &run.recipe.stages[index] {
        Stage::Rl(config) if config.loss.kl != (Kl::Off {}) => {}
        _ => return Ok(None),
    }
    let name = format!("reference/stage-{index}");
    if !resumed {
        run_dir.write_folder(&name, |folder| {
            Ok(engine::checkpoint::save(run.model, run.text, folder)?)
        })?;
    }
    let (model, _) = open(&run_dir.root().join(name))?;
    Ok(Some(model))
}

/// What the forward pass keeps: where the recipe leaves it open, everything if that takes no more
/// than half of the memory that is free.
fn activations(stage: &Stage, model: &Model) -> Activations {
    let descent = stage.descent();
    match descent.activations {
        config::Activations::Keep => Activations::Keep,
        config::Activations::Recompute => Activations::Recompute,
        config::Activations::Auto => {
            let kept = descent.micro_batch_tokens as u64 * kept_bytes_a_row(model.config());
            match machine::memory() {
                Some((_, free)) if kept > free / 2 => Activations::Recompute,
                _ => Activations::Keep,
            }
        }
    }
}
