mod show;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use engine::text::Text;
use evals::benchmark::{self, Protocol};
use evals::run::{FORMAT, Facts};
use evals::{PromptStyle, Template};
use rewards::Strictness;
use rollout::Sampling;

use super::output::check_outside;
use super::{count, named, one_of, print};
use crate::config::{BaseChoice, DTypeChoice, DeviceChoice, MOST_COMPLETIONS, read_settings};
use crate::console::{Console, Verbosity};
use crate::eval::{
    self, Finding, Policy, Set, SetSettings, Settings, Texts, contaminated, model_name,
};
use crate::machine;
use crate::names::nearest;
use crate::policy::{self, Compute, ModelRef};
use crate::printable::quoted;
use crate::run_dir::{computing, of_model, printable_command};
use crate::search_path::SearchPath;
use crate::signals::{INTERRUPTED, Stop};
use show::{comparable, show};

/// Evaluates a model on benchmarks: a table with intervals on stdout. docs/evaluation.md explains
/// the figures.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(super) struct Args {
    /// A folder, a `.gguf` file, a run directory, `hf://org/name` or `builtin:NAME`.
    #[arg(long, value_name = "MODEL", required_unless_present_any = ["list", "table"])]
    model: Option<String>,
    /// An adapter on the model: a folder as PEFT has it, a `.gguf` adapter, or a run that trained
    /// one. A run given as the model has its own.
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Benchmarks, files of problems, tasks such as `countdown:numbers=4`, or `.toml` files with
    /// the keys of a recipe's source; with commas between, or several times.
    #[arg(long, value_name = "NAME|FILE|TASK", required_unless_present_any = ["list", "table"])]
    bench: Vec<String>,
    /// Settings by name; `--list` shows them.
    #[arg(long, value_name = "NAME", default_value = "paper")]
    protocol: String,
    /// Completions of each problem.
    #[arg(long, value_name = "K", value_parser = count)]
    samples: Option<NonZeroUsize>,
    /// Also evaluate greedy decoding.
    #[arg(long)]
    greedy: bool,
    /// Temperature; 0 is greedy.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Smallest probability mass that is drawn from.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Longest completion, in tokens.
    #[arg(long, value_name = "N", default_value = "3072", value_parser = count)]
    max_new_tokens: NonZeroUsize,
    /// A prompt style by name, or a `.toml` file with the keys of a recipe's `[prompt]`. Left out:
    /// that of the run whose model it is, else `boxed` where the model has a chat template, else
    /// `plain`.
    #[arg(long, value_name = "STYLE|FILE.toml")]
    prompt: Option<String>,
    /// How strictly answers to math problems are judged: as scores are, or as a recipe's verifier
    /// rewards them.
    #[arg(long, default_value = "eval", value_parser = one_of(Strictness::ALL, Strictness::name))]
    strictness: Strictness,
    /// Problems of each set, drawn with a fixed key. Left out: all.
    #[arg(long, value_name = "N", value_parser = count)]
    limit: Option<NonZeroUsize>,
    /// Seed of the draws.
    #[arg(long, value_name = "S", default_value = "1")]
    seed: u64,
    /// Completions that are decoded at a time. Does not change them on a CPU.
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    slots: NonZeroUsize,
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
    /// A folder with `NAME.jsonl` for benchmarks, searched before `STEARIN_DATA` and the hub.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training data: the table lists the problems that are in it. May be given several times.
    #[arg(long, value_name = "FILE")]
    train_data: Vec<String>,
    /// Output folder; the same command continues there. Left out: a folder in `runs/` named after
    /// the model and the settings.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The directory of another evaluation to compare with, problem by problem. With `--table`, all
    /// are compared.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Print the settings and the first prompt of each set, and sample nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
    /// List benchmarks, protocols and prompt styles.
    #[arg(long)]
    list: bool,
    /// Show the table of earlier evaluations, without a model.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = NOT_WITH_TABLE)]
    table: Vec<PathBuf>,
}

