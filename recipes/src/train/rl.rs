//! A stage of reinforcement learning: gather, rescore, credit, descend, summarize.

mod credit;
mod gather;
mod probe;
mod report;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle::Tensor;
use engine::loss::{Kl, LossConfig};
use engine::{Model, Scores};
use evals::attempt::Graded;
use evals::record::Credit;
use rewards::entropy_bonus::EntropyControl;
use rewards::{Rubric, TokenWeighting};
use serde_json::Value;

use super::clock::Clock;
use super::descend::score;
use super::pack::{Prompted, Sample};
use super::stage::{Draws, Shared, StageDriver, Start};
use super::updates::Updates;
use super::{Done, report as shared};
use crate::config::{OldLogProbs, RlStage};
use crate::run_dir::StageState;
use gather::Gathered;

/// A stage of reinforcement learning under way.
#[derive(Debug)]
pub(super) struct Rl<'a> {
    run: Shared<'a>,
    config: &'a RlStage,
    draws: Draws<'a>,
    updates: Updates<'a>,
    /// What completions are worth.
    rubric: Rubric,
    /// The weights at the stage's start, where the loss looks back at them.
    reference: Option<Model>,
    weighting: Box<dyn TokenWeighting>,
    /// Chooses the factor of the entropy in the loss.
    entropy_control: EntropyControl,
    /// Mean entropy of what the last step sampled, nats a token; none at the stage's start.
    entropy: Option<f64>,
}

impl<'a> Rl<'a> {
    pub(super) fn begin(config: &'a RlStage, start: &Start<'a, '_>) -> Result<Self> {
        let run = start.run;
        let rubric = run
            .verifiers
            .rubric(&config.rewards)
            .with_context(|| format!("stage.{}.rewards", start.index))?;
        let looks_back = config.loss.kl != (Kl::Off {});
        Ok(Self {
            draws: Draws::new(&run),
            updates: Updates::new(config, &run)?,
            rubric,
            reference: looks_back.then(|| start.reference()).transpose()?,
            weighting: config.weighting.build(),
            entropy_control: EntropyControl::new(config.entropy_bonus),
            entropy: None,
            run,
            config,
        })
    }

    /// A step of reinforcement learning, in the order the data flows.
    fn reinforce(&mut self, step: u64) -> Result<Done> {
        let config = self.config;
        let mut clock = Clock::start();
        let gathered = self.gather(config, step, &mut clock)?;
        let mut samples = rollouts(&gathered.groups);
        self.rescore(config, &mut samples, &mut clock)?;
        let credited = clock
            .time("timing_s/adv", || self.credit(config, step, &gathered.groups, &mut samples))?;
        let probe = self.probe(config, step, &mut clock)?;
        let entropy_coefficient = credited.entropy_coefficient;
        let loss = LossConfig { entropy_coefficient, ..config.loss.clone() };
        let descended =
            self.updates.descend(&loss, config.rollout.temperature, &samples, &mut clock)?;
        let mut metrics = self.summarize(config, &gathered, &samples, &descended)?;
        for (key, value) in credited.said {
            metrics.set(key, value)?;
        }
        if let Some(probe) = probe {
            for (key, value) in self.probed(config, &probe, &samples, &mut clock)? {
                metrics.set(key, value)?;
            }
        }
        let entropy = metrics.get("unfiltered/entropy");
        if let (Some(now), Some(before)) = (entropy, self.entropy) {
            metrics.set("entropy/measured_delta", now - before)?;
        }
        self.entropy = entropy;
        let timings = shared::timings(clock, &descended, Some(report::generated(&gathered)))?;
        let credits = samples
            .into_iter()
            .flat_map(|group| group.samples)
            .map(|sample| Credit { advantage: sample.advantage, weights: sample.weights });
        let credits = credits.collect();
        let Gathered { groups, warnings, .. } = gathered;
        Ok(Done { metrics, timings, warnings, groups, credits })
    }

    /// Fills in what the loss compares with: log-probs of a reference model, or of this one again.
    fn rescore(&self, config: &RlStage, samples: &mut [Prompted], clock: &mut Clock) -> Result<()> {
        let (temperature, budget) = (config.rollout.temperature, config.micro_batch_tokens.get());
        if config.old_log_probs == OldLogProbs::Rescore {
            let old = clock.time("timing_s/old_log_prob", || -> Result<_> {
                Ok(score(self.run.model, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            for (sample, Scores { log_probs, entropies, phi_sums }) in each.zip(old) {
                (sample.old_log_probs, sample.entropies) = (log_probs, entropies);
                sample.phi_sums = phi_sums;
            }
        }
        if let Some(reference) = &self.reference {
            let own = clock.time("timing_s/ref", || -> Result<_> {
                Ok(score(reference, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            each.zip(own).for_each(|(sample, own)| sample.ref_log_probs = own.log_probs);
        }
        Ok(())
    }
}

impl StageDriver for Rl<'_> {
    fn step(&mut self, step: u64) -> Result<Done> {
        self.reinforce(step)
    }

    fn state(&self) -> StageState {
        let mut state = StageState::default();
        self.draws.save(&mut state);
        self.updates.save(&mut state);
        state.set("weighting", self.weighting.state());
        state.set("entropy_control", self.entropy_control.state());
        state.set("entropy", self.entropy);
        state
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.updates.tensors()
    }

    fn restore(&mut self, state: &StageState, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        self.draws.restore(state)?;
        self.updates.restore(state, tensors)?;
        self.weighting.restore(&state.get::<Value>("weighting")?)?;
        self.entropy_control.restore(&state.get::<Value>("entropy_control")?)?;
        self.entropy = state.get("entropy")?;
        Ok(())
    }
}

/// What was sampled, as the loss takes it: the rollout's log-probs are the old ones.
fn rollouts(groups: &[Graded]) -> Vec<Prompted> {
    let prompted = |group: &Graded| Prompted {
        prompt: group.prompt.clone(),
        samples: group
            .completions
            .iter()
            .map(|one| Sample {
                completion: one.trajectory.completion.clone(),
                rollout_log_probs: one.trajectory.log_probs.clone(),
                old_log_probs: one.trajectory.log_probs.clone(),
                entropies: one.trajectory.entropies.clone(),
                phi_sums: one.trajectory.phi_sums.clone(),
                ..Sample::default()
            })
            .collect(),
    };
    groups.iter().map(prompted).collect()
}
