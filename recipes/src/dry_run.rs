//! What a run would do and need, computed and not measured.
//!
//! It needs neither the weights nor the problems: what is not here is taken from `dry_run/sizes.rs`
//! or said to be unknown; `dry_run/display.rs` puts it into words.

mod base;
mod display;
mod evaluation;
mod file_type;
mod settings;
mod sizes;

use anyhow::Result;
use evals::run::{StepTokens, Thinning};
use rewards::{Importance, WeightingConfig};

use crate::config::{
    BaseChoice, DTypeChoice, DeviceChoice, OldLogProbs, Origins, Recipe, ReferenceChoice, Stage,
    StageSettings, StepPlan,
};
use crate::memory::{F32, MemoryEstimate, MemoryFactors, Trained};
use base::Base;

pub use base::{AdapterSize, Named, Stored};
pub use evaluation::Judged;
pub use sizes::Sizes;

/// Bytes of a token's text.
const TEXT_OF_TOKEN: u64 = 6;
/// Bytes of a prompt's token in `samples/`: its id, and the texts of problem and prompt.
const SAMPLED_PROMPT: u64 = StepTokens::PROMPT_BYTES + 2 * TEXT_OF_TOKEN;
/// Bytes of a completion there besides its tokens: its verdict, its values in the index.
const SAMPLED_COMPLETION: u64 = StepTokens::COMPLETION_BYTES + COMPLETION;
/// Bytes of a group there besides: its line of the index, its names.
const SAMPLED_GROUP: u64 = StepTokens::GROUP_BYTES + 512;
/// Bytes of a step there besides: the header of the columns.
const SAMPLED_STEP: u64 = 2048;
/// Bytes of a token in `tokens/`: its columns as text.
const DUMPED_TOKEN: u64 = 60;
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
        held_out: Vec<Judged>,
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
    /// With an adapter, memory with the other value of `model.base`.
    pub other: Option<(BaseChoice, MemoryEstimate)>,
}

/// What a whole run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    recipe: Recipe,
    parameters: u64,
    /// What the weights take as they are stored.
    stored: Stored,
    adapter: Option<AdapterSize>,
    sizes: String,
    notes: Vec<String>,
    threads: usize,
    problems: ProblemStats,
    /// The prompt of a problem; none without a tokenizer or a problem.
    prompt: Option<String>,
    /// Who set the settings.
    origins: Origins,
    /// Files that are read and programs that are started: what each is, and its key and place.
    inputs: Vec<(&'static str, String)>,
    /// The stages.
    pub stages: Vec<StagePlan>,
    /// Evaluations on each held-out set.
    pub evaluations: Vec<u64>,
    /// One checkpoint, in bytes.
    pub checkpoint: u64,
    /// Samples, tokens and evaluations of the record, in bytes, at most; evaluations only where the
    /// problems are known.
    pub recorded: u64,
    /// Everything on disk, in bytes, at most.
    pub disk: u64,
    /// What `samples/` comes to.
    pub samples: Samples,
}

/// What `samples/` comes to, with all completions at their limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Samples {
    /// Bytes of one recorded step, of the stage with the largest.
    pub step: u64,
    /// Groups of that step, without those that were not learnt from.
    pub groups: u64,
    /// Steps from one recorded step to the next at the end of the run; 0 where none is.
    pub stride: u64,
    /// Bytes at the end of the run.
    pub bytes: u64,
    /// Most bytes on the way.
    pub most: u64,
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
        let stages = recipe.stages.iter().enumerate().map(|(index, stage)| {
            let memory = |factors, base| stage_memory(recipe, model, index, factors, base, threads);
            stage_plan(stage.settings(), memory, recipe, train, prompt as u64)
        });
        let stages: Vec<_> = stages.collect();
        let trained = model.adapter.as_ref().map_or(parameters, |adapter| adapter.parameters);
        let mut references = recipe.stages.iter().filter_map(Stage::reference);
        let has_average = references.any(ReferenceChoice::is_average);
        let checkpoint = (3 + u64::from(has_average)) * trained * F32;
        let kept = recipe.checkpoint.keep.get() as u64 + u64::from(recipe.best_by().is_some());
        let saves: u64 = recipe.total_steps() / recipe.checkpoint.every + stages.len() as u64;
        // One more than is kept lies there while it is written.
        let checkpoints = checkpoint * (kept.min(saves) + 1);
        let references = kept_references(recipe, model) * trained * F32;
        let samples = samples(recipe, &stages, prompt as u64);
        let dumped = stages.iter().map(|stage| dumped(recipe, stage, prompt as u64));
        let mut recorded = dumped.fold(samples.most, u64::saturating_add);
        if let ProblemStats::Problems { held_out, .. } = &problems {
            recorded = recorded.saturating_add(evaluation::bytes(recipe, held_out));
        }
        Ok(Self {
            parameters,
            stored: model.stored.clone(),
            adapter: model.adapter.clone(),
            sizes: model.source.clone(),
            notes: model.notes.clone(),
            threads,
            problems,
            prompt: None,
            origins: Origins::default(),
            inputs: Vec::new(),
            evaluations: evaluation::counts(recipe),
            checkpoint,
            disk: recorded.saturating_add(checkpoints + references),
            recorded,
            samples,
            stages,
            recipe: recipe.clone(),
        })
    }

    /// The plan with a prompt as an example.
    #[must_use]
    pub fn with_prompt(self, prompt: Option<String>) -> Self {
        Self { prompt, ..self }
    }

    /// The plan with these notes before its own.
    #[must_use]
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        let notes = notes.into_iter().chain(self.notes).collect();
        Self { notes, ..self }
    }

    /// The plan of a recipe whose settings are from these.
    #[must_use]
    pub fn with_origins(self, origins: Origins) -> Self {
        Self { origins, ..self }
    }

    /// The plan with the files that are read and the programs that are started: what each is, and
    /// its key and place.
    #[must_use]
    pub fn with_inputs(self, inputs: Vec<(&'static str, String)>) -> Self {
        Self { inputs, ..self }
    }

    /// Whether the plan was made without the problems.
    pub fn lacks_problems(&self) -> bool {
        matches!(self.problems, ProblemStats::Nothing { .. })
    }
}

