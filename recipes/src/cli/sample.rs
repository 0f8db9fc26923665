use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use engine::text::{StopStrings, Text};
use evals::attempt::Stops;
use evals::{Bos, PromptStyle, Template};
use rollout::{Generator, Key, Purpose, Request, Sampling};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as ValueError;
use serde_json::{Map, Value};
use settings::off::OFF;

use super::{amount, count, print};
use crate::config::{BaseChoice, DTypeChoice, DeviceChoice};
use crate::console::Console;
use crate::machine;
use crate::policy::{self, Compute, ModelRef};
use crate::search_path::SearchPath;

/// Completes a prompt.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A folder, a `.gguf` file, a run directory, `hf://org/name` or `builtin:NAME`.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// An adapter on the model: a folder as PEFT has it, a `.gguf` adapter, or a run that trained
    /// one. A run given as the model has its own.
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Completions.
    #[arg(short, value_name = "N", default_value = "1", value_parser = amount)]
    n: NonZeroUsize,
    /// Temperature; 0 is greedy.
    #[arg(long, value_name = "T", default_value = "1.0")]
    temperature: f64,
    /// Longest completion, in tokens.
    #[arg(long, value_name = "N", default_value = "256", value_parser = count)]
    max_new_tokens: NonZeroUsize,
    /// Smallest probability mass that is drawn from.
    #[arg(long, value_name = "P", default_value = "1.0")]
    top_p: f64,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value = "0")]
    top_k: usize,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Give the prompt as it stands, without a chat template.
    #[arg(long)]
    plain: bool,
    /// Whether the prompt begins with the begin token: auto, always or never. Left out: as the run
    /// did, else auto, which is as the tokenizer begins a text that is not a chat.
    #[arg(long, value_name = "WHEN", value_parser = bos)]
    bos: Option<Bos>,
    /// System prompt, in place of that of a run's recipe; `off`: none.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// A text that ends a completion, besides the model's stop tokens; may be given several times.
    /// Left out: those of a run's recipe.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Names for the chat template as a JSON object, such as `{"enable_thinking": false}`; they go
    /// over those of a run's recipe.
    #[arg(long = "template-args", value_name = "JSON", value_parser = json_object)]
    names: Option<Map<String, Value>>,
    /// Where it runs.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// In what it computes.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: DTypeChoice,
    /// In what format weights are held: as in their file, or as f32, which takes four bytes a
    /// weight and saves the time of decoding. Results are the same.
    #[arg(long, value_enum, default_value = "as-stored")]
    base: BaseChoice,
    /// Threads. Left out: all.
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
    /// The prompt.
    #[arg(value_name = "PROMPT")]
    prompt: String,
}

/// Completions that are sampled at a time, at most.
const SLOTS: usize = 256;

fn bos(word: &str) -> Result<Bos, ValueError> {
    Bos::deserialize(word.into_deserializer())
}

pub(super) fn run(args: &Args) -> Result<()> {
    machine::fix_threads(args.threads)?;
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        max_new_tokens: args.max_new_tokens,
        ..Sampling::default()
    };
    if let [first, ..] = sampling.problems().as_slice() {
        bail!("sampling: {first}");
    }
    let search_path = SearchPath::of_command();
    let (adapter, console) = (args.adapter.as_deref(), Console::lines());
    let model_ref = policy::locate_with(&args.model, adapter, &search_path, &console)?;
    let compute =
        Compute::new(args.device, args.dtype)?.holding(args.base).with_notes_on(console.clone());
    let (model, text) = model_ref.open(&args.model, args.seed, &compute)?;
    let style = style(args, &model_ref, &text)?;
    let text = style.prepare(text)?;
    for note in style.notes(&text)? {
        console.print(&format!("note: {note}"));
    }
    let asked = rewards::Problem { problem: args.prompt.clone(), ..rewards::Problem::default() };
    let request = Request {
        prompt: style.tokens(&text, &asked)?,
        prefix: Vec::new(),
        problem: 0,
        group_size: args.n.get(),
        greedy: false,
    };
    let key = Key { seed: args.seed, purpose: Purpose::Sample, step: 0 };
    let strings = StopStrings::new(&style.stop);
    let stops = Stops { text: &text, strings: &strings };
    let generator = Generator {
        policy: model.policy(),
        sampling: &sampling,
        stop_tokens: text.stop_tokens(),
        unused: &text.unused_ids(model.config().vocab_size),
        stop: if strings.is_empty() { None } else { Some(&stops) },
        slots: args.n.get().min(SLOTS),
        alternatives: 0,
        key,
    };
    let groups = generator.generate(&[request], &mut rollout::to_the_end)?;
    let hidden = text.hidden_tokens(&style.keep_special_tokens)?;
    let trajectories = groups.iter().flat_map(|group| &group.trajectories);
    for (index, trajectory) in trajectories.enumerate() {
        let rule = if index == 0 { "" } else { "---\n" };
        let shown = text.decode_without(&trajectory.completion, &hidden)?;
        print(&format!("{rule}{shown}\n"))?;
    }
    Ok(())
}

fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|e| format!("expected a JSON object such as {{\"enable_thinking\": false}}: {e}"))
}

/// How the prompt is made: as the model's run did, with what the arguments say in its place.
fn style(args: &Args, model_ref: &ModelRef, text: &Text) -> Result<PromptStyle> {
    let of_run = model_ref.style()?;
    let bos = args.bos.or(of_run.as_ref().map(|style| style.bos)).unwrap_or_default();
    let mut style = match of_run {
        Some(style) if !args.plain => PromptStyle { bos, ..style },
        // A base model has no chat template and needs none.
        _ if args.plain || text.template().is_none() => {
            PromptStyle { template: Template::None {}, bos, ..PromptStyle::default() }
        }
        _ => PromptStyle { bos, ..PromptStyle::default() },
    };
    if let Some(system) = &args.system {
        style.system = (system != OFF).then(|| system.clone());
    }
    if !args.stop.is_empty() {
        style.stop.clone_from(&args.stop);
    }
    style.template_args.extend(args.names.clone().unwrap_or_default());
    match style.problems().as_slice() {
        [] => Ok(style),
        [first, ..] => bail!("prompt: {first}"),
    }
}
