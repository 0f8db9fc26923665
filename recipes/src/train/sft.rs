//! A supervised stage: the solutions in the data as completions, each token with credit 1.

use std::time::Instant;

use anyhow::Result;
use candle::Tensor;
use engine::loss::{Aggregation, Kl, LossConfig, PolicyLoss};
use evals::{Metrics, Target};
use optim::SavedState;

use super::clock::Clock;
use super::context::RunContext;
use super::learner::Learner;
use super::stage::{DataLoader, StageDriver, StageStart};
use super::table::{Credit, Table};
use super::update::UpdateReport;
use super::{StepOutput, report};
use crate::config::SftStage;
use crate::length_limits;
use crate::run_dir::StageState;

/// A running supervised stage.
#[derive(Debug)]
pub(super) struct Sft<'a> {
    run: RunContext<'a>,
    config: &'a SftStage,
    loader: DataLoader<'a>,
    learner: Learner<'a>,
}

impl<'a> Sft<'a> {
    pub(super) fn begin(config: &'a SftStage, start: &StageStart<'a, '_>) -> Result<Self> {
        let run = start.run;
        Ok(Self {
            run,
            config,
            loader: DataLoader::new(&run),
            learner: Learner::new(config, start)?,
        })
    }

    /// The next problems with their solutions as completions.
    fn solutions(&mut self) -> Result<Table> {
        let (text, style) = (self.run.text, &self.run.recipe.prompt);
        let end = style.end(text);
        let mut table = Table::default();
        for (_, problem) in self.loader.next_batch(self.config.batch.get()) {
            let Target { prompt, completion, learnt } =
                length_limits::target(style, text, problem, end)?;
            table.push_prompt(prompt);
            table.push_target(&completion, &learnt);
        }
        table.credit = Credit::even(&table, 1.0);
        Ok(table)
    }

    fn summarize(&self, table: &Table, report: &UpdateReport) -> Result<Metrics> {
        let mut metrics = report::progress(&self.loader, &self.learner, table)?;
        metrics.set("train/loss", report.loss)?;
        if let Some(norm) = report.grad_norm {
            metrics.set("train/grad_norm", norm)?;
        }
        metrics.set("train/lr", report.lr)?;
        Ok(metrics)
    }
}

impl StageDriver for Sft<'_> {
    fn step(&mut self, step: u64) -> Result<StepOutput> {
        let clock = Clock::start();
        let table = self.solutions()?;
        let began = Instant::now();
        let report =
            self.learner.update(&likelihood(), 1.0, &table, self.run.seed_of(step), None)?;
        clock.add("timing_s/update_actor", began);
        let mut metrics = self.summarize(&table, &report)?;
        let warnings = report::estimates(&mut metrics, &report)?;
        let timings = report::timings(&clock, &report, None)?;
        let (groups, discarded) = Default::default();
        Ok(StepOutput { metrics, timings, warnings, groups, discarded, table })
    }

    fn has_moved(&self) -> bool {
        self.learner.has_moved
    }

    fn state(&self) -> StageState {
        let mut state = StageState::default();
        self.loader.save(&mut state);
        self.learner.save(&mut state);
        state
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.learner.tensors()
    }

    fn restore(&mut self, state: &StageState, tensors: &dyn SavedState) -> Result<()> {
        self.loader.restore(state)?;
        self.learner.restore(state, tensors)
    }
}

/// The loss of supervised stages: the mean negative log-likelihood of a token.
pub(crate) fn likelihood() -> LossConfig {
    LossConfig {
        policy_loss: PolicyLoss::NegativeLogLikelihood {},
        aggregation: Aggregation::TokenMean {},
        kl: Kl::Off {},
        entropy_coefficient: 0.0,
    }
}
