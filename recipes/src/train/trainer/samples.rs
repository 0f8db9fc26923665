//! The samples of a step that the record keeps.

use anyhow::Result;
use evals::run::{Learnt, Step, TokensAbout};

use super::Trainer;
use crate::config::Stage;
use crate::train::StepOutput;
use crate::train::table::Table;

impl Trainer<'_> {
    /// Records the first groups of a step and some that were not learnt from, where it is due.
    pub(super) fn record_samples(&mut self, step: u64, output: &StepOutput) -> Result<()> {
        let recipe = self.run.recipe;
        let config = &recipe.record.samples;
        let Stage::Rl(stage) = &recipe.stages[self.state.stage] else { return Ok(()) };
        let limit = stage.rollout.max_new_tokens.get();
        let groups = config.groups_of(stage.group_size.get(), limit).min(output.groups.len());
        if groups == 0 {
            return Ok(());
        }
        let [threshold_plus, threshold_minus] = output.table.credit.thresholds;
        let about = TokensAbout {
            step,
            stage: recipe.stages[self.state.stage].settings().kind().to_owned(),
            temperature: stage.rollout.temperature,
            threshold_plus,
            threshold_minus,
        };
        let hidden = self.run.text.hidden_tokens(&recipe.prompt.keep_special_tokens)?;
        let sampled = Step {
            groups: &output.groups[..groups],
            discarded: &output.discarded,
            learnt: learnt(&output.table),
            text: self.run.text,
            hidden: &hidden,
            about: &about,
        };
        if self.record.samples(config, &sampled)? {
            self.heartbeat.rewrote();
        }
        Ok(())
    }
}

/// The columns of a table as the record takes them.
fn learnt(table: &Table) -> Learnt<'_> {
    let credit = &table.credit;
    Learnt {
        advantages: &credit.advantages,
        weights: &credit.weights,
        train_log_probs: &table.train_log_probs,
        reference: table.scores.reference.as_deref().unwrap_or_default(),
        importance: credit.importance.as_deref().unwrap_or_default(),
        penalties: credit.penalties.as_deref().unwrap_or_default(),
        flags: &credit.flags,
    }
}
