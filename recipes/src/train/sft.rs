//! A supervised stage: the data's own completions, each with credit 1.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use candle::Tensor;
use engine::loss::{Aggregation, Kl, LossConfig, PolicyLoss};
use evals::{Metrics, Target};

use super::clock::Clock;
use super::descend::UpdateReport;
use super::stage::{Draws, Shared, StageDriver, Start};
use super::table::{Credit, Table};
use super::updates::Updates;
use super::{Done, report};
use crate::config::SftStage;
use crate::fit;
use crate::run_dir::StageState;

/// A supervised stage under way.
#[derive(Debug)]
pub(super) struct Sft<'a> {
    run: Shared<'a>,
    config: &'a SftStage,
    draws: Draws<'a>,
    updates: Updates<'a>,
}

impl<'a> Sft<'a> {
    pub(super) fn begin(config: &'a SftStage, start: &Start<'a, '_>) -> Result<Self> {
        let run = start.run;
        Ok(Self { run, config, draws: Draws::new(&run), updates: Updates::new(config, &run)? })
    }

    /// The next problems with their solutions as completions.
    fn solutions(&mut self) -> Result<Table> {
        let (text, style) = (self.run.text, &self.run.recipe.prompt);
        let end = style.end(text);
        let mut table = Table::default();
        for (_, problem) in self.draws.draw(self.config.batch.get()) {
            let Target { prompt, completion, learnt } = fit::target(style, text, problem, end)?;
            table.push_prompt(prompt);
            table.push_target(&completion, &learnt);
        }
        table.credit = Credit::even(&table, 1.0);
        Ok(table)
    }

    fn summarize(&self, table: &Table, report: &UpdateReport) -> Result<Metrics> {
        let mut metrics = report::progress(&self.draws, &self.updates, table)?;
        metrics.set("train/loss", report.loss)?;
        metrics.set("train/grad_norm", report.grad_norm)?;
        metrics.set("train/lr", report.lr)?;
        Ok(metrics)
    }
}

impl StageDriver for Sft<'_> {
    fn step(&mut self, _: u64) -> Result<Done> {
        let clock = Clock::start();
        let table = self.solutions()?;
        let began = Instant::now();
        let report = self.updates.descend(&likelihood(), 1.0, &table)?;
        clock.add("timing_s/update_actor", began);
        let metrics = self.summarize(&table, &report)?;
        let timings = report::timings(&clock, &report, None)?;
        let (warnings, groups) = Default::default();
        Ok(Done { metrics, timings, warnings, groups, table })
    }

    fn state(&self) -> StageState {
        let mut state = StageState::default();
        self.draws.save(&mut state);
        self.updates.save(&mut state);
        state
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.updates.tensors()
    }

    fn restore(&mut self, state: &StageState, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.draws.restore(state)?;
        self.updates.restore(state, tensors)
    }
}

/// The loss of supervised stages: the mean negative log-likelihood of a token.
pub(crate) fn likelihood() -> LossConfig {
    LossConfig {
        policy: PolicyLoss::NegativeLogLikelihood {},
        aggregation: Aggregation::TokenMean {},
        kl: Kl::Off {},
        entropy_coefficient: 0.0,
    }
}
