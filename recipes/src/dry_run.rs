//! What a run would do and need, computed and not measured.
//!
//! It needs neither the weights nor the problems: what is not here is taken from `dry_run/sizes.rs`
//! or said to be unknown; `dry_run/display.rs` puts it into words.

mod display;
mod sizes;

use anyhow::Result;
use engine::ModelConfig;

use crate::config::{DTypeChoice, DeviceChoice, Recipe, StageSettings, StepPlan};
use crate::memory::{F32, MemoryEstimate};

pub use sizes::Sizes;

/// Bytes that a generated token leaves in the record: metrics aside, its id and three scores as
/// text, and its characters.
const RECORDED_TOKEN: u64 = 48;

/// Prompt lengths of the problems, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prompts {
    /// Shortest.
    pub min: usize,
    /// Mean.
    pub mean: f64,
    /// Longest.
    pub max: usize,
}

impl Prompts {
    /// Of prompts of these lengths; all 0 of none.
    pub fn of(lengths: &[usize]) -> Self {
        let sum: usize = lengths.iter().sum();
        Self {
            min: lengths.iter().min().copied().unwrap_or_default(),
            mean: sum as f64 / lengths.len().max(1) as f64,
            max: lengths.iter().max().copied().unwrap_or_default(),
        }
    }
}

/// What is known of the problems.
#[derive(Debug, Clone, PartialEq)]
pub enum ProblemStats {
    /// They are here.
    Problems {
        /// Trained on.
        train: usize,
        /// Judged by, in each held-out set.
        held_out: Vec<usize>,
        /// Lengths of the prompts that are trained on; unknown without a tokenizer.
        prompts: Option<Prompts>,
    },
    /// They are not.
    Nothing {
        /// What was looked for, and where.
        missing: String,
    },
}

/// What one stage would do.
#[derive(Debug, Clone, PartialEq)]
pub struct StagePlan {
    /// Its kind.
    pub kind: &'static str,
    /// Steps.
    pub steps: u64,
    /// Problems per step.
    pub batch: u64,
    /// Completions sampled per problem; none where solutions are learnt.
    pub group_size: Option<u64>,
    /// Completions trained on.
    pub samples: u64,
    /// Completions sampled, at most, where more are drawn than trained on.
    pub most_drawn: Option<u64>,
    /// Passes over the training problems, counting what is trained on; unknown without them.
    pub epochs: Option<f64>,
    /// Optimizer updates.
    pub updates: u64,
    /// Tokens trained on, at most: completions at their limit. Unknown for solutions.
    pub most_tokens: Option<u64>,
    /// Memory.
    pub memory: MemoryEstimate,
}

/// What a whole run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    recipe: Recipe,
    parameters: u64,
    sizes: String,
    notes: Vec<String>,
    threads: usize,
    problems: ProblemStats,
    /// The prompt of a problem; none without a tokenizer or a problem.
    prompt: Option<String>,
    /// The stages.
    pub stages: Vec<StagePlan>,
    /// Evaluations.
    pub evaluations: u64,
    /// One checkpoint, in bytes.
    pub checkpoint: u64,
    /// Everything on disk, in bytes, at most.
    pub disk: u64,
}

impl Plan {
    /// The plan of a recipe for its model.
    ///
    /// # Errors
    ///
    /// Fails when the sizes of the model make no model.
    pub fn new(
        recipe: &Recipe,
        model: &Sizes,
        problems: ProblemStats,
        threads: usize,
    ) -> Result<Self> {
        let parameters = model.parameters();
        let limit = recipe.data.max_prompt_tokens.get();
        let (train, prompt) = match &problems {
            ProblemStats::Problems { train, prompts, .. } => {
                (Some(*train), prompts.map_or(limit, |prompts| prompts.max))
            }
            ProblemStats::Nothing { .. } => (None, limit),
        };
        let stages: Vec<_> = recipe
            .stages
            .iter()
            .map(|stage| {
                let stage = stage.settings();
                let mut plan = stage_plan(stage, &model.config, parameters, train, prompt as u64);
                if plan.group_size.is_some() && rounds(recipe) {
                    plan.memory.round_cache(parameters);
                }
                plan
            })
            .collect();
        let checkpoint = 3 * parameters * F32;
        let kept =
            recipe.checkpoint.keep.get() as u64 + u64::from(recipe.checkpoint.best.is_some());
        let saves: u64 = recipe.total_steps() / recipe.checkpoint.every + stages.len() as u64;
        // One more than is kept lies there while it is written.
        let checkpoints = checkpoint * (kept.min(saves) + 1);
        let references = stages.iter().filter(|stage| stage.memory.reference > 0).count() as u64
            * parameters
            * F32;
        let recorded: u64 = stages.iter().filter_map(|stage| recorded(recipe, stage)).sum();
        Ok(Self {
            parameters,
            sizes: model.source.clone(),
            notes: model.notes.clone(),
            threads,
            problems,
            prompt: None,
            evaluations: evaluations(recipe),
            checkpoint,
            disk: checkpoints + references + recorded,
            stages,
            recipe: recipe.clone(),
        })
    }

    /// The plan with a prompt as an example.
    #[must_use]
    pub fn with_prompt(self, prompt: Option<String>) -> Self {
        Self { prompt, ..self }
    }

    /// Whether the plan was made without the problems.
    pub fn lacks_problems(&self) -> bool {
        matches!(self.problems, ProblemStats::Nothing { .. })
    }
}

fn stage_plan(
    stage: &dyn StageSettings,
    model: &ModelConfig,
    parameters: u64,
    train: Option<usize>,
    prompt: u64,
) -> StagePlan {
    let (steps, batch) = (stage.steps(), stage.batch() as u64);
    let StepPlan { sampled, memory } = stage.plan(prompt);
    let group_size = sampled.map(|sampled| sampled.group_size);
    let samples = steps * batch * group_size.unwrap_or(1);
    StagePlan {
        kind: stage.kind(),
        steps,
        batch,
        group_size,
        samples,
        most_drawn: sampled.and_then(|sampled| Some(steps * sampled.most_drawn?)),
        epochs: train.map(|train| (steps * batch) as f64 / train as f64),
        updates: stage.total_updates(),
        most_tokens: sampled.map(|sampled| sampled.max_new_tokens * samples),
        memory: memory.estimate(model, parameters),
    }
}

/// Whether sampling multiplies by a rounded copy of the weights.
fn rounds(recipe: &Recipe) -> bool {
    (recipe.model.device, recipe.model.dtype) == (DeviceChoice::Cpu, DTypeChoice::Bf16)
}

/// Evaluations of a run: before its first step, every so often, and at the end of each stage.
fn evaluations(recipe: &Recipe) -> u64 {
    let every = recipe.eval.every.map_or(u64::MAX, u64::from);
    let ends = recipe.stages.iter().scan(0, |end, stage| {
        *end += stage.settings().steps();
        Some(*end)
    });
    1 + recipe.total_steps() / every + ends.filter(|end| !end.is_multiple_of(every)).count() as u64
}

/// Bytes of the record's completions and tokens.
fn recorded(recipe: &Recipe, stage: &StagePlan) -> Option<u64> {
    let tokens = stage.most_tokens?;
    let share = |every: u64| if every == 0 { 0.0 } else { 1.0 / every as f64 };
    let texts = share(recipe.record.completions_every) / 8.0;
    Some(
        (tokens as f64 * RECORDED_TOKEN as f64 * (texts + share(recipe.record.tokens_every)))
            as u64,
    )
}