/// What `--table` would pass over.
const NOT_WITH_TABLE: [&str; 18] = [
    "model",
    "adapter",
    "bench",
    "list",
    "samples",
    "greedy",
    "temperature",
    "top_p",
    "prompt",
    "limit",
    "threads",
    "data",
    "train_data",
    "out",
    "dry_run",
    "seed",
    "slots",
    "protocol",
];

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        print(&if args.json { eval::list_json() } else { eval::list() })?;
        return Ok(ExitCode::SUCCESS);
    }
    if !args.table.is_empty() {
        let is_whole = show(&args.table, args)?;
        return Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    evaluate(args)
}

/// Evaluates the model, or shows what that would be.
fn evaluate(args: &Args) -> Result<ExitCode> {
    let threads = machine::fix_threads(args.threads)?;
    let protocol = protocol(&args.protocol)?;
    let sampling = sampling(args, protocol)?;
    let sets = finding(args, protocol).sets(&args.bench)?;
    let texts = Texts::of(&args.train_data)?;
    let console = Console::stderr(Verbosity::Normal);
    sets.iter().flat_map(|set| &set.notes).for_each(|note| console.print(note));
    let model = args.model.clone().unwrap_or_default();
    let (adapter, search_path) = (args.adapter.as_deref(), SearchPath::of_command());
    let model_ref = policy::locate_with(&model, adapter, &search_path, &console)?;
    let place = model_ref.place(&model);
    let compute =
        Compute::new(args.device, args.dtype)?.holding(args.base).with_notes_on(console.clone());
    let (weights, text) = model_ref.open(&model, args.seed, &compute)?;
    let (style, prompt) = style(args.prompt.as_deref(), &model_ref, &text)?;
    let text = prompt.prepare(text)?;
    prompt.notes(&text)?.iter().for_each(|note| console.print(&format!("note: {note}")));
    let policy = Policy { model: &weights, text: &text, slots: args.slots.get() };
    eval::fits(policy, &sets, &prompt)?;
    let settings = Settings {
        sets: set_settings(&sets, args, protocol, sampling.temperature == 0.0)?,
        sampling,
        style,
        prompt,
        ..settings(args, &model_ref)?
    };
    if let Some(other) = &args.against {
        comparable(&settings, other)?;
    }
    let root = root(args.out.as_deref(), &settings)?;
    if args.dry_run {
        print(&eval::plan(&settings, &sets, &text, &root)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let facts = Facts {
        kind: "eval".into(),
        name: format!("eval {}", named(&model_name(&model), args.adapter.as_deref())),
        command: printable_command(&command()),
        seed: args.seed,
        model: Some(of_model(&place, model_ref.adapter(), &weights, &text)),
        problems: sets.iter().map(|set| (set.name.clone(), set.chosen.len())).collect(),
        files: model_ref.files()?,
        ..computing(threads, args.device, args.dtype)
    };
    let mut folder = eval::open(&root, settings, &facts)?;
    announce(&folder, &console);
    if !args.train_data.is_empty() {
        for set in &sets {
            let judged = set.chosen.iter().map(|&number| &set.problems[number]);
            folder.set_contaminated(&set.name, contaminated(judged, &texts));
        }
    }
    let stop = Stop::listen("complete groups are judged and kept, and the same command continues")?;
    let is_whole = eval::judge(policy, &sets, &mut folder, &stop, &console)?;
    let is_shown = show(&[root], args)?;
    Ok(match (is_whole, is_shown) {
        (false, _) => ExitCode::from(INTERRUPTED),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Says where results go, and whether others are there.
fn announce(folder: &eval::Folder, console: &Console) {
    console.print(&format!("results go to {}", folder.root().display()));
    if !folder.changed().is_empty() {
        console.warn(&format!(
            "another build or machine judged the problems that are there; run.json says so:\n  {}\n\
             to judge all by this one, evaluate into another --out",
            folder.changed().join("\n  ")
        ));
    }
}

/// Where problems are looked for, and how their answers are judged.
fn finding(args: &Args, protocol: &Protocol) -> Finding {
    let limit = args.limit.or(protocol.limit.and_then(NonZeroUsize::new));
    Finding { folder: args.data.clone(), limit, strictness: args.strictness }
}

/// The command line, as a shell reads it.
fn command() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("stearin".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// The settings that are the arguments' own.
fn settings(args: &Args, model_ref: &ModelRef) -> Result<Settings> {
    let files = model_ref.files()?.unwrap_or_default().0;
    Ok(Settings {
        format: FORMAT,
        model: args.model.clone().unwrap_or_default(),
        adapter: args.adapter.clone(),
        protocol: args.protocol.clone(),
        greedy: args.greedy,
        seed: args.seed,
        device: args.device,
        dtype: args.dtype,
        files: files.into_iter().map(|(name, digest)| (name, digest.sha256)).collect(),
        ..Settings::default()
    })
}

/// Where results go.
fn root(out: Option<&Path>, settings: &Settings) -> Result<PathBuf> {
    if let Some(root) = out {
        check_outside("--out", root, root.parent().unwrap_or(Path::new("")), None)?;
        return Ok(root.to_owned());
    }
    let name = format!("eval-{}-{}", model_name(&settings.model), settings.short()?);
    Ok(Path::new("runs").join(name))
}

fn protocol(name: &str) -> Result<&'static Protocol> {
    let all = benchmark::protocols();
    if let Some(protocol) = all.get(name) {
        return Ok(protocol);
    }
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    let hint = nearest(name, names.iter().copied())
        .map_or_else(String::new, |name| format!("\ndid you mean `{name}`?"));
    bail!("--protocol: there is no `{name}`; there are: {}{hint}", names.join(", "))
}

fn sampling(args: &Args, protocol: &Protocol) -> Result<Sampling> {
    let sampling = Sampling {
        temperature: args.temperature.unwrap_or(protocol.temperature),
        top_p: args.top_p.unwrap_or(protocol.top_p),
        max_new_tokens: args.max_new_tokens,
        ..Sampling::default()
    };
    if let [first, ..] = sampling.problems().as_slice() {
        bail!("sampling: {first}");
    }
    if sampling.temperature == 0.0 && args.greedy {
        bail!("--greedy: at temperature 0 every completion is greedy; leave it out");
    }
    Ok(sampling)
}

fn set_settings(
    sets: &[Set],
    args: &Args,
    protocol: &Protocol,
    is_greedy: bool,
) -> Result<Vec<SetSettings>> {
    let of = |set: &Set| {
        let own = protocol.samples.unwrap_or(set.samples);
        let samples = args.samples.map_or(own, NonZeroUsize::get);
        let each = samples.saturating_add(usize::from(args.greedy));
        if each.saturating_mul(set.chosen.len()) > MOST_COMPLETIONS {
            bail!(
                "{}: expected at most {MOST_COMPLETIONS} completions, got {} problems times {each}",
                set.name,
                set.chosen.len()
            );
        }
        if is_greedy && samples > 1 {
            bail!(
                "{}: {samples} completions at temperature 0 are all the same; use --samples 1 or \
                 --protocol greedy",
                set.name
            );
        }
        Ok(SetSettings {
            name: set.name.clone(),
            asked: set.chosen.len(),
            samples,
            criterion: set.rewards.build()?.criterion(),
            sha256: set.sha256.clone(),
        })
    };
    sets.iter().map(of).collect()
}

/// The prompt style, with its name.
fn style(asked: Option<&str>, model_ref: &ModelRef, text: &Text) -> Result<(String, PromptStyle)> {
    let styles: &BTreeMap<String, PromptStyle> = benchmark::styles();
    let named = |name: &str| (name.to_owned(), styles[name].clone());
    let found = match (asked, model_ref.style()?) {
        (Some(name), _) if styles.contains_key(name) => named(name),
        (Some(file), _) if Path::new(file).extension().is_some_and(|it| it == "toml") => {
            (file.to_owned(), read_settings(Path::new(file), "prompt style").context("--prompt")?)
        }
        (Some(name), _) => {
            let names: Vec<_> = styles.keys().map(String::as_str).collect();
            bail!(
                "--prompt: there is no style `{name}`; expected a .toml file, or one of {}",
                names.join(", ")
            );
        }
        (None, Some(style)) => ("run".to_owned(), style),
        (None, None) if text.template().is_some() => named("boxed"),
        (None, None) => named("plain"),
    };
    if found.1.template == (Template::Chat {}) && text.template().is_none() {
        bail!(
            "--prompt {}: the model has no chat template; use `plain`, `r1-zero` or `minerva-4shot`",
            found.0
        );
    }
    match found.1.problems().as_slice() {
        [] => Ok(found),
        [first, ..] => bail!("--prompt {}: {first}", found.0),
    }
}
