use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::builder::UnknownArgumentValueParser;

use super::{print, time};
use crate::config::{DeviceChoice, Loaded, Recipe, load};
use crate::console::{Console, Verbosity};
use crate::data;
use crate::dry_run::{Judged, Plan, ProblemStats, Prompts, Sizes};
use crate::policy::Policies;
use crate::printable::quoted;
use crate::resume::CommandLine;
use crate::search_path::SearchPath;
use crate::signals::{INTERRUPTED, Stop};
use crate::train::{Ended, Job, Options, outlook, train};
use crate::verifiers::{self, OutsideConfig, RewardConfig, RewardsConfig};
use crate::{length_limits, machine, run_dir, shipped};

/// Trains a recipe.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Args {
    /// A recipe file, or the name of a shipped recipe (`stearin recipes`).
    #[arg(value_name = "RECIPE.toml")]
    recipe: String,
    /// Files whose settings override those of the recipe; of several, the last wins.
    #[arg(value_name = "OVERLAY.toml")]
    overlays: Vec<String>,
    /// A setting that overrides all files, such as `stage.rl.steps=3` or
    /// `model.path=hf://org/name`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The run's folder. Left out: `runs/` and the recipe's name.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in that folder.
    #[arg(long)]
    resume: bool,
    /// Resume also with settings that change the steps to come; `changes.jsonl` then lists them.
    #[arg(long, requires = "resume")]
    changed: bool,
    /// Resume also where a file of the data, the model, an adapter that the run reads or a verifier
    /// has changed since the run's start; `run.json` then lists the changes.
    #[arg(long, requires = "resume")]
    accept_changed_files: bool,
    /// Save and stop after this time, such as `90s`, `30m` or `3h30m`, as Ctrl-C does; counted from
    /// the start of this command.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_time: Option<Duration>,
    /// Say what the run would do and need, and do nothing.
    /// With `--resume`, also from where the run would go on, and with what other settings.
    #[arg(long)]
    dry_run: bool,
    /// Say only warnings, errors and a last line; `log.txt` in the run's folder has the rest.
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Say the times of the parts of every step, too, and all that verifiers write on stderr.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

/// Arguments of other commands that are keys of a recipe here. None is taken.
#[derive(Debug, clap::Args)]
struct Elsewhere {
    #[arg(long, hide = true, value_parser = is_key("threads=N"))]
    threads: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("seed=N"))]
    seed: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("model.path=MODEL"))]
    model: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("model.adapter.from=ADAPTER"))]
    adapter: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("model.device=DEVICE"))]
    device: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("model.dtype=TYPE"))]
    dtype: Option<String>,
    #[arg(long, hide = true, value_parser = is_key("model.base=FORMAT"))]
    base: Option<String>,
}

/// Refuses an argument, and names the setting to write in its place.
fn is_key(setting: &'static str) -> UnknownArgumentValueParser {
    UnknownArgumentValueParser::suggest(format!("it is a key of a recipe: --set {setting}"))
}

