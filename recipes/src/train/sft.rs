//! A supervised stage: the data's own completions, each with credit 1.

use std::collections::BTreeMap;

use anyhow::Result;
use candle::Tensor;
use engine::loss::{Aggregation, Kl, LossConfig, PolicyLoss};
use evals::{Metrics, Target};
use rewards::Problem;

use super::clock::Clock;
use super::descend::Descended;
use super::pack::{Prompted, Sample};
use super::stage::{Draws, Shared, StageDriver, Start};
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

    /// The next `count` problems with their solutions as completions.
    fn solutions(&mut self, count: usize) -> Result<Vec<Prompted>> {
        let (text, style) = (self.run.text, &self.run.recipe.prompt);
        let end = style.end(text);
        let prompted = |(_, problem): (u64, &Problem)| -> Result<Prompted> {
            let Target { prompt, completion, learnt } = fit::target(style, text, problem, end)?;
            let mut sample = Sample { completion, learnt, advantage: 1.0, ..Sample::default() };
            sample.weights = vec![1.0; sample.num_learnt()];
            Ok(Prompted { prompt, samples: vec![sample] })
        };
        self.draws.draw(count).into_iter().map(prompted).collect()
    }

    fn summarize(&self, samples: &[Prompted], descended: &Descended) -> Result<Metrics> {
        let mut metrics = report::progress(&self.draws, &self.updates, samples)?;
        metrics.set("train/loss", descended.loss)?;
        metrics.set("train/grad_norm", descended.grad_norm)?;
        metrics.set("train/lr", descended.lr)?;
        Ok(metrics)
    }
}

impl StageDriver for Sft<'_> {
    fn step(&mut self, _: u64) -> Result<Done> {
        let mut clock = Clock::start();
        let samples = self.solutions(self.config.batch.get())?;
        let descended = self.updates.descend(&likelihood(), 1.0, &samples, &mut clock)?;
        let metrics = self.summarize(&samples, &descended)?;
        let timings = report::timings(clock, &descended, None)?;
        let (warnings, groups, credits) = Default::default();
        Ok(Done { metrics, timings, warnings, groups, credits })
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
