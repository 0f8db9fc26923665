use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use engine::Activations;

use super::grade::{How, rows};
use super::{amount, count, one_of, print};
use crate::bench::{Shape, Weighed, What, bench};
use crate::config::{BaseChoice, DTypeChoice, DeviceChoice};
use crate::console::Console;
use crate::policy::{self, Compute};
use crate::search_path::SearchPath;
use crate::{grade, machine};

/// Measures this machine; one line of JSON on stdout, medians over the repetitions.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tokens a second of sampling, prompts included.
    Decode(Work),
    /// Tokens a second of forward, backward and `AdamW`.
    Train(Work),
    /// Seconds of a whole GRPO step.
    Step(Work),
    /// Time of grading a row, and pairs of integers a minute.
    Grade(Rows),
}

#[derive(Debug, clap::Args)]
struct Rows {
    /// Rows as `stearin grade` takes them.
    #[arg(value_name = "FILE.jsonl")]
    file: PathBuf,
    #[command(flatten)]
    how: How,
    /// Repetitions; a row's time is the least of them.
    #[arg(long, value_name = "N", default_value = "3", value_parser = amount)]
    reps: NonZeroUsize,
}

#[derive(Debug, clap::Args)]
struct Work {
    /// A folder, a `.gguf` file, a run directory, `hf://org/name` or `builtin:NAME`.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// An adapter on the model, which training then changes alone: a folder as PEFT has it,
    /// a `.gguf` adapter, or a run that trained one. A run given as the model has its own.
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Prompts of a step.
    #[arg(long, value_name = "N", default_value = "2", value_parser = amount)]
    prompts: NonZeroUsize,
    /// Completions of each prompt.
    #[arg(long, value_name = "N", default_value = "8", value_parser = amount)]
    group: NonZeroUsize,
    /// Tokens of each completion.
    #[arg(long, value_name = "N", default_value = "64", value_parser = amount)]
    new: NonZeroUsize,
    /// Tokens of each prompt.
    #[arg(long, value_name = "N", default_value = "48", value_parser = amount)]
    prompt_tokens: NonZeroUsize,
    /// Completions sampled at a time. Left out: all.
    #[arg(long, value_name = "N", value_parser = amount)]
    slots: Option<NonZeroUsize>,
    /// Sequences that are trained on.
    #[arg(long, value_name = "N", default_value = "16", value_parser = amount)]
    batch: NonZeroUsize,
    /// Tokens of each sequence.
    #[arg(long, value_name = "N", default_value = "128", value_parser = amount)]
    seq: NonZeroUsize,
    /// Rows that one backward pass may hold.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = count)]
    micro_batch_tokens: NonZeroUsize,
    /// What the forward pass of training keeps.
    #[arg(
        long,
        default_value = "keep",
        value_parser = one_of([Activations::Keep, Activations::Recompute], Activations::name)
    )]
    activations: Activations,
    /// Threads. Left out: all.
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// Where it runs.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// In what weights are held.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: DTypeChoice,
    /// In what format weights are held. Left out: as f32; below an adapter as in their file.
    #[arg(long, value_enum)]
    base: Option<BaseChoice>,
    /// Repetitions, after one that is not measured.
    #[arg(long, value_name = "N", default_value = "3", value_parser = amount)]
    reps: NonZeroUsize,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (what, work) = match &args.command {
        Command::Decode(work) => (What::Decode, work),
        Command::Train(work) => (What::Train, work),
        Command::Step(work) => (What::Step, work),
        Command::Grade(Rows { file, how, reps }) => {
            let report = grade::bench::bench(how.math(), &rows(file)?, reps.get());
            return print(&format!("{}\n", serde_json::to_string(&report)?));
        }
    };
    let threads = machine::fix_threads(work.threads)?;
    let (console, search_path) = (Console::lines(), SearchPath::of_command());
    let compute = Compute::new(work.device, work.dtype)?.with_notes_on(console.clone());
    let compute = work.base.into_iter().fold(compute, Compute::holding);
    let adapter = work.adapter.as_deref();
    let model_ref = policy::locate_with(&work.model, adapter, &search_path, &console)?;
    let (model, _) = model_ref.open(&work.model, 1, &compute)?;
    if !matches!(what, What::Decode) && model.trainable().next().is_none() {
        bail!(
            "--base as-stored: the matrices of {} stay in the format of their file, so there is nothing \
             to train\nleave --base out, or name an adapter by --adapter",
            work.model
        );
    }
    let shape = Shape {
        prompts: work.prompts.get(),
        group: work.group.get(),
        new: work.new.get(),
        prompt_tokens: work.prompt_tokens.get(),
        slots: work.slots.map_or(0, NonZeroUsize::get),
        batch: work.batch.get(),
        seq: work.seq.get(),
        micro_batch_tokens: work.micro_batch_tokens.get(),
        activations: work.activations,
    };
    let stored = if model.is_stored() { model_ref.stored_bytes()? } else { None };
    let weighed = Weighed { model: &model, stored };
    let report = bench(what, (&work.model, adapter), weighed, &shape, threads, work.reps.get())?;
    print(&format!("{}\n", serde_json::to_string(&report)?))
}
