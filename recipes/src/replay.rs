//! Weights rebuilt from those of a run's start and the logs of its updates.

mod position;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use engine::Model;
use engine::text::Text;
use optim::zeroth::log::Log;
use optim::zeroth::{DecayTo, Update};

pub use crate::causes::Failed;
use crate::config::Recipe;
use crate::console::Console;
use crate::policy::Policies;
use crate::printable::counted;
use crate::run_dir::{Base, Saved, checkpoints};
use crate::search_path::SearchPath;
use crate::zeroth::{Logged, Moved, digests, logs};
use position::{Place, Position, place_of};

/// What is to be rebuilt.
#[derive(Debug)]
pub struct Job<'a> {
    /// The run directory.
    pub root: &'a Path,
    /// The step whose weights are wanted; none for the last one.
    pub step: Option<u64>,
    /// The checkpoint to start from; none for the weights that the run began with.
    pub from: Option<&'a Path>,
    /// Where the weights are written, if they are.
    pub output: Option<&'a Path>,
}

/// Updates that are applied together: a number of the weights passes through all of them at once.
const TOGETHER: usize = 256;

impl Job<'_> {
    /// Rebuilds the weights, compares them with every checkpoint on the way, and writes them. Says
    /// what was done. Notes go to `console`.
    ///
    /// # Errors
    ///
    /// Fails when the run has no log, when a file is missing or damaged, and when the logs do not
    /// reach from the start to the step; with [`Failed`] when a checkpoint has other weights.
    pub fn run(&self, console: &Console) -> Result<String> {
        let recipe = self.recipe()?;
        let logs = logs(self.root)?;
        let saved = checkpoints(self.root)?;
        let run = Replay { recipe: &recipe, logs: &logs, saved: &saved, console };
        let target = self.target(&run)?;
        let search_path = SearchPath::of_command();
        let policies = Policies::of(&recipe, &search_path, console.clone())?;
        let (start, from, (model, text)) = self.start(&run, &policies, target)?;
        let began = Instant::now();
        let Walked { updates, bytes, equal } = run.walk(&model, &policies, start, target)?;
        let seconds = began.elapsed().as_secs_f64();
        let mut said = format!(
            "{} replayed on {from} in {seconds:.1} s, from {bytes} bytes\n",
            counted(updates, "update")
        );
        for path in equal {
            said.push_str("equal to the bit: ");
            said.push_str(&path);
            said.push('\n');
        }
        if let Some(output) = self.output {
            write(&policies, &recipe, (&model, &text), output)?;
            writeln!(said, "written: {}", output.display())?;
        }
        Ok(said)
    }

    fn recipe(&self) -> Result<Recipe> {
        let path = self.root.join(crate::run_dir::RECIPE);
        let text = engine::file::read_to_string(&path)
            .with_context(|| format!("{} is not a run directory", self.root.display()))?;
        Recipe::parse(&path.display().to_string(), &text)
    }

    /// Where the wanted weights are.
    fn target(&self, run: &Replay<'_>) -> Result<Position> {
        let Some(last) = run.logs.last() else {
            bail!(
                "{} has no log of updates: only stages without gradients keep one, such as with \
                 optim = \"spsa\"\nthe weights of its checkpoints are in checkpoints/",
                self.root.display()
            );
        };
        let Some(step) = self.step else {
            return Ok(Position { stage: last.stage, updates: last.read()?.next_step() });
        };
        place_of(self.root, run.recipe, step)
    }

    /// The weights to start from, where they are, and what they are called.
    fn start(
        &self,
        run: &Replay<'_>,
        policies: &Policies<'_>,
        target: Position,
    ) -> Result<(Position, String, (Model, Text))> {
        let of = |saved: &Saved| -> Result<_> {
            let at = run.position_of(saved)?;
            Ok((at, saved.path.display().to_string(), policies.saved(saved)?))
        };
        if let Some(path) = self.from {
            let path = path.canonicalize().with_context(|| format!("--from {}", path.display()))?;
            let is_it = |saved: &&Saved| saved.path.canonicalize().is_ok_and(|own| own == path);
            let Some(saved) = run.saved.iter().find(is_it) else {
                bail!("--from {}: expected a checkpoint of this run", path.display());
            };
            return of(saved);
        }
        if run.is_logged(0, target.stage) {
            let seed = crate::run_dir::RunDir::look(self.root)?.facts()?.seed;
            let name = format!("{}, the weights of the start", run.recipe.model.path);
            let first = policies.first_of(seed)?;
            return Ok((Position { stage: 0, updates: 0 }, name, first));
        }
        let reaches = |saved: &&Saved| {
            let at = run.position_of(saved);
            at.is_ok_and(|at| at <= target && run.is_logged(at.stage, target.stage))
        };
        if let Some(saved) = run.saved.iter().find(reaches) {
            return of(saved);
        }
        let lacks = |stage: &usize| !run.is_logged(*stage, *stage);
        let stage = (0..=target.stage).find(lacks).unwrap_or_default();
        bail!(
            "there is no log of the updates of stage {stage} from its start, as stages with \
             gradients keep none, and no checkpoint is left from which logs go on to the step\n\
             restore the log from a copy, if there was one"
        )
    }
}

