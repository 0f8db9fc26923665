//! The settings that a completion was made with.

use dash::{Fault, Recorded, Refusal};
use evals::run::{Problem, read_text};

use super::refusal;
use crate::config::{Recipe, RlStage, Stage};
use crate::run_dir;

/// Longest recipe, in bytes.
const LONGEST: u64 = 1 << 20;

/// The settings of a completion's run and stage.
pub(super) struct Settings {
    pub(super) text: String,
    pub(super) recipe: Recipe,
    pub(super) stage: usize,
}

impl Settings {
    /// Of the stage that made the completion.
    pub(super) fn of(recorded: &Recorded) -> Result<Self, Refusal> {
        let path = recorded.root.join(run_dir::RECIPE);
        let gone = |error: String, act: &str| Refusal::new(Fault::Gone, error).act(act);
        let text = read_text(&path, LONGEST)
            .map_err(|Problem { file, reason, act, .. }| gone(format!("{file}: {reason}"), &act))?;
        let text = text.ok_or_else(|| {
            let act = "look whether the run's folder is still there";
            gone(format!("{}: there is no such file", path.display()), act)
        })?;
        let recipe = Recipe::parse(&path.display().to_string(), &text).map_err(|error| {
            refusal(Fault::Server, &error).act("open the run with the version that wrote it")
        })?;
        let step = recorded.group.step;
        let stage = step.checked_sub(1).and_then(|step| recipe.stage_at(step));
        match stage.map(|(index, _)| index) {
            Some(stage) if matches!(recipe.stages[stage], Stage::Rl(_)) => {
                Ok(Self { text, recipe, stage })
            }
            _ => {
                let error = format!("step {step} is of no stage of the recipe that samples");
                Err(Refusal::new(Fault::Request, error))
            }
        }
    }

    pub(super) fn stage(&self) -> &RlStage {
        match &self.recipe.stages[self.stage] {
            Stage::Rl(stage) => stage,
            Stage::Sft(_) => unreachable!("it was looked for"),
        }
    }
}
