//! What a run would do and need, computed and not measured.
//!
//! It needs neither the weights nor the problems: what is not here is taken from `dry_run/sizes.rs`
//! or said to be unknown; `dry_run/display.rs` puts it into words.

mod display;
mod sizes;

use anyhow::Result;
use engine::ModelConfig;

use crate::config::{DTypeChoice, DeviceChoice, Recipe, SetSettings, StageSettings, StepPlan};
use crate::memory::{F32, MemoryEstimate};

pub use sizes::Sizes;

/// Bytes that a generated token leaves among texts: its characters.
const TEXT_OF_TOKEN: u64 = 6;
/// Bytes that it leaves among tokens: its id, three scores and its weight as text.
const NUMBERS_OF_TOKEN: u64 = 60;
/// Bytes of a completion in a file besides those of its tokens: its verdict and field names.
const COMPLETION: u64 = 256;
/// Bytes of a problem besides its completions and its prompt.
const PROBLEM: u64 = 128;

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
    /// Passes of a step over its batch.
    pub passes: usize,
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
    /// Texts, tokens and evaluations of the record, in bytes, at most; evaluations only where the
    /// problems are known.
    pub recorded: u64,
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
        let kept = recipe.checkpoint.keep.get() as u64 + u64::from(recipe.best_by().is_some());
        let saves: u64 = recipe.total_steps() / recipe.checkpoint.every + stages.len() as u64;
        // One more than is kept lies there while it is written.
        let checkpoints = checkpoint * (kept.min(saves) + 1);
        let references = stages.iter().filter(|stage| stage.memory.reference > 0).count() as u64
            * parameters
            * F32;
        let mut recorded = stages
            .iter()
            .fold(0, |sum: u64, stage| sum.saturating_add(recorded(recipe, stage, prompt as u64)));
        if let ProblemStats::Problems { held_out, .. } = &problems {
            recorded = recorded.saturating_add(evaluated(recipe, held_out));
        }
        Ok(Self {
            parameters,
            sizes: model.source.clone(),
            notes: model.notes.clone(),
            threads,
            problems,
            prompt: None,
            evaluations: evaluations(recipe),
            checkpoint,
            disk: recorded.saturating_add(checkpoints + references),
            recorded,
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
    let samples = steps.saturating_mul(batch).saturating_mul(group_size.unwrap_or(1));
    StagePlan {
        kind: stage.kind(),
        steps,
        batch,
        group_size,
        samples,
        most_drawn: sampled.and_then(|sampled| Some(steps.saturating_mul(sampled.most_drawn?))),
        epochs: train.map(|train| steps as f64 * batch as f64 / train as f64),
        updates: stage.total_updates(),
        passes: stage.descent().epochs,
        most_tokens: sampled.map(|sampled| sampled.max_new_tokens.saturating_mul(samples)),
        memory: memory.estimate(model, parameters),
    }
}

/// Whether sampling multiplies by a rounded copy of the weights.
fn rounds(recipe: &Recipe) -> bool {
    (recipe.model.device, recipe.model.dtype) == (DeviceChoice::Cpu, DTypeChoice::Bf16)
}

/// Evaluations of a run: before its first step, every so often, and at the end of each stage.
fn evaluations(recipe: &Recipe) -> u64 {
    if recipe.held_out_sets().is_empty() {
        return 0;
    }
    let every = recipe.eval.every.map_or(u64::MAX, u64::from);
    let ends = recipe.stages.iter().scan(0, |end, stage| {
        *end = stage.settings().steps().saturating_add(*end);
        Some(*end)
    });
    1 + recipe.total_steps() / every + ends.filter(|end| !end.is_multiple_of(every)).count() as u64
}

/// Bytes of the record's completions and tokens of a stage; the longest prompt has `prompt` tokens.
fn recorded(recipe: &Recipe, stage: &StagePlan, prompt: u64) -> u64 {
    let (Some(tokens), Some(group_size)) = (stage.most_tokens, stage.group_size) else { return 0 };
    let groups = (stage.samples / group_size) as f64;
    let prompts = groups * prompt as f64;
    let rest = stage.samples as f64 * COMPLETION as f64 + groups * PROBLEM as f64;
    // The prompt is among texts and among tokens.
    let each = |token: u64| (tokens as f64 + prompts) * token as f64 + rest;
    let share = |every: u64| if every == 0 { 0.0 } else { 1.0 / every as f64 };
    let texts = share(recipe.record.completions_every) * each(TEXT_OF_TOKEN);
    (texts + share(recipe.record.tokens_every) * each(NUMBERS_OF_TOKEN)) as u64
}

/// Bytes of all evaluations, of sets with so many problems.
fn evaluated(recipe: &Recipe, held_out: &[usize]) -> u64 {
    let text = if recipe.record.completions_every > 0 { TEXT_OF_TOKEN } else { 0 };
    let set = |(set, &problems): (SetSettings<'_>, &usize)| {
        let tokens = set.sampling.max_new_tokens.get() as f64;
        let completion = tokens * text as f64 + COMPLETION as f64;
        problems as f64 * (set.completions() as f64 * completion + PROBLEM as f64)
    };
    let once: f64 = recipe.held_out_sets().into_iter().zip(held_out).map(set).sum();
    (evaluations(recipe) as f64 * once) as u64
}