/// Writes the weights as a checkpoint has them.
fn write(
    policies: &Policies<'_>,
    recipe: &Recipe,
    (model, text): (&Model, &Text),
    output: &Path,
) -> Result<()> {
    let write = || -> Result<()> {
        let Some(adapter) = model.adapter() else {
            return Ok(engine::checkpoint::save(model, text, output)?);
        };
        let files = policies.files()?.unwrap_or_default();
        let base = Base::of(&recipe.model.path, None, Some(recipe.seed), &files);
        Ok(adapter.save(output, &base.public_name())?)
    };
    write().map_err(|error| {
        anyhow!(Failed(format!("{error:#}\nthe weights were not written: name another place")))
    })
}

/// A run as its replay sees it.
struct Replay<'a> {
    recipe: &'a Recipe,
    logs: &'a [Logged],
    saved: &'a [Saved],
    console: &'a Console,
}

/// What was done on the way.
struct Walked {
    updates: usize,
    bytes: u64,
    /// The checkpoints that have the same weights.
    equal: Vec<String>,
}

impl Replay<'_> {
    /// Whether every stage of these has a log from its start.
    fn is_logged(&self, first: usize, last: usize) -> bool {
        (first..=last).all(|stage| self.logs.iter().any(|log| (log.stage, log.first) == (stage, 0)))
    }

    /// Where the weights of a checkpoint are: at the end of a stage also at the start of the next.
    fn position_of(&self, saved: &Saved) -> Result<Position> {
        let state = &saved.state;
        let next = self.recipe.stage_at(state.step);
        if let Some((stage, 0)) = next.filter(|(stage, _)| *stage > state.stage) {
            return Ok(Position { stage, updates: 0 });
        }
        let updates = state.stage_state.get::<u64>("updates")?;
        Ok(Position { stage: state.stage, updates: u32::try_from(updates)? })
    }

    /// Applies the updates from one position to another.
    fn walk(
        &self,
        model: &Model,
        policies: &Policies<'_>,
        start: Position,
        target: Position,
    ) -> Result<Walked> {
        let (mut at, mut first_of_stage) = (start, None);
        let mut walked = Walked { updates: 0, bytes: 0, equal: Vec::new() };
        for logged in self.logs.iter().filter(|log| log.stage <= target.stage) {
            if logged.stage < at.stage {
                continue;
            }
            let log = logged.read()?;
            if let Some(torn) = log.torn {
                self.console.print(&format!("note: {}: {torn}", logged.path.display()));
            }
            if logged.stage > at.stage {
                at = Position { stage: logged.stage, updates: 0 };
            }
            let end = Position { stage: logged.stage, updates: log.next_step() };
            if end <= at && end != target {
                continue;
            }
            check(model, logged, &log, at)?;
            if at.updates == 0 && log.header.scheme.decay_to == DecayTo::Start {
                first_of_stage = Some(Moved::start(model)?);
            }
            let place = Place { log: &log, until: end.min(target) };
            walked.bytes += std::fs::metadata(&logged.path).map_or(0, |about| about.len());
            self.apply(model, policies, &place, &mut at, first_of_stage.as_ref(), &mut walked)?;
        }
        if at != target {
            bail!(
                "the logs end {} of stage {}, expected {} of stage {}: go on from a later \
                 checkpoint, by --from",
                counted(at.updates as usize, "update"),
                at.stage,
                target.updates,
                target.stage
            );
        }
        Ok(walked)
    }

    /// Applies updates of one log, and compares the weights with the checkpoints on the way.
    fn apply(
        &self,
        model: &Model,
        policies: &Policies<'_>,
        place: &Place<'_>,
        at: &mut Position,
        start: Option<&Arc<Vec<Vec<f32>>>>,
        walked: &mut Walked,
    ) -> Result<()> {
        let tensors = Arc::new(place.log.header.scheme.tensors.clone());
        let mut moves = place.log.updates(at.updates)?.into_iter().peekable();
        loop {
            self.compare(model, policies, *at, walked)?;
            if at.updates >= place.until.updates {
                return Ok(());
            }
            let next = self.next_saved(*at).filter(|next| *next < place.until);
            let until = next.unwrap_or(place.until).updates;
            let until = until.min(at.updates.saturating_add(TOGETHER as u32));
            let updates: Vec<Update> =
                std::iter::from_fn(|| moves.next_if(|update| update.step < until)).collect();
            walked.updates += updates.len();
            Moved { tensors: tensors.clone(), updates, start: start.cloned() }.apply_to(model)?;
            at.updates = until;
        }
    }

    /// The next position of a checkpoint.
    fn next_saved(&self, at: Position) -> Option<Position> {
        self.saved.iter().filter_map(|saved| self.position_of(saved).ok()).find(|one| *one > at)
    }

    /// Compares the weights with those of the checkpoints that are here.
    fn compare(
        &self,
        model: &Model,
        policies: &Policies<'_>,
        at: Position,
        walked: &mut Walked,
    ) -> Result<()> {
        for saved in
            self.saved.iter().filter(|saved| self.position_of(saved).is_ok_and(|own| own == at))
        {
            let path = saved.path.display().to_string();
            if walked.equal.contains(&path) {
                continue;
            }
            let (other, _) = policies.saved(saved)?;
            let (own, other) = (digests(model)?, digests(&other)?);
            let mut named = model.trainable().zip(own.iter().zip(&other));
            if let Some((differing, _)) = named.find(|(_, (own, other))| own != other) {
                bail!(Failed(format!(
                    "{path} has other weights than the log gives: {} differs\none of the two is \
                     damaged, or the run's files have changed: go on from another checkpoint, by \
                     --from",
                    differing.name
                )));
            }
            walked.equal.push(path);
        }
        Ok(())
    }
}

/// Whether a log goes on from these weights.
fn check(model: &Model, logged: &Logged, log: &Log, at: Position) -> Result<()> {
    let path = logged.path.display();
    if logged.first > at.updates {
        bail!(
            "{path}: expected a log from update {} on, got one from {}: go on from a later \
             checkpoint, by --from",
            at.updates,
            logged.first
        );
    }
    let names = model.trainable().map(|one| one.name.as_str());
    let tensors = log.header.scheme.tensors.all();
    if !names.eq(tensors.iter().map(|tensor| tensor.name.as_str())) {
        bail!("{path}: its tensors are not those that the run trains");
    }
    if logged.first < at.updates {
        // Of weights in between there are no digests.
        return Ok(());
    }
    let own = digests(model)?;
    let differing = own.iter().zip(&log.header.digests).zip(tensors);
    match differing.filter(|((own, then), _)| own != then).map(|(_, tensor)| tensor).next() {
        None => Ok(()),
        Some(tensor) => bail!(
            "{path}: it was begun with other weights than these: {} differs\nrestore the model \
             that the run began with, or start from a checkpoint, by --from",
            tensor.name
        ),
    }
}