impl Args {
    fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }

    /// Where the run is.
    fn root(&self, recipe: &Recipe) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(|| Path::new("runs").join(&recipe.name))
    }

    /// These arguments as a command, but for those about resuming.
    fn command(&self, recipe: &Recipe) -> CommandLine {
        let files = std::iter::once(&self.recipe).chain(&self.overlays);
        let words = ["stearin", "train"].map(str::to_owned).into_iter();
        CommandLine {
            words: words.chain(files.map(|file| quoted(file))).collect::<Vec<_>>().join(" "),
            settings: self.overrides.clone(),
            run_dir: (self.root(recipe).display().to_string(), self.run_dir.is_some()),
            kinds: recipe.stages.iter().map(|stage| stage.settings().kind()).collect(),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let began = Instant::now();
    let mut layers = vec![shipped::layer(&args.recipe)?];
    for overlay in &args.overlays {
        layers.push(shipped::layer(overlay)?);
    }
    let Loaded { recipe, folder, origins, notes } = load(&layers, &args.overrides)?;
    let threads = machine::fix_threads(recipe.threads)?;
    let search_path = SearchPath::of_recipe(&folder);
    if args.dry_run {
        verifiers::check(&recipe.rewards())?;
        // A run that goes on does not need the adapter that it started from.
        let own = if args.resume { newest_checkpoint(&args.root(&recipe)) } else { None };
        let plan = plan(&recipe, &search_path, own.as_deref(), threads)?;
        let lacks_problems = plan.lacks_problems();
        show(&plan.with_origins(origins).with_notes(notes.clone()), &recipe, args)?;
        // A shipped recipe is planned before its problems are fetched; one of the user's names
        // files that should be there.
        if lacks_problems && shipped::named(&args.recipe).is_none() {
            data::problems(&recipe, &search_path)?;
        }
        if !args.resume {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let console = Console::stderr(args.verbosity());
    // A dry run has shown them.
    for note in notes.iter().filter(|_| !args.dry_run) {
        console.print(&format!("note: {note}"));
    }
    let policies = Policies::of(&recipe, &search_path, console.clone())?;
    let problems = data::problems(&recipe, &search_path)?;
    problems.notes.iter().for_each(|note| console.print(note));
    problems.left_out().iter().for_each(|note| console.print(note));
    let job = Job { recipe: &recipe, problems, policies: &policies, threads };
    let (root, command) = (args.root(&recipe), args.command(&recipe));
    let options = |stop| Options {
        run_dir: &root,
        resume: args.resume,
        changed: args.changed,
        accept_changed_files: args.accept_changed_files,
        stop,
        console: console.clone(),
        command: &command,
        sink: None,
    };
    if args.dry_run {
        return show_outlook(&job, &options(Stop::default()));
    }
    let stop = Stop::listen("the run has not begun yet")?;
    if let Some(limit) = args.max_time {
        stop_after(limit.saturating_sub(began.elapsed()), stop.clone(), console.clone());
    }
    Ok(match train(job, options(stop))? {
        Ended::Finished => ExitCode::SUCCESS,
        Ended::Interrupted => ExitCode::from(INTERRUPTED),
    })
}

/// Prints how the run would be resumed.
fn show_outlook(job: &Job<'_>, options: &Options<'_>) -> Result<ExitCode> {
    let lines = outlook(job, options)?;
    let lines: Vec<_> = lines.iter().map(|line| format!("{:>12}  {line}\n", "resume")).collect();
    print(&lines.concat())?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the run to stop once this time has passed.
fn stop_after(time: Duration, stop: Stop, console: Console) {
    // Not joined: a run that ends earlier does not wait for it.
    std::thread::spawn(move || {
        std::thread::sleep(time);
        console.print("the time limit is reached: saving and stopping; go on with --resume");
        stop.request();
    });
}

/// The newest checkpoint of a run. What is wrong with the run is said when it is resumed.
fn newest_checkpoint(root: &Path) -> Option<PathBuf> {
    Some(run_dir::checkpoints(root).ok()?.pop()?.path)
}

/// What the run would do and need, as far as it can be known here. One that goes on has its adapter
/// in the checkpoint `own`.
fn plan(
    recipe: &Recipe,
    search_path: &SearchPath,
    own: Option<&Path>,
    threads: usize,
) -> Result<Plan> {
    let mut model = Sizes::of(recipe, search_path, own)?;
    if let Some(text) = model.text.take() {
        let text = recipe.prompt.prepare(text)?;
        model.notes.extend(recipe.prompt.notes(&text)?);
        model.text = Some(text);
    }
    let missing = data::missing(recipe, search_path);
    if !missing.is_empty() {
        let missing = format!("{} not in {}", missing.join(", "), search_path.describe());
        model.notes.extend(recipe.remarks(&[]));
        let plan = Plan::new(recipe, &model, ProblemStats::Nothing { missing }, threads)?;
        return Ok(plan.with_inputs(inputs(recipe, search_path)));
    }
    let mut problems = data::problems(recipe, search_path)?;
    model.notes.append(&mut problems.notes);
    model.notes.extend(problems.left_out());
    let (mut prompts, mut prompt) = (None, None);
    if let Some(text) = &model.text {
        let lengths = length_limits::apply(recipe, &mut problems, text, model.config.context)?;
        prompts = Some(Prompts::of(&lengths.prompts));
        model.notes.extend(lengths.dropped);
        let first = problems.train.first();
        prompt = first.map(|first| recipe.prompt.prompt(text, first)).transpose()?;
    }
    model.notes.extend(recipe.remarks(&problems.trained_on(recipe)));
    let held_out = problems.judged_by().map(|list| Judged::of(list)).collect();
    let train = problems.train.len();
    let known = ProblemStats::Problems { train, held_out, prompts };
    let plan = Plan::new(recipe, &model, known, threads)?;
    Ok(plan.with_prompt(prompt).with_inputs(inputs(recipe, search_path)))
}

/// Prints a plan, and a warning for each stage that the machine has too little memory for.
fn show(plan: &Plan, recipe: &Recipe, args: &Args) -> Result<()> {
    print(&plan.to_string())?;
    let machine = machine::memory().filter(|_| recipe.model.device == DeviceChoice::Cpu);
    let console = Console::stderr(args.verbosity());
    for line in machine.map(|(all, _)| plan.beyond(all)).unwrap_or_default() {
        console.warn(&line);
    }
    Ok(())
}

/// The files and programs of a recipe, where they are found: what each is, and its key and place.
fn inputs(recipe: &Recipe, search_path: &SearchPath) -> Vec<(&'static str, String)> {
    let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path).display().to_string();
    let files = data::located(recipe, search_path).into_iter();
    let file = |data::DataFile { key, path, limit }| {
        let rows = limit.map_or_else(String::new, |limit| format!(", the first {limit} rows"));
        ("file", format!("{key}: {}{rows}", whole(path)))
    };
    let mut found: Vec<_> = files.map(file).collect();
    let folder = whole(PathBuf::from("."));
    let mut known = Vec::new();
    for (key, RewardsConfig(verifiers)) in recipe.rewards() {
        for (at, verifier) in verifiers.iter().enumerate() {
            let RewardConfig::Outside(OutsideConfig::Process(process)) = verifier else { continue };
            // An evaluation mostly has the verifiers of a stage.
            if known.contains(&&process.command) {
                continue;
            }
            known.push(&process.command);
            let command = process.command.join(" ");
            found.push((
                "verifier",
                format!(
                    "{key}.{at}: `{command}`, started in {folder}; its paths start there, those of \
                     data beside the recipe"
                ),
            ));
        }
    }
    found
}
