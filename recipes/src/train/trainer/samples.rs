//! The samples of a step that the record keeps.

use anyhow::Result;
use evals::attempt::GradedGroup;
use evals::run::{Learnt, Sampled, Step, TokensAbout};

use super::Trainer;
use crate::causes::with_causes;
use crate::config::{RlStage, Stage, StageSettings as _};
use crate::train::StepOutput;
use crate::train::table::Table;

impl Trainer<'_> {
    /// Records the first groups of a step and some that were not learnt from, where it is due.
    pub(super) fn record_samples(&mut self, step: u64, output: &StepOutput) -> Result<()> {
        let recipe = self.run.recipe;
        let config = &recipe.record.samples;
        let Stage::Rl(stage) = &recipe.stages[self.state.stage] else { return Ok(()) };
        if config.is_off() {
            return Ok(());
        }
        let groups = stage.recorded_groups(config).min(output.groups.len());
        let hidden = self.run.text.hidden_tokens(&recipe.prompt.keep_special_tokens)?;
        let sampled = Step {
            groups: &output.groups[..groups],
            discarded: &output.discarded,
            learnt: learnt(&output.table),
            text: self.run.text,
            hidden: &hidden,
            about: &self.about(stage, step, output.table.credit.thresholds),
        };
        match self.record.samples(config, &sampled)? {
            Sampled::Kept => {}
            Sampled::Thinned => self.heartbeat.rewrote(),
            Sampled::TooLarge { bytes } => self.warn_of_large_samples(step, bytes),
        }
        Ok(())
    }

    /// Says once that a step alone exceeds the budget of the samples.
    fn warn_of_large_samples(&mut self, step: u64, bytes: u64) {
        if std::mem::replace(&mut self.has_large_samples, true) {
            return;
        }
        let budget = self.run.recipe.record.samples.budget_mib;
        let needed = bytes.div_ceil(1 << 20);
        self.run.console.warn(&format!(
            "the samples of step {step} take {needed} MiB, more than record.samples.budget_mib = \
             {budget}: such steps are not recorded; raise it, or lower record.samples.groups"
        ));
    }

    /// What is known of the tokens of a step besides their columns.
    fn about(&self, stage: &RlStage, step: u64, thresholds: [Option<f64>; 2]) -> TokensAbout {
        let [threshold_plus, threshold_minus] = thresholds;
        TokensAbout {
            step,
            stage: stage.kind().to_owned(),
            temperature: stage.rollout.temperature,
            threshold_plus,
            threshold_minus,
            tokenizer_sha256: self.tokenizer_sha256.clone(),
        }
    }

    /// Records what a step sampled that ends the run because it can learn from none of it. The
    /// state is saved by then, and a resume cuts these samples, so an error here is only printed.
    pub(super) fn record_unlearnt(&mut self, index: usize, groups: &[GradedGroup]) {
        let recipe = self.run.recipe;
        let Stage::Rl(stage) = &recipe.stages[index] else { return };
        if groups.is_empty() || recipe.record.samples.is_off() {
            return;
        }
        let step = self.state.step + 1;
        let about = self.about(stage, step, [None; 2]);
        let mut record = || -> Result<()> {
            let hidden = self.run.text.hidden_tokens(&recipe.prompt.keep_special_tokens)?;
            let sampled = Step {
                groups: &[],
                discarded: groups,
                learnt: Learnt::default(),
                text: self.run.text,
                hidden: &hidden,
                about: &about,
            };
            self.record.last_samples(&recipe.record.samples, &sampled)?;
            Ok(self.failed_writes.check()?)
        };
        if let Err(error) = record() {
            let error = with_causes(&error);
            self.run.console.warn(&format!("the samples of step {step} are not recorded: {error}"));
        }
    }
}

/// The columns of a table as the record takes them.
fn learnt(table: &Table) -> Learnt<'_> {
    let credit = &table.credit;
    let old = table.scores.old.as_ref().map(|scores| scores.log_probs.as_slice());
    Learnt {
        advantages: &credit.advantages,
        weights: &credit.weights,
        train_log_probs: &table.train_log_probs,
        new_log_probs: &table.new_log_probs,
        old_log_probs: old.unwrap_or_default(),
        reference: table.scores.reference.as_deref().unwrap_or_default(),
        importance: credit.importance.as_deref().unwrap_or_default(),
        penalties: credit.penalties.as_deref().unwrap_or_default(),
        flags: &credit.flags,
    }
}