/// References that the run directory keeps as copies of what is trained.
fn kept_references(recipe: &Recipe, model: &Sizes) -> u64 {
    let is_kept = |(index, stage): &(usize, &Stage)| match (&model.adapter, stage.reference()) {
        (Some(adapter), reference) => adapter.keeps(*index, reference),
        (None, reference) => reference.is_some_and(|one| !one.is_average()),
    };
    recipe.stages.iter().enumerate().filter(is_kept).count() as u64
}

/// Memory of stage `index` with the weights in this format.
fn stage_memory(
    recipe: &Recipe,
    model: &Sizes,
    index: usize,
    factors: MemoryFactors,
    choice: BaseChoice,
    threads: usize,
) -> MemoryEstimate {
    let parameters = model.parameters();
    let base = Base { choice, stored: &model.stored, parameters };
    let trained = match &model.adapter {
        Some(adapter) => {
            adapter.trained(&model.config, base, threads, (index, recipe.stages[index].reference()))
        }
        None => Trained::Weights(parameters),
    };
    let mut memory = factors.estimate(&model.config, trained);
    if memory.cache > 0 && rounds(recipe) {
        memory.round(parameters);
    }
    memory
}

fn stage_plan(
    stage: &dyn StageSettings,
    memory_with: impl Fn(MemoryFactors, BaseChoice) -> MemoryEstimate,
    recipe: &Recipe,
    train: Option<usize>,
    prompt: u64,
) -> StagePlan {
    let base = recipe.model.base();
    let other = match base {
        BaseChoice::AsStored => BaseChoice::F32,
        BaseChoice::F32 => BaseChoice::AsStored,
    };
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
        memory: memory_with(memory, base),
        other: recipe.model.adapter.is_some().then(|| (other, memory_with(memory, other))),
    }
}

/// Whether sampling multiplies by a rounded copy of the weights.
fn rounds(recipe: &Recipe) -> bool {
    (recipe.model.device, recipe.model.dtype) == (DeviceChoice::Cpu, DTypeChoice::Bf16)
}

/// The samples of a run whose completions are all at their limit, thinned as it goes; the longest
/// prompt has `prompt` tokens.
fn samples(recipe: &Recipe, stages: &[StagePlan], prompt: u64) -> Samples {
    let config = &recipe.record.samples;
    let (every, budget) = (config.every.get(), config.budget());
    let mut found = Samples::default();
    let (mut thinning, mut done) = (Thinning::default(), 0_u64);
    for (stage, settings) in stages.iter().zip(&recipe.stages) {
        let (first, last) = (done.saturating_add(1), done.saturating_add(stage.steps));
        done = last;
        let (Stage::Rl(rl), Some(siblings), Some(tokens)) =
            (settings, stage.group_size, stage.most_tokens)
        else {
            continue;
        };
        let limit = tokens / stage.samples.max(1);
        let kept = rl.recorded_groups(config) as u64;
        if kept == 0 {
            continue;
        }
        let discarded = if stage.most_drawn.is_some() { config.discarded as u64 } else { 0 };
        let columns = StepTokens::token_bytes(further_columns(settings), config.alternatives);
        let completion =
            limit.saturating_mul(columns + TEXT_OF_TOKEN).saturating_add(SAMPLED_COMPLETION);
        let group = siblings.saturating_mul(completion) + prompt * SAMPLED_PROMPT + SAMPLED_GROUP;
        let groups = kept.saturating_add(discarded);
        let bytes = groups.saturating_mul(group).saturating_add(SAMPLED_STEP);
        if bytes > found.step {
            (found.step, found.groups) = (bytes, kept);
        }
        let mut next = thinning.next_due(first, every).filter(|_| bytes <= budget);
        while let Some(step) = next.filter(|step| *step <= last) {
            thinning.add(step, bytes, every, budget);
            found.most = found.most.max(thinning.bytes());
            next = thinning.next_due(step.saturating_add(1), every);
        }
    }
    Samples { stride: thinning.stride(), bytes: thinning.bytes(), ..found }
}

/// Columns of the tokens of a stage that not every stage has.
fn further_columns(stage: &Stage) -> u64 {
    let Stage::Rl(stage) = stage else { return 0 };
    let has = [
        stage.updates_per_step.get() > 1 || stage.epochs.get() > 1,
        stage.old_log_probs == OldLogProbs::Rescore,
        stage.has_reference(),
        stage.importance != (Importance::Off {}),
        matches!(stage.weighting, WeightingConfig::KlCov(_)),
    ];
    has.into_iter().filter(|has| *has).count() as u64
}

/// Bytes of the tokens that a stage writes as text; the longest prompt has `prompt` tokens.
fn dumped(recipe: &Recipe, stage: &StagePlan, prompt: u64) -> u64 {
    let (Some(tokens), Some(group_size)) = (stage.most_tokens, stage.group_size) else { return 0 };
    let every = recipe.record.tokens_every;
    if every == 0 {
        return 0;
    }
    let groups = (stage.samples / group_size) as f64;
    let numbers = (tokens as f64 + groups * prompt as f64) * DUMPED_TOKEN as f64;
    let rest = stage.samples as f64 * COMPLETION as f64 + groups * PROBLEM as f64;
    ((numbers + rest) / every as f64) as u64
}
